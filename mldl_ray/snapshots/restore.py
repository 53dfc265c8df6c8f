"""Going back to a snapshot: everything checked first, then one append. It never deletes, so it can itself be undone.

The state goes back as one unit: what was registered, approved or decided since is withdrawn, and stays in the history.
Before it changes anything the restore records a snapshot of now, in the same append; restoring that one is the undo.
An endpoint's epoch never goes back, so every replica takes the restored goal for the newer one. What the endpoints
should serve is all that is written: the deployment manager brings it about, as it does for any other goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from contracts.errors import Broken, Conflict, NotFound
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Document, Journal, Once, Receipt, Write
from contracts.records import RestorePlan, Snapshot
from contracts.rollouts import LIVE_STATES, Change, Deployment, Endpoint
from mldl_ray.ids import new_id
from mldl_ray.snapshots.capture import (
    Content,
    State,
    describe,
    digest_of,
    every,
    exported,
    files_of,
    snapshot_of,
    state_at,
    write_of,
)
from mldl_ray.snapshots.impact import impacts, risk

_TRIES = 5


class _Prepared(NamedTuple):
    """A snapshot, held against now."""

    now: State
    then: State
    live: tuple[Document, ...]
    plan: RestorePlan


def plan(journal: Journal, blobs: Blobs, snapshot_id: str) -> RestorePlan:
    """Say what restoring a snapshot would change; nothing is written.

    Raises:
        NotFound: No such snapshot.
        Broken: The journal no longer gives the state that the snapshot's digest names.
    """
    return _prepare(journal, blobs, snapshot_of(journal, snapshot_id)).plan


def restore(
    journal: Journal,
    blobs: Blobs,
    clock: Clock,
    snapshot_id: str,
    *,
    reason: str,
    by: str,
    once: Once | None = None,
) -> RestorePlan:
    """Go back to a snapshot, all of it in one append; what is written meanwhile is looked at again before it.

    Args:
        journal: The truth.
        blobs: Where the artifacts must still be.
        clock: Stamps what is written.
        snapshot_id: Where to.
        reason: Why, for the record.
        by: Who decided.
        once: Makes a repeated call give the first answer.

    Returns:
        The plan as it was carried out, with the snapshot that leads back.

    Raises:
        NotFound: No such snapshot.
        Conflict: A stored file of a version is gone or damaged, or others kept writing; nothing was written.
        Broken: The journal no longer gives the state that the snapshot's digest names.
    """
    undo_id = new_id("snap", Once(key=f"{once.key}\0undo", digest=once.digest) if once else None)
    snapshot = snapshot_of(journal, snapshot_id)

    def attempt() -> Receipt:
        if once is not None and journal.read("snapshot", undo_id) is not None:
            probe = Fact(type="ROLLBACK_REQUESTED", subject=snapshot_id)  # the key is known: nothing is appended
            return journal.append([], [probe], actor=by, reason=reason, once=once)
        ready = _prepare(journal, blobs, snapshot)
        _refuse_missing(ready.plan)
        now_s = clock.now_s()
        undo = describe(ready.now, blobs, undo_id, reason=f"before restoring {snapshot_id}", by=by, now_s=now_s)
        writes = [*_writes(journal, ready, now_s, by, reason), write_of(undo)]
        return journal.append(writes, _facts(ready.plan, undo), actor=by, reason=reason, once=once)

    return _told(_again_after_races(attempt))


def _again_after_races(attempt: Callable[[], Receipt]) -> Receipt:
    """Decide again, a few times, when somebody else wrote between the decision and its append."""
    for _ in range(_TRIES - 1):
        try:
            return attempt()
        except Conflict as error:
            if "expected_version" not in error.facts:
                raise
    return attempt()


def _told(receipt: Receipt) -> RestorePlan:
    told = next(event for event in receipt.events if event.type == "MLDL_SNAPSHOT_RESTORED")
    return RestorePlan.model_validate(told.data["plan"])


def _prepare(journal: Journal, blobs: Blobs, snapshot: Snapshot) -> _Prepared:
    now, then = state_at(journal, journal.position()), state_at(journal, snapshot.position)
    wanted = then.content
    if digest_of(wanted) != snapshot.digest:
        raise Broken(
            f"the state at position {snapshot.position} is not the one that snapshot {snapshot.snapshot_id} names; "
            "the journal was changed: run mldl audit verify",
            {"snapshot_id": snapshot.snapshot_id, "expected": snapshot.digest, "found": digest_of(wanted)},
        )
    live = tuple(_ended(journal, now, then))
    missing = _missing(wanted, blobs)
    lost = [key for key, body in wanted["dataset"].items() if not blobs.has(body["digest"])]
    found = impacts(now.content, wanted, (Deployment.model_validate(document.body) for document in live))
    level, reasons = risk(found, wanted, missing=missing, lost_datasets=lost)
    made = RestorePlan(
        snapshot_id=snapshot.snapshot_id,
        position=snapshot.position,
        impacts=found,
        risk=level,
        risk_reasons=reasons,
        missing_artifacts=tuple(missing),
    )
    return _Prepared(now, then, live, made)


def _ended(journal: Journal, now: State, then: State) -> list[Document]:
    """Find the live deployments that cannot go on: begun since, of a changed endpoint, or of a withdrawn version."""
    before, after = now.content, then.content
    found = []
    for document in every(journal, "deployment", as_of=now.position):
        deployment = Deployment.model_validate(document.body)
        key = deployment.model_key
        same = before["endpoint"].get(key) == after["endpoint"].get(key)
        was = then.endpoint(key)
        begun = was is not None and deployment.deployment_id in was.deployment_ids
        stays = same and begun and f"{key}@{deployment.version}" in after["model_version"]
        if deployment.status in LIVE_STATES and not stays:
            found.append(document)
    return found


def _missing(wanted: Content, blobs: Blobs) -> list[str]:
    """List stored files that are gone; those of versions that would serve are read and checked byte by byte."""
    serving = {f"{key}@{goal[role]}" for key, goal in wanted["endpoint"].items() for role in ("stable", "previous")}
    missing = set()
    for key, body in wanted["model_version"].items():
        for digest in files_of(body, blobs):
            if not blobs.has(digest) or (key in serving and not _whole(blobs, digest)):
                missing.add(digest)
    return sorted(missing)


def _whole(blobs: Blobs, digest: str) -> bool:
    try:
        blobs.get(digest)
    except (Broken, NotFound):
        return False
    return True


def _refuse_missing(found: RestorePlan) -> None:
    if found.missing_artifacts:
        first, count = found.missing_artifacts[0], len(found.missing_artifacts)
        raise Conflict(
            f"snapshot {found.snapshot_id} cannot be restored: {count} stored files of its versions are gone or "
            f"damaged, the first is {first}; bring them back, or choose another snapshot. Nothing was changed",
            {"missing_artifacts": list(found.missing_artifacts)},
        )


def _writes(journal: Journal, ready: _Prepared, now_s: float, by: str, reason: str) -> list[Write]:
    before, after = ready.now.content, ready.then.content
    deployments = [Deployment.model_validate(document.body) for document in ready.live]
    writes = [
        Write(kind=kind, key=key, expected_version=ready.now.version(kind, key), body=after[kind].get(key))
        for kind in after
        if kind != "endpoint"
        for key in sorted({*before[kind], *after[kind]})
        if before[kind].get(key) != after[kind].get(key)
    ]
    for key in sorted(_changed_endpoints(before, after) | {deployment.model_key for deployment in deployments}):
        if (goal := _goal(journal, ready, key)) is not None:
            version = ready.now.version("endpoint", key)
            writes.append(Write(kind="endpoint", key=key, expected_version=version, body=goal.model_dump(mode="json")))
    for document, deployment in zip(ready.live, deployments, strict=True):
        ended = _superseded(deployment, after, now_s, by, reason).model_dump(mode="json")
        key = document.key
        writes.append(Write(kind="deployment", key=key, expected_version=document.version, body=ended))
    return writes


def _changed_endpoints(before: Content, after: Content) -> set[str]:
    now, then = before["endpoint"], after["endpoint"]
    return {key for key in {*now, *then} if now.get(key) != then.get(key)}


def _goal(journal: Journal, ready: _Prepared, key: str) -> Endpoint | None:
    """Say what an endpoint should serve, under an epoch higher than any that it ever had; None: it never existed."""
    past = [Endpoint.model_validate(d.body) for d in journal.history("endpoint", key) if d.body is not None]
    if not past:
        return None
    wanted = ready.then.content["endpoint"].get(key, {"stable": None, "previous": None})
    fresh = {"deployment_ids": _staying(past[-1], ready), "epoch": max(endpoint.epoch for endpoint in past) + 1}
    return past[-1].model_copy(update=wanted | fresh)


def _staying(endpoint: Endpoint, ready: _Prepared) -> tuple[str, ...]:
    ended = {document.key for document in ready.live}
    return tuple(name for name in endpoint.deployment_ids if name not in ended)


def _superseded(deployment: Deployment, after: Content, now_s: float, by: str, reason: str) -> Deployment:
    stable = after["endpoint"].get(deployment.model_key, {}).get("stable")
    traffic = {stable: 1.0} if stable else {}
    change = Change(at_s=now_s, status="superseded", traffic=traffic, actor=by, reason=reason)
    return deployment.model_copy(update=_ENDED | {"history": (*deployment.history, change)})


_ENDED = {"status": "superseded", "spans": (), "held": None}


def _facts(plan: RestorePlan, undo: Snapshot) -> Sequence[Fact]:
    done = plan.model_copy(update={"applied": True, "undo_snapshot_id": undo.snapshot_id})
    words = {"snapshot_id": done.snapshot_id, "position": done.position, "risk": done.risk}
    return (
        Fact(type="ROLLBACK_REQUESTED", subject=done.snapshot_id, data=words),
        exported(undo),
        Fact(type="MLDL_SNAPSHOT_RESTORED", subject=done.snapshot_id, data={"plan": done.model_dump(mode="json")}),
    )
