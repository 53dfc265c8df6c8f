"""The registry: every version of every model, who approved it, and the policy it must meet.

What survives a restart: everything. The actor holds nothing; each answer is read from the journal, each change is one
append. Not here: how numbers are chosen (``mldl_ray.registry.semver``), what the policy means (``bridges.governance``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from actors.changes import check_reason, settled, written
from actors.finding import Finding
from actors.governing import Governing
from actors.keeping import Keeping
from actors.naming import Naming
from actors.tracing import Tracing
from actors.witnessing import Witnessing
from contracts.errors import Broken, Conflict, Forbidden, Incompatible, NotFound
from contracts.evaluations import Evaluation
from contracts.events import Fact
from contracts.ports import Blobs, Clock, Journal, Once, Receipt, Write
from contracts.records import Approval, Job, Policy, TrainedBundle, VersionView
from contracts.specs import Json, NumberWanted
from mldl_ray.blobs.artifact import artifact_files, read_manifest
from mldl_ray.bridges.governance import APPROVERS, EmbeddedGovernance, expiry_s, missing_approvals, objections
from mldl_ray.bridges.governance_acts import ask, check_approver
from mldl_ray.evaluation import card_html, card_json
from mldl_ray.ids import new_id
from mldl_ray.journal.documents import first_answer, load, write
from mldl_ray.registry.catalog import Catalog, is_alias, version_key
from mldl_ray.registry.semver import Number, next_version, wanted_version

Aliases = Callable[[str], dict[str, str | None]]
Verdict = Literal["approved", "rejected"]


class Registry(Finding, Governing, Keeping, Naming, Tracing, Witnessing):
    """Register versions, record people's words on them, keep the policy, answer questions. Safe on several threads.

    Args:
        journal: The truth.
        blobs: Where the artifacts are.
        governance: Says what the policy lets pass.
        clock: Stamps what is written.
        folder: Where the index of versions is kept between restarts; it is built anew each time when None.
    """

    def __init__(
        self,
        journal: Journal,
        blobs: Blobs,
        governance: EmbeddedGovernance,
        clock: Clock,
        folder: Path | None = None,
    ) -> None:
        Governing.__init__(self, journal, governance, clock)
        Finding.__init__(self, journal, governance, clock, folder)
        Keeping.__init__(self, journal, blobs, clock)
        Naming.__init__(self, journal)
        Tracing.__init__(self, journal, self._finder)
        Witnessing.__init__(self, journal, governance, clock)
        self._journal, self._blobs, self._governance, self._clock = journal, blobs, governance, clock
        self._turn = threading.Lock()  # each registration sees the one before as its parent

    def register(
        self,
        job_id: str,
        *,
        tags: Sequence[str] = (),
        number: NumberWanted | None = None,
        reason: str,
        by: str,
        once: Once | None = None,
    ) -> TrainedBundle:
        """Give what a job trained its version, and ask for its approval: one append.

        Args:
            job_id: A job that has succeeded.
            tags: Added to those of the job's spec.
            number: One that it shall have; what changed decides when None.
            reason: Why; kept with the version.
            by: Who registers; may not approve it.
            once: The same request again gives the same version.

        Raises:
            NotFound: No such job, or its artifact is not stored.
            Conflict: The job has not succeeded, was registered already, policy forbids it, or the number is taken or
                lower than the change demands.
            Incompatible: An empty tag or reason.
            Broken: The job has no model, or its artifact is damaged.
        """
        check_reason(reason)
        if any(not tag.strip() for tag in tags):
            raise Incompatible("a tag is empty; leave it out or give it letters")
        with self._turn:
            return settled(lambda: self._register(job_id, tuple(tags), number, reason, by, once))

    def view(self, model_key: str, version: str, *, as_of_s: float | None = None) -> VersionView:
        """Give a version (number or alias) with its approvals, now or as it was (Unix seconds).

        Raises:
            NotFound: No such model or version; the message names those that there are.
        """
        catalog = self._catalog(as_of_s)
        aliases = self._finder.aliases if as_of_s is None else catalog.aliases
        return self._view(catalog.bundle(model_key, version), aliases, as_of_s)

    def approve(
        self,
        model_key: str,
        version: str,
        *,
        decision: Verdict = "approved",
        reason: str,
        by: str,
        role: str,
        once: Once | None = None,
    ) -> Approval:
        """Record somebody's word on a version, bound to its bytes and its evaluation; their latest word counts.

        Args:
            model_key: Of which model.
            version: An exact number; an alias could move between reading and approving.
            decision: ``approved``, or ``rejected``, which blocks it until the same person approves.
            reason: Why.
            by: Who says so.
            role: Theirs; approver or admin.
            once: The same request again gives the same answer.

        Raises:
            Forbidden: Of another role, or the approver trained or registered the version and the policy bars that.
            NotFound: No such model or version.
            Incompatible: An alias, an unknown decision, or no reason.
        """
        check_reason(reason)
        _check_word(decision, role, version)
        if (earlier := first_answer(self._journal, once)) is not None:
            return _approval(earlier)
        bundle = self._catalog(None).bundle(model_key, version)
        policy = self._governance.policy()
        if decision == "approved":
            check_approver(self._governance, bundle, by)
        word = self._word(bundle, policy, decision, reason, by, role, once)
        fact = Fact(type="MLDL_APPROVAL_DECIDED", subject=model_key, data=word.model_dump(mode="json"))
        return _approval(self._append([write("approval", word.approval_id, 0, word)], [fact], by, reason, once))

    def card(self, model_key: str, version: str) -> str:
        """Give the model card of a version, as HTML.

        Raises:
            NotFound: No such model or version, or it was never evaluated.
        """
        return card_html(*self._judged(model_key, version))

    def card_facts(self, model_key: str, version: str) -> Json:
        """Give the model card of a version, as JSON values; see ``card``."""
        return card_json(*self._judged(model_key, version))

    def _judged(self, model_key: str, version: str) -> tuple[TrainedBundle, Evaluation]:
        bundle = self._catalog(None).bundle(model_key, version)
        evaluation, _ = load(self._journal, "evaluation", bundle.evaluation_id or "", Evaluation)
        if evaluation is None:
            raise NotFound(f"{model_key} {bundle.version} was never evaluated, so it has no card; evaluate it first")
        return bundle, evaluation

    def _register(
        self,
        job_id: str,
        tags: tuple[str, ...],
        number: NumberWanted | None,
        reason: str,
        by: str,
        once: Once | None,
    ) -> TrainedBundle:
        if (earlier := first_answer(self._journal, once)) is not None:
            return _registered(earlier)
        job, at = load(self._journal, "job", job_id, Job)
        if job is None:
            raise NotFound(f"there is no job {job_id!r}; look at the list of jobs", {"job_id": job_id})
        trained = self._registrable(job)
        bundle = self._numbered(trained, job, tags, number)
        ask(self._governance, self._journal, "register", bundle, by)
        done = job.model_copy(update={"registered_version": bundle.version})
        writes = [*self._version_writes(bundle, by), write("job", job_id, at, done)]
        return _registered(self._append(writes, _registration_facts(bundle, job_id), by, reason, once))

    def _registrable(self, job: Job) -> TrainedBundle:
        """Give what a job trained, if it may be registered."""
        if job.status != "succeeded":
            raise _unfinished(job)
        if job.bundle is None:
            raise Broken(f"job {job.job_id} succeeded and yet has no model; train again", {"job_id": job.job_id})
        model_key, version = job.bundle.model_key, job.registered_version
        if version is not None and self._journal.read("model_version", version_key(model_key, version)) is not None:
            raise Conflict(
                f"job {job.job_id} was registered already, as {model_key} {version}",
                {"job_id": job.job_id, "model_key": model_key, "version": version},
            )
        return self._vouched(job.bundle, job.job_id)

    def _vouched(self, trained: TrainedBundle, job_id: str) -> TrainedBundle:
        """Check that the artifact is whole; take from its manifest the classes, where the record lacks them."""
        digest = trained.validation_hash
        missing = [file for file in artifact_files(self._blobs, digest) if not self._blobs.has(file)]
        if missing:
            raise NotFound(f"{len(missing)} files of job {job_id}'s artifact are not stored", {"missing": missing})
        classes = trained.classes or tuple(read_manifest(self._blobs, digest)["facts"].get("classes") or ())
        return trained.model_copy(update={"classes": classes})

    def _numbered(
        self, trained: TrainedBundle, job: Job, tags: tuple[str, ...], number: NumberWanted | None
    ) -> TrainedBundle:
        model_key = trained.model_key
        newest, taken = self._finder.numbers(model_key)
        if number is not None:
            newest = self._below(model_key, number)
        before = None if newest is None else self._catalog(None).bundle(model_key, newest)
        chosen = (
            next_version(trained, before, taken) if number is None else wanted_version(number, trained, before, taken)
        )
        lineage = {"job_id": job.job_id, "parent": before.version if before is not None else None}
        given = {
            "version": chosen[0],
            "version_why": chosen[1],
            "tags": tuple(dict.fromkeys((*job.job.spec.tags, *trained.tags, *tags))),
            "lineage": trained.lineage.model_copy(update=lineage),
        }
        return trained.model_copy(update=given)

    def _below(self, model_key: str, wanted: NumberWanted) -> str | None:
        """Give the highest number of a model below a wanted one."""
        numbers = map(Number.of, self._catalog(None).versions(model_key))
        below = max((number for number in numbers if number < Number.of(wanted.version)), default=None)
        return None if below is None else str(below)

    def _version_writes(self, bundle: TrainedBundle, by: str) -> list[Write]:
        key = version_key(bundle.model_key, str(bundle.version))
        request = {
            "model_key": bundle.model_key,
            "version": bundle.version,
            "validation_hash": bundle.validation_hash,
            "evaluation_id": bundle.evaluation_id,
            "requested_by": by,
            "at_s": self._clock.now_s(),
        }
        return [
            write("model_version", key, 0, bundle),
            Write(kind="approval_request", key=key, expected_version=0, body=request),
        ]

    def _word(
        self,
        bundle: TrainedBundle,
        policy: Policy,
        decision: Verdict,
        reason: str,
        by: str,
        role: str,
        once: Once | None,
    ) -> Approval:
        word = Approval(
            approval_id=new_id(version_key(bundle.model_key, str(bundle.version)), once),
            model_key=bundle.model_key,
            version=str(bundle.version),
            decision=decision,
            by=by,
            role=role,
            reason=reason,
            validation_hash=bundle.validation_hash,
            evaluation_id=bundle.evaluation_id,
            at_s=self._clock.now_s(),
        )
        if decision == "rejected" or policy.approval_ttl_s is None:
            return word
        return word.model_copy(update={"expires_at_s": expiry_s(word, policy)})

    def _view(self, bundle: TrainedBundle, aliases: Aliases, as_of_s: float | None) -> VersionView:
        standing = self._governance.approvals(bundle, as_of_s=as_of_s)
        policy = self._governance.policy(as_of_s=as_of_s)
        history = self._journal.history("model_version", version_key(bundle.model_key, str(bundle.version)))
        return VersionView(
            bundle=bundle,
            approvals=standing,
            approved=not any(objections(standing, policy)),
            missing_approvals=missing_approvals(standing, policy),
            aliases=tuple(alias for alias, leads_to in aliases(bundle.model_key).items() if leads_to == bundle.version),
            registered_by=history[0].actor if history else None,
        )

    def _catalog(self, as_of_s: float | None) -> Catalog:
        return Catalog(self._journal, as_of=None if as_of_s is None else self._journal.position(at_s=as_of_s))

    def _append(
        self, writes: Sequence[Write], facts: Sequence[Fact], by: str, reason: str, once: Once | None
    ) -> Receipt:
        return self._journal.append(writes, facts, actor=by, reason=reason, once=once)


def _registered(receipt: Receipt) -> TrainedBundle:
    return TrainedBundle.model_validate(written(receipt, "model_version"))


def _approval(receipt: Receipt) -> Approval:
    return Approval.model_validate(written(receipt, "approval"))


def _registration_facts(bundle: TrainedBundle, job_id: str) -> list[Fact]:
    about: Json = {
        "model_key": bundle.model_key,
        "version": bundle.version,
        "validation_hash": bundle.validation_hash,
        "evaluation_id": bundle.evaluation_id,
    }
    told = {"job_id": job_id, "family": bundle.family, "parent": bundle.lineage.parent, "why": bundle.version_why}
    return [
        Fact(type="MLDL_MODEL_REGISTERED", subject=bundle.model_key, data=about | told),
        Fact(type="MLDL_APPROVAL_REQUESTED", subject=bundle.model_key, data=about),
    ]


def _unfinished(job: Job) -> Conflict:
    facts = {"job_id": job.job_id, "status": job.status}
    if job.status in {"queued", "running"}:
        done = f"{job.progress.trials_done} of {job.progress.trials_total} trials done"
        return Conflict(f"job {job.job_id} is {job.status} ({done}); register it when it has succeeded", facts)
    why = f": {job.error.get('message')}" if job.error else ""
    return Conflict(f"job {job.job_id} {job.status}{why}; it has no model to register, train again", facts)


def _check_word(decision: str, role: str, version: str) -> None:
    if role not in APPROVERS:
        raise Forbidden(f"role {role} may not approve; it takes {' or '.join(sorted(APPROVERS))}", {"role": role})
    if decision not in get_args(Verdict):
        raise Incompatible(f"decision {decision!r} must be approved or rejected")
    if is_alias(version):
        raise Incompatible(f"{version} may mean another version tomorrow; approve an exact number")
