"""Going back to a snapshot: everything checked first, then one append. It never deletes, so it can itself be undone.

The state goes back as one unit: what was registered, approved or decided since is withdrawn, and stays in the history.
Before it changes anything the restore records a snapshot of now, in the same append; restoring that one is the undo.
An endpoint's epoch never goes back, so every replica takes the restored goal for the newer one. What the endpoints
should serve is all that is written: the deployment manager brings it about, as it does for any other goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from contracts.errors import Conflict
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Document, Journal, Once, Receipt, Write
from contracts.records import Impact, RestorePlan, Snapshot
from contracts.rollouts import Change, Deployment, Endpoint
from contracts.specs import Json
from mldl_ray.ids import new_id
from mldl_ray.snapshots.capture import describe, exported, snapshot_of, write_of
from mldl_ray.snapshots.impact import impacts
from mldl_ray.snapshots.kinds import RESTORABLE
from mldl_ray.snapshots.proof import Proof, check_seal, check_targets
from mldl_ray.snapshots.reach import affected, approvals_voided, feedback_lost, told
from mldl_ray.snapshots.risk import Known, weigh
from mldl_ray.snapshots.rollouts import ended, not_resumed
from mldl_ray.snapshots.state import Content, State, since
from mldl_ray.snapshots.targets import Load

_TRIES = 5


class _Prepared(NamedTuple):
    """A snapshot, held against now."""

    now: State
    then: State
    live: tuple[Document, ...]
    plan: RestorePlan


class Sight(NamedTuple):
    """What a plan is made with beside the truth: the settings of now, the live figures, how a version is loaded."""

    settings: Json | None = None
    live: Json | None = None
    load: Load | None = None


def plan(journal: Journal, blobs: Blobs, snapshot_id: str, *, sight: Sight | None = None) -> RestorePlan:
    """Say what restoring a snapshot would change, and prove that it could; nothing is written.

    Raises:
        NotFound: No such snapshot.
        Broken: The journal no longer gives the state that the snapshot's digest names.
    """
    return _prepare(journal, blobs, snapshot_of(journal, snapshot_id), sight or Sight()).plan


def restore(
    journal: Journal,
    blobs: Blobs,
    clock: Clock,
    snapshot_id: str,
    *,
    reason: str,
    by: str,
    force: bool = False,
    sight: Sight | None = None,
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
        force: Go on although a version's file is gone, is damaged or does not load; the record says so.
        sight: The effective defaults (a difference is told, never applied), and how a version is loaded.
        once: Makes a repeated call give the first answer.

    Returns:
        The plan as it was carried out, with the snapshot that leads back.

    Raises:
        NotFound: No such snapshot.
        Conflict: A version cannot be used and it was not forced, or others kept writing; nothing was written.
        Broken: The journal no longer gives the state that the snapshot's digest names.
    """
    undo_id = new_id("snap", Once(key=f"{once.key}\0undo", digest=once.digest) if once else None)
    snapshot, seen = snapshot_of(journal, snapshot_id), sight or Sight()

    def attempt() -> Receipt:
        if once is not None and journal.read("snapshot", undo_id) is not None:
            probe = Fact(type="ROLLBACK_REQUESTED", subject=snapshot_id)  # the key is known: nothing is appended
            return journal.append([], [probe], actor=by, reason=reason, once=once)
        sealed = journal.seal(tuple(RESTORABLE))
        ready = _prepare(journal, blobs, snapshot, seen)
        if not force:
            _refuse_troubles(ready.plan)
        now_s, why = clock.now_s(), f"before restoring {snapshot_id}"
        undo = describe(sealed, undo_id, reason=why, by=by, now_s=now_s, kind="before_rollback", settings=seen.settings)
        writes = [*_writes(journal, ready, now_s, by, reason), write_of(undo)]
        return journal.append(writes, _facts(ready.plan, undo), actor=by, reason=reason, once=once)

    return _carried_out(_again_after_races(attempt))


