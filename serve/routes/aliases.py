"""Aliases of versions: where each leads, and moving own ones by compare-and-set."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from contracts.aliases import ALIAS_PATTERN, AliasRequest, AliasView
from serve.access import Reader, Registrar
from serve.calls import ActorsOf, OnceOf, StrictRoute
from serve.routes import KeyInPath, WhyInQuery

router = APIRouter(tags=["registry"], route_class=StrictRoute)
AliasInPath = Annotated[str, Path(pattern=ALIAS_PATTERN, description="Not `latest`, `stable` or `candidate`.")]
Leads = Annotated[str, Query(min_length=1, max_length=64, description="The number that it leads to now.")]
AsOf = Annotated[float | None, Query(ge=0, le=1e11, description="As it was then, Unix seconds.")]


@router.get("/registry/{model_key}/aliases", response_model=list[AliasView])
def aliases(model_key: KeyInPath, actors: ActorsOf, _: Reader, as_of_s: AsOf = None) -> Any:
    """List a model's aliases: `latest`, `stable` and `candidate`, which follow from the state, then own ones."""
    return actors.registry.aliases(model_key, as_of_s=as_of_s)


@router.put("/registry/{model_key}/aliases/{alias}", response_model=AliasView)
def move_alias(
    model_key: KeyInPath, alias: AliasInPath, body: AliasRequest, actors: ActorsOf, caller: Registrar, once: OnceOf
) -> Any:
    """Have an own alias lead to a version; a conflict when it leads elsewhere than `expected_version`."""
    return actors.registry.move_alias(model_key, alias, body, by=caller.name, once=once)


@router.delete("/registry/{model_key}/aliases/{alias}", response_model=AliasView)
def remove_alias(
    model_key: KeyInPath,
    alias: AliasInPath,
    actors: ActorsOf,
    caller: Registrar,
    expected_version: Leads,
    reason: WhyInQuery,
    once: OnceOf,
) -> Any:
    """Take an own alias away; a conflict when it leads elsewhere than `expected_version`."""
    return actors.registry.remove_alias(
        model_key, alias, expected_version=expected_version, reason=reason, by=caller.name, once=once
    )
