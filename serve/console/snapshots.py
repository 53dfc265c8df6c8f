"""The snapshots' pages: moments to go back to; what going back would do, in words; and going back, once it was read.

What a plan says is the snapshots' room's: nothing is judged here.
"""

from __future__ import annotations

import hashlib

import orjson
from starlette.responses import Response

from contracts.errors import Conflict, Incompatible, NotFound
from contracts.records import RestorePlan, Snapshot
from serve.console.door import Page, acted, shown

ROWS = 50
MOST_CHANGES = 200
WORD = "restore"
"""What is typed before everything goes back."""
NOTICED = ("endpoint", "deployment")
"""Kinds of changes that users of a model notice."""


def _list(page: Page) -> Response:
    every: list[Snapshot] = page.actors.snapshots.snapshots()
    after = page.query.get("after", "")
    places = {found.snapshot_id: place for place, found in enumerate(every, start=1)}
    if after and after not in places:
        raise NotFound(f"there is no snapshot {after!r} any more; begin again with the newest")
    first = places.get(after, 0)
    return page.render(
        "snapshots.html",
        title="Snapshots",
        found=every[first : first + ROWS],
        more=len(every) > first + ROWS,
        after=after,
    )


def _one(page: Page) -> Response:
    plan = _plan(page)
    document = page.actors.journal.read("snapshot", plan.snapshot_id)
    if document is None:
        raise NotFound(f"snapshot {plan.snapshot_id} was removed a moment ago; begin again with the list")
    gone = frozenset(plan.approvals_voided)
    voided = [one for one in plan.impacts if one.kind == "approval" and one.key in gone]
    others = [
        one for one in plan.impacts if one.kind not in NOTICED and not (one.kind == "approval" and one.key in gone)
    ]
    return page.render(
        "snapshot.html",
        title=f"Snapshot {plan.snapshot_id}",
        found=Snapshot.model_validate(document.body),
        plan=plan,
        noticed=[impact for impact in plan.impacts if impact.kind in NOTICED],
        voided=voided[:MOST_CHANGES],
        left_voided=max(0, len(voided) - MOST_CHANGES),
        others=others[:MOST_CHANGES],
        left=max(0, len(others) - MOST_CHANGES),
        rates={reached.model_key: reached.requests_per_minute for reached in plan.affected},
        seen=seen_of(plan),
        word=WORD,
        at=_at(page),
    )


def seen_of(plan: RestorePlan) -> str:
    """Give what tells two plans apart: what they would change and what stands against it, not the live figures."""
    told = plan.model_dump(mode="json", include={"snapshot_id", "impacts", "troubles", "schema_breaks"})
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def _plan(page: Page) -> RestorePlan:
    found: RestorePlan = page.actors.snapshots.plan(page.path["snapshot_id"])
    return found


def _export(page: Page) -> Response:
    made: Snapshot = page.actors.snapshots.export(reason=page.reason(), by=page.principal.name)
    return page.back("/console/snapshots", f"Taken: {made.snapshot_id}.")


def _restore(page: Page) -> Response:
    reason = page.reason()
    if page.form.get("word", "").strip().casefold() != WORD:
        raise Incompatible(f"type the word {WORD} to say that you have read what would change; nothing was changed")
    if page.form.get("seen") != seen_of(_plan(page)):
        raise Conflict("what would change is not what you saw any more; look again and decide anew")
    done: RestorePlan = page.actors.snapshots.restore(
        page.path["snapshot_id"], reason=reason, by=page.principal.name, force=page.form.get("force") == "yes"
    )
    way_back = f"Everything is as in {done.snapshot_id}. This is the moment before: going back to it undoes that."
    return page.back(f"/console/snapshots/{done.undo_snapshot_id}", way_back)


def _at(page: Page) -> str:
    return f"/console/snapshots/{page.path['snapshot_id']}"


_ONE = "/console/snapshots/{snapshot_id}"
ROUTES = (
    shown("/console/snapshots", _list),
    acted("/console/snapshots/export", "deploy", _export),
    shown(_ONE, _one),
    acted(f"{_ONE}/restore", "deploy", _restore),
)