def _again_after_races(attempt: Callable[[], Receipt]) -> Receipt:
    """Decide again, a few times, when somebody else wrote between the decision and its append."""
    for _ in range(_TRIES - 1):
        try:
            return attempt()
        except Conflict as error:
            if "expected_version" not in error.facts:
                raise
    return attempt()


def _carried_out(receipt: Receipt) -> RestorePlan:
    told = next(event for event in receipt.events if event.type == "MLDL_SNAPSHOT_RESTORED")
    return RestorePlan.model_validate(told.data["plan"])


def _prepare(journal: Journal, blobs: Blobs, snapshot: Snapshot, sight: Sight) -> _Prepared:
    check_seal(journal, snapshot)
    now, then = since(journal, snapshot.position)
    live = tuple(ended(journal, now, then))
    before, wanted = now.content, then.content
    proof = check_targets(journal, blobs, before, wanted, snapshot.position, sight.load)
    found = impacts(before, wanted, (Deployment.model_validate(document.body) for document in live))
    notes = (*not_resumed(journal, snapshot.position, then), *_settings_differ(snapshot.settings, sight.settings or {}))
    return _Prepared(now, then, live, _weighed(snapshot, found, proof, sight.live, notes))


def _weighed(
    snapshot: Snapshot, found: tuple[Impact, ...], proof: Proof, live: Json | None, notes: tuple[str, ...]
) -> RestorePlan:
    reached, lost = affected(found, live or {}), feedback_lost(found, live or {})
    voided = approvals_voided(found)
    risk = weigh(
        found, Known(proof.unapproved, proof.troubles, proof.lost_datasets, proof.breaks, reached, voided, lost)
    )
    elsewhere = f"the artifacts of {proof.elsewhere} versions lie elsewhere and were not looked at"
    return RestorePlan(
        snapshot_id=snapshot.snapshot_id,
        position=snapshot.position,
        impacts=found,
        risk=risk.level,
        risk_score=risk.score,
        risk_reasons=risk.reasons,
        missing_artifacts=proof.missing,
        troubles=proof.troubles,
        affected=reached,
        schema_breaks=tuple(proof.breaks.values()),
        approvals_voided=voided,
        feedback_lost=lost,
        checked_artifacts=proof.checked,
        notes=(*told(reached), *notes, *([elsewhere] if proof.elsewhere else [])),
    )


def _settings_differ(then: Json, now: Json) -> list[str]:
    """Tell which recorded settings differ now; a snapshot without any (an older one) tells nothing."""
    was, held = _flat(then), _flat(now)
    names = sorted(name for name in was.keys() | held.keys() if was.get(name) != held.get(name)) if then and now else []
    return [f"the setting {n} is {held.get(n)} and was {was.get(n)}; it is not changed" for n in names]


def _flat(settings: Json, prefix: str = "mldl") -> Json:
    found: Json = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}.{name}") if isinstance(value, dict) else {f"{prefix}.{name}": value}
    return found


def _refuse_troubles(found: RestorePlan) -> None:
    if not found.troubles:
        return
    first, others = found.troubles[0], len(found.troubles) - 1
    said = f" ({first.detail})" if first.detail else ""
    verb = "" if first.problem == "does not load" else "is "
    raise Conflict(
        f"snapshot {found.snapshot_id} cannot be restored: {first.file} of {first.target} {verb}{first.problem}{said}"
        f"{f'; {others} more are gone or damaged' if others else ''}; bring it back, choose another snapshot, or force "
        "it with a reason. Nothing was changed",
        {
            "missing_artifacts": list(found.missing_artifacts),
            "troubles": [trouble.model_dump(mode="json") for trouble in found.troubles],
        },
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
    way_back = {"undo_snapshot_id": undo.snapshot_id, "forced": bool(plan.troubles)}
    done = plan.model_copy(update={"applied": True} | way_back)
    words = {"snapshot_id": done.snapshot_id, "position": done.position, "risk": done.risk}
    return (
        Fact(type="ROLLBACK_REQUESTED", subject=done.snapshot_id, data=words),
        exported(undo),
        Fact(type="MLDL_SNAPSHOT_RESTORED", subject=done.snapshot_id, data={"plan": done.model_dump(mode="json")}),
    )
