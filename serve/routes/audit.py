"""The journal as an account: who did what, when, why; and the proof that nobody rewrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from contracts.http import AuditEntry
from contracts.ports import Append, Verification
from mldl_ray.journal import export
from serve.access import Reader
from serve.calls import ActorsOf, StrictRoute
from serve.routes import LARGEST, After, Limit

router = APIRouter(tags=["audit"], route_class=StrictRoute)
LINES = "application/x-ndjson"
PAGE = 200
ROUTINE = {"subscription_offset", "experience"}
Moment = Annotated[float | None, Query(description="Unix seconds, included.", allow_inf_nan=False)]


@router.get("/audit", response_model=list[AuditEntry])
def audit(
    actors: ActorsOf,
    _: Reader,
    after: After = 0,
    limit: Limit = 100,
    subject: Annotated[str | None, Query(max_length=300, description="A model_key, job_id, deployment_id…")] = None,
    actor: Annotated[str | None, Query(max_length=300, description="Who.")] = None,
    kind: Annotated[str | None, Query(max_length=60, description="Type of event, or kind of document.")] = None,
    since_s: Moment = None,
    until_s: Moment = None,
) -> Any:
    """List changes in order; go on with ``after`` = the last position. Routine is told only when its kind is named."""
    found: list[AuditEntry] = []
    wanted: dict[str, Any] = {"actor": actor, "kind": kind, "subject": subject, "since_s": since_s, "until_s": until_s}
    while len(found) < limit and (page := actors.journal.appends(after=after, limit=PAGE, **wanted)):
        after = page[-1].position
        for append in page:
            if len(found) < limit:
                found += entries(append, routine=kind is not None)
    return found


@router.get(
    "/audit/export",
    response_class=StreamingResponse,
    responses={200: {"content": {LINES: {"schema": {"type": "string"}}}, "description": "An append a line."}},
)
def audit_export(
    actors: ActorsOf,
    _: Reader,
    after: After = 0,
    until: Annotated[
        int | None, Query(ge=0, le=LARGEST, description="Last position; the journal's when absent.")
    ] = None,
) -> Any:
    """Give the chain as JSON lines that an auditor can check alone: content, previous hash and hash of each append."""
    return StreamingResponse(export.lines(actors.journal, after=after, until=until), media_type=LINES)


@router.get("/audit/verify", response_model=Verification)
def verify(actors: ActorsOf, _: Reader) -> Any:
    """Recompute the hash chain of the whole journal and compare every row with it."""
    return actors.journal.verify()


def entries(append: Append, *, routine: bool) -> Iterator[AuditEntry]:
    """Tell an append: each of its events, or where it has none, each document that it wrote.

    Args:
        append: Which.
        routine: Tell also what happens all the time and nobody decided: offsets, experience, a job's progress.
    """
    content = json.loads(append.content)
    told = [(event["type"], event["subject"]) for event in content["events"]]
    if not told:
        told = [(kind, key) for kind, key, version, _ in content["documents"] if routine or not _routine(kind, version)]
    place = {name: content[name] for name in ("position", "at_s", "actor", "reason")}
    for kind, subject in told:
        yield AuditEntry(type=kind, subject=subject, **place)


def _routine(kind: str, version: int) -> bool:
    return kind in ROUTINE or (kind == "job" and version > 1)
