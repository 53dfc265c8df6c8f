"""The verbs of HTTP, for Python programs: jobs, deployments, going back. The others are in its bases."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx

from contracts.archives import Artifacts
from contracts.errors import Incompatible, NotFound, Unavailable
from contracts.evaluations import Evaluation
from contracts.http import (
    DeploymentAccepted,
    DeploymentView,
    DeployRequest,
    EndpointView,
    EvaluateRequest,
    ExplainAnswer,
    ExplainRequest,
    HoldRequest,
    JobAccepted,
    PromoteRequest,
    Rollback,
    RollbackRequest,
    SampleAnswer,
    SampleRequest,
    ScaleRequest,
    Why,
)
from contracts.records import Job, RestorePlan, Snapshot, TrialRecord
from contracts.rollouts import LIVE_STATES
from contracts.specs import DataRef, DeploymentSpec, JobSpec, Json
from mldl_ray.governing import Governing
from mldl_ray.keeping import Keeping
from mldl_ray.operations import Operations
from mldl_ray.registering import Registering
from mldl_ray.tracing import Tracing
from mldl_ray.transport import Transport
from mldl_ray.wire import in_path, read, version_path, wait, with_path

if TYPE_CHECKING:
    import pyarrow as pa

DEFAULT_URL = "http://127.0.0.1:8080"


class MLDLClient(Registering, Tracing, Keeping, Governing, Operations):
    """Call a service.

    Args:
        url: Of the service; ``MLDL_URL`` or this machine's when absent.
        key: Bearer key; ``MLDL_KEY`` when absent.
        acting_as: Who acts, for the record; honoured where no key is required.

    Every method raises the error that the service raised (``contracts.errors``), or ``Unavailable`` when nobody
    answers. Calls are repeated while the service is away; mutations carry an idempotency key, so that this is safe.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        acting_as: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        key = key or os.environ.get("MLDL_KEY")
        url = url or os.environ.get("MLDL_URL") or DEFAULT_URL
        super().__init__(Transport(url, key, acting_as, transport))

    @property
    def url(self) -> str:
        """Give the address of the service."""
        return self._transport.url

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Jobs

    def train(self, job: JobSpec | Mapping[str, Any]) -> JobAccepted:
        """Start a training job; the body is that of ``POST /train``."""
        return self._post(JobAccepted, "/train", with_path(read(JobSpec, job)))

    def job(self, job_id: str) -> Job:
        """Show a job."""
        return self._get(Job, f"/jobs/{in_path(job_id)}/status")

    def jobs(self, *, model_key: str | None = None, after: str = "", limit: int = 50) -> list[Job]:
        """List jobs, newest first; go on after the last with ``after``."""
        return self._get(list[Job], "/jobs", model_key=model_key, after=after, limit=limit)

    def wait_job(
        self, job_id: str, *, on_progress: Callable[[Job], object] | None = None, timeout_s: float = 3600
    ) -> Job:
        """Wait until a job has ended, well or not.

        Args:
            job_id: Which.
            on_progress: Hears of every state looked at, the last included.
            timeout_s: Seconds.

        Raises:
            Unavailable: It had not ended by then.
        """

        def ended() -> Job | None:
            job = self.job(job_id)
            if on_progress is not None:
                on_progress(job)
            return job if job.status in {"succeeded", "failed", "cancelled"} else None

        return wait(ended, timeout_s, f"job {job_id} to end")

    def cancel(self, job_id: str, *, reason: str) -> Job:
        """Stop a job."""
        return self._post(Job, f"/jobs/{in_path(job_id)}/cancel", read(Why, {"reason": reason}))

    def trials(
        self, job_id: str, *, status: str | None = None, sort: str = "ended", after: str = "", limit: int = 50
    ) -> list[TrialRecord]:
        """List what a job's search tried.

        Args:
            job_id: Whose.
            status: Only those ``completed``, ``pruned`` or ``failed``.
            sort: ``ended``, as they ended; ``score``, the best first; ``seconds``, the longest first.
            after: Only what follows the trial of this id.
            limit: Most.
        """
        path = f"/jobs/{in_path(job_id)}/trials"
        return self._get(list[TrialRecord], path, status=status, sort=sort, after=after, limit=limit)

    def trials_table(self, job_id: str) -> pa.Table:
        """Give all trials of a job as an Arrow table, a column for each setting."""
        from mldl_ray.blobs.tables import table_from_parquet  # noqa: PLC0415  # slow to load, and only needed here

        return table_from_parquet(self._transport.call("GET", f"/jobs/{in_path(job_id)}/trials.parquet").content)

    def report(self, job_id: str) -> str:
        """Give a job's search as an HTML page."""
        return self._transport.call("GET", f"/jobs/{in_path(job_id)}/report").text

    def evaluate(
        self,
        *,
        job_id: str | None = None,
        model_key: str | None = None,
        version: str | None = None,
        data: DataRef | Mapping[str, Any] | None = None,
        metrics: Sequence[str] = (),
    ) -> Evaluation:
        """Judge a job's model or a version, on its held-out rows or on others."""
        asked = {"job_id": job_id, "model_key": model_key, "version": version, "data": data, "metrics": metrics}
        return self._post(Evaluation, "/evaluate", with_path(read(EvaluateRequest, asked)))

    def explain(self, model_key: str, inputs: Sequence[Any], version: str = "stable") -> ExplainAnswer:
        """Attribute a version's scores for some rows to their columns."""
        body = read(ExplainRequest, {"inputs": tuple(inputs)})
        return self._post(ExplainAnswer, f"{version_path(model_key, version)}/explain", body)

    def sample(self, model_key: str, rows: int = 10, version: str = "latest", *, seed: int = 0) -> list[Json]:
        """Have a version that generates rows make some."""
        body = read(SampleRequest, {"rows": rows, "seed": seed})
        return list(self._post(SampleAnswer, f"{version_path(model_key, version)}/sample", body).rows)

    # Deployments

    def deploy(
        self, model_key: str, version: str, spec: DeploymentSpec | Mapping[str, Any] | None = None, *, reason: str = ""
    ) -> DeploymentAccepted:
        """Have a version serve."""
        asked = {"model_key": model_key, "version": version, "spec": spec or {}, "reason": reason}
        return self._post(DeploymentAccepted, "/deploy", read(DeployRequest, asked))

    def deployment(self, deployment_id: str) -> DeploymentView:
        """Show a deployment with its decisions."""
        return self._get(DeploymentView, f"/deployments/{in_path(deployment_id)}")

    def deployments(self, *, model_key: str | None = None, limit: int = 50) -> list[DeploymentView]:
        """List deployments, newest first."""
        return self._get(list[DeploymentView], "/deployments", model_key=model_key, limit=limit)

    def wait_deployment(
        self,
        deployment_id: str,
        *,
        on_change: Callable[[DeploymentView], object] | None = None,
        timeout_s: float = 600,
        until: Callable[[DeploymentView], bool] = lambda found: found.status not in LIVE_STATES,
    ) -> DeploymentView:
        """Wait until a deployment has ended, well or not.

        Args:
            deployment_id: Which.
            on_change: Hears of every state looked at that differs from the one before.
            timeout_s: Seconds.
            until: What to wait for instead of the end.

        Raises:
            Unavailable: It had not ended by then.
        """
        last: DeploymentView | None = None

        def ended() -> DeploymentView | None:
            nonlocal last
            found = self.deployment(deployment_id)
            if on_change is not None and found != last:
                on_change(found)
            last = found
            return found if until(found) else None

        return wait(ended, timeout_s, f"deployment {deployment_id} to end")

    def promote(self, deployment_id: str, *, to_pct: float | None = None, reason: str) -> DeploymentView:
        """Send a rollout on."""
        body = read(PromoteRequest, {"deployment_id": deployment_id, "to_pct": to_pct, "reason": reason})
        return self._post(DeploymentView, "/canary/promote", body)

    def hold(self, deployment_id: str, *, reason: str) -> DeploymentView:
        """Keep a rollout where it is until it is resumed; harm still takes it back."""
        body = read(HoldRequest, {"deployment_id": deployment_id, "reason": reason})
        return self._post(DeploymentView, "/canary/hold", body)

    def resume(self, deployment_id: str, *, reason: str) -> DeploymentView:
        """Let a held rollout go on."""
        body = read(HoldRequest, {"deployment_id": deployment_id, "reason": reason})
        return self._post(DeploymentView, "/canary/resume", body)

    def endpoints(self) -> list[EndpointView]:
        """List what serves now."""
        return self._get(list[EndpointView], "/endpoints")

    def scale(self, model_key: str, replicas: int, *, reason: str) -> EndpointView:
        """Have an endpoint run with another number of replicas (1–256), restarting none."""
        body = read(ScaleRequest, {"replicas": replicas, "reason": reason})
        return self._post(EndpointView, f"/endpoints/{in_path(model_key)}/scale", body)

    def predict(
        self, model_key: str, inputs: Sequence[Any], keys: Sequence[str] | None = None, key: str | None = None
    ) -> Json:
        """Predict.

        Args:
            model_key: Which model.
            inputs: Records by feature name, or rows in the order of the features.
            keys: Sticky key per row.
            key: Sticky key of all rows: its version stays the same in a rollout.

        Returns:
            ``{predictions, model_version, request_id, …}``.
        """
        body: Json = {"inputs": list(inputs)} | ({} if keys is None else {"keys": list(keys)})
        headers = {} if key is None else {"x-mldl-key": key}
        answer: Json = self._transport.call("POST", f"/predict/{in_path(model_key)}", body=body, headers=headers).json()
        return answer

    def wait_serving(self, model_key: str, timeout_s: float = 120) -> EndpointView:
        """Wait until the endpoint of a model runs with its current route table and answers.

        Raises:
            Unavailable: It did not by then.
        """

        def serving() -> EndpointView | None:
            found = next((e for e in self.endpoints() if e.model_key == model_key), None)
            if found is None or found.app_state != "running" or not found.applied:
                return None
            return found if self._answers(model_key) else None

        return wait(serving, timeout_s, f"{model_key} to serve")

    def _answers(self, model_key: str) -> bool:
        try:
            self._transport.call("POST", f"/predict/{in_path(model_key)}", body={"inputs": []})
        except (NotFound, Unavailable):
            return False
        except Incompatible:
            return True  # the endpoint itself refused the empty question
        return True

    # Going back

    def snapshot_export(self, reason: str) -> Snapshot:
        """Name this moment as one to go back to."""
        return self._post(Snapshot, "/snapshot/export", read(Why, {"reason": reason}))

    def snapshots(self) -> list[Snapshot]:
        """List snapshots."""
        return self._get(list[Snapshot], "/snapshots")

    def snapshot_plan(self, snapshot_id: str) -> RestorePlan:
        """Show what going back to a snapshot would change."""
        return self._get(RestorePlan, f"/snapshots/{in_path(snapshot_id)}/plan")

    def snapshot_file(self, snapshot_id: str, path: str | Path, *, artifacts: Artifacts = "included") -> Path:
        """Write a snapshot as one file, which another cluster imports; the file is there when it is whole.

        Raises:
            Incompatible: What came is not whole; nothing is left of it.
        """
        from mldl_ray.snapshots.unpack import Archive  # noqa: PLC0415  # slow to import; only files need it

        path = Path(path)
        aside = path.with_name(f".{path.name}.part")
        try:
            with aside.open("wb") as out:
                pieces = self._transport.pieces(f"/snapshots/{in_path(snapshot_id)}/file", {"artifacts": artifacts})
                out.writelines(pieces)
            Archive(aside)
            return aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def rollback(
        self,
        *,
        snapshot_id: str | None = None,
        deployment_id: str | None = None,
        reason: str,
        dry_run: bool = False,
        force: bool = False,
    ) -> Rollback:
        """Go back to a snapshot, or to what served before a deployment; or only say what that would change.

        ``force``: to a snapshot even where files of its versions are gone, damaged or do not load.
        """
        asked = {"snapshot_id": snapshot_id, "deployment_id": deployment_id, "reason": reason, "dry_run": dry_run}
        asked |= {"force": force}
        return self._post(Rollback, "/rollback", read(RollbackRequest, asked))
