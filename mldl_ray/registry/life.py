"""Retiring a version, taking that back, deleting a version; and what forbids each. Not here: its files (``garbage``).

A deployment of the same version may be asked for at the same moment. Whoever deploys writes the endpoint, having read
the version after it; so each change here writes the endpoint too, as it is, and the journal refuses whoever was second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contracts.errors import Conflict, Incompatible
from contracts.events import Fact
from contracts.life import Deletion
from contracts.ports import Clock, Document, Journal, Once, Receipt, Write
from contracts.records import TrainedBundle
from contracts.rollouts import LIVE_STATES, Deployment, Endpoint
from contracts.specs import Json
from mldl_ray.journal.documents import first_answer, load, write
from mldl_ray.registry.catalog import Catalog, is_alias, version_key
from mldl_ray.snapshots.capture import snapshots

DELETION = "deletion"
"""Kind of what stays of a deleted version; its key is the version's."""


class Life:
    """Change what may become of versions; holds nothing.

    Args:
        journal: The truth.
        clock: Stamps deletions.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock

    def retire(self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None) -> TrainedBundle:
        """Have a version be deployed no more.

        Args:
            model_key: Of which model.
            version: Its number.
            reason: Why.
            by: Who says so.
            once: The same request again gives the same answer.

        Raises:
            NotFound: No such version.
            Conflict: It is retired already, serves, or goes through a rollout.
            Incompatible: An alias.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return _written(earlier)
        fence = self._fence(model_key)
        bundle, at = self._known(model_key, version)
        if bundle.status == "retired":
            raise Conflict(f"{model_key} {version} is retired already", {"model_key": model_key, "version": version})
        _refuse(bundle, "retired", self._uses(bundle))
        retired = bundle.model_copy(update={"status": "retired"})
        return self._append([_write(retired, at), fence], _change(retired, "retired"), reason, by, once)

    def reinstate(
        self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None
    ) -> TrainedBundle:
        """Let a retired version be deployed again; policy is asked then, as of any other.

        Raises:
            NotFound: No such version.
            Conflict: It is not retired.
            Incompatible: An alias.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return _written(earlier)
        bundle, at = self._known(model_key, version)
        if bundle.status != "retired":
            raise Conflict(f"{model_key} {version} is not retired", {"model_key": model_key, "version": version})
        back = bundle.model_copy(update={"status": "registered"})
        return self._append([_write(back, at)], _change(back, "reinstated"), reason, by, once)

    def delete(self, model_key: str, version: str, *, reason: str, by: str, once: Once | None = None) -> Deletion:
        """Take a version away for good; its number is never given again, and the journal keeps its history.

        Raises:
            NotFound: No such version.
            Conflict: It serves, goes through a rollout, is what an endpoint falls back to, an alias leads to it, or a
                snapshot holds it.
            Incompatible: An alias.
        """
        if (earlier := first_answer(self._journal, once)) is not None:
            return _deleted(earlier)
        fence = self._fence(model_key)
        bundle, at = self._known(model_key, version)
        uses = [*self._uses(bundle), *self._ways_back(bundle), *self._names(bundle), *self._moments(bundle)]
        _refuse(bundle, "deleted", uses)
        key, gone = version_key(model_key, version), self._tombstone(bundle, reason, by)
        _, before = load(self._journal, DELETION, key, Deletion)
        writes = [
            Write(kind="model_version", key=key, expected_version=at, body=None),
            *self._unasked(key),
            write(DELETION, key, before, gone),
            fence,
        ]
        fact = Fact(type="MLDL_MODEL_DELETED", subject=model_key, data=gone.model_dump(mode="json"))
        return _deleted(self._journal.append(writes, [fact], actor=by, reason=reason, once=once))

    def _known(self, model_key: str, version: str) -> tuple[TrainedBundle, int]:
        if is_alias(version):
            raise Incompatible(f"{version} is an alias, which could move meanwhile; give the number that is meant")
        found, at = load(self._journal, "model_version", version_key(model_key, version), TrainedBundle)
        return found or Catalog(self._journal).bundle(model_key, version), at

    def _append(self, writes: Sequence[Write], fact: Fact, reason: str, by: str, once: Once | None) -> TrainedBundle:
        return _written(self._journal.append(writes, [fact], actor=by, reason=reason, once=once))

    def _fence(self, model_key: str) -> Write:
        """Write the endpoint as it is, read before all else; one that never was is withdrawn, which is what it is."""
        endpoint, version = load(self._journal, "endpoint", model_key, Endpoint)
        if endpoint is not None:
            return write("endpoint", model_key, version, endpoint)
        return Write(kind="endpoint", key=model_key, expected_version=version, body=None)

    def _unasked(self, key: str) -> Iterator[Write]:
        """Let nobody be asked to approve what is gone."""
        request = self._journal.read("approval_request", key)
        if request is not None:
            yield Write(kind="approval_request", key=key, expected_version=request.version, body=None)

    def _tombstone(self, bundle: TrainedBundle, reason: str, by: str) -> Deletion:
        return Deletion(
            model_key=bundle.model_key,
            version=str(bundle.version),
            validation_hash=bundle.validation_hash,
            job_id=bundle.lineage.job_id,
            deleted_by=by,
            reason=reason,
            at_s=self._clock.now_s(),
        )

    # What forbids it

    def _uses(self, bundle: TrainedBundle) -> Iterator[str]:
        endpoint = self._endpoint(bundle.model_key)
        if endpoint is None:
            return
        if endpoint.stable == bundle.version:
            yield "it serves (deploy another version first)"
        for name in endpoint.deployment_ids:
            deployment, _ = load(self._journal, "deployment", name, Deployment)
            if deployment is not None and deployment.version == bundle.version and deployment.status in LIVE_STATES:
                yield f"it goes through the rollout {name}, which is {deployment.status} (roll it back first)"

    def _ways_back(self, bundle: TrainedBundle) -> Iterator[str]:
        endpoint = self._endpoint(bundle.model_key)
        if endpoint is not None and endpoint.previous == bundle.version:
            yield "the endpoint falls back to it (it does until another version has served after it)"
        for name in () if endpoint is None else endpoint.deployment_ids:
            deployment, _ = load(self._journal, "deployment", name, Deployment)
            if deployment is not None and deployment.stable == bundle.version and deployment.status in LIVE_STATES:
                yield f"the rollout {name} falls back to it"

    def _names(self, bundle: TrainedBundle) -> Iterator[str]:
        for document in Catalog(self._journal).own_aliases(bundle.model_key):
            body: Json = document.body or {}
            if body.get("version") == bundle.version:
                yield f"the alias {body.get('alias')} leads to it (move or remove it first)"

    def _moments(self, bundle: TrainedBundle) -> Iterator[str]:
        past = self._journal.history("model_version", version_key(bundle.model_key, str(bundle.version)))
        holding = [one.snapshot_id for one in snapshots(self._journal) if _was_there(past, one.position)]
        if holding:
            more = f" and {len(holding) - 1} more snapshots hold it" if len(holding) > 1 else " holds it"
            yield f"snapshot {holding[0]}{more}, and one can go back there"

    def _endpoint(self, model_key: str) -> Endpoint | None:
        found, _ = load(self._journal, "endpoint", model_key, Endpoint)
        return found


def _write(bundle: TrainedBundle, at: int) -> Write:
    return write("model_version", version_key(bundle.model_key, str(bundle.version)), at, bundle)


def _change(bundle: TrainedBundle, change: str) -> Fact:
    data = {"model_key": bundle.model_key, "version": bundle.version, "change": change}
    return Fact(type="MLDL_MODEL_RETIRED", subject=bundle.model_key, data=data)


def _was_there(past: Sequence[Document], position: int) -> bool:
    """Say whether a document was there after a position."""
    until = [document for document in past if document.position <= position]
    return bool(until) and until[-1].body is not None


def _refuse(bundle: TrainedBundle, done: str, because: Iterator[str] | Sequence[str]) -> None:
    reasons = list(because)
    if reasons:
        facts = {"model_key": bundle.model_key, "version": bundle.version, "reasons": reasons}
        raise Conflict(f"{bundle.model_key} {bundle.version} cannot be {done}: {'; '.join(reasons)}", facts)


def _written(receipt: Receipt) -> TrainedBundle:
    body = next((one.body for one in receipt.documents if one.kind == "model_version" and one.body), None)
    if body is None:
        raise Conflict("this idempotency key was used for another kind of request")
    return TrainedBundle.model_validate(body)


def _deleted(receipt: Receipt) -> Deletion:
    body = next((one.body for one in receipt.documents if one.kind == DELETION), None)
    if body is None:
        raise Conflict("this idempotency key was used for another kind of request")
    return Deletion.model_validate(body)
