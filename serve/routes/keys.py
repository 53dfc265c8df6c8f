"""Bearer keys: made once, shown once, revoked for ever."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter

from contracts.errors import Unavailable
from contracts.http import KeyMade, KeyRequest, KeyView
from contracts.records import ApiKey
from mldl_ray.access import ApiKeys
from mldl_ray.clock import SystemClock
from serve.access import Admin
from serve.calls import Actors, ActorsOf, OnceOf, StrictRoute
from serve.routes import IdInPath, WhyInQuery

router = APIRouter(tags=["keys"], route_class=StrictRoute)
log = logging.getLogger(__name__)


@router.post("/keys", status_code=201, response_model=KeyMade)
def create(body: KeyRequest, actors: ActorsOf, caller: Admin, once: OnceOf) -> Any:
    """Make a key; its secret is in this answer and nowhere else."""
    key, secret = _keys(actors).create(body.name, body.role, by=caller.name, once=once)
    _tell_endpoints(actors)
    return KeyMade(**_public(key), secret=secret)


@router.get("/keys", response_model=list[KeyView])
def keys(actors: ActorsOf, _: Admin) -> Any:
    """List keys, revoked ones too."""
    return [KeyView(**_public(key)) for key in _keys(actors).list()]


@router.delete("/keys/{key_id}", response_model=KeyView)
def revoke(key_id: IdInPath, reason: WhyInQuery, actors: ActorsOf, caller: Admin) -> Any:
    """Revoke a key, at once and for ever."""
    key = _keys(actors).revoke(key_id, by=caller.name, reason=reason)
    _tell_endpoints(actors)
    return KeyView(**_public(key))


def _keys(actors: Actors) -> ApiKeys:
    return ApiKeys(actors.journal, SystemClock())


def _tell_endpoints(actors: Actors) -> None:
    try:
        actors.deployments.keys_changed()
    except Unavailable as error:  # the key is recorded; a manager that comes back reads it
        log.warning("endpoints hear of the key when the deployment manager is back: %s", error)


def _public(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(exclude={"sha256"})
