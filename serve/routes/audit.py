"""The journal as an account: who did what, when, why; and the proof that nobody rewrote it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from contracts.http import AuditEntry
from contracts.ports import Verification
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute
from serve.routes import After, Limit

router = APIRouter(tags=["audit"], route_class=StrictRoute)


@router.get("/audit", response_model=list[AuditEntry])
def audit(
    actors: ActorsOf,
    _: Reader,
    after: After = 0,
    limit: Limit = 100,
    subject: Annotated[str | None, Query(max_length=300, description="A model_key, job_id, deployment_id…")] = None,
) -> Any:
    """List changes in order; go on with ``after`` = the last position."""
    return [
        AuditEntry(**event.model_dump(include={"position", "at_s", "actor", "type", "subject", "reason"}))
        for event in actors.journal.events(after=after, limit=limit, subject=subject)
    ]


@router.get("/audit/verify", response_model=Verification)
def verify(actors: ActorsOf, _: Reader) -> Any:
    """Recompute the hash chain of the whole journal and compare every row with it."""
    return actors.journal.verify()
