"""The chapters of the demo, in order. Everything goes through ``MLDLClient``, as a user's program would."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from contracts.errors import Unavailable
from contracts.records import Alert, Job, TrainedBundle
from contracts.rollouts import Deployment
from contracts.specs import Json
from mldl_ray import compose
from mldl_ray.client import MLDLClient
from mldl_ray.demo.data import SENSITIVE, Census, older_and_abroad, prepare
from mldl_ray.demo.facts import Facts, story
from mldl_ray.demo.load import LiveLoad
from mldl_ray.settings import Settings, load_defaults, load_settings

KEY = "income"
WAIT_S = 120.0
CONFIGURATION = """
mldl:
  deployment: {promotion_window: 4, bake_window: 3}
  monitoring: {window_rows: 500}
"""
TRIALS = {"lr": 4, "xgb": 6}
ROLLOUT: Json = {"canary_pct": 5, "promotion_window": 4, "bake_window": 3, "guardrails": {"max_latency_p95_ms": 500}}


def run(*, json_file: Path | None = None, leave: bool = True, settings: Settings | None = None) -> Facts:
    """Tell the whole story against a system of its own, in ``$MLDL_HOME/demo``, which every run begins afresh.

    Args:
        json_file: Where to write the facts.
        leave: Leave the service running at the end.
        settings: Where the demo lives; its own folder when absent.
    """
    if settings is None:
        settings = load_settings()
        settings = load_settings(home=settings.home / "demo", port=settings.port, mldl=load_defaults(CONFIGURATION))
    console = Console()
    began = time.monotonic()
    compose.down(settings)
    shutil.rmtree(settings.home, ignore_errors=True)
    try:
        facts = _Demo(settings, console).tell()
    finally:
        if not leave:
            compose.down(settings)
    facts.seconds = round(time.monotonic() - began, 1)
    if json_file is not None:
        json_file.write_text(json.dumps(facts.as_json(), indent=2), encoding="utf-8")
    console.rule("What happened")
    console.print(story(facts), highlight=False)
    if leave:
        console.print(
            f"\nThe service is up: [bold]{settings.url}/api/mldl/v1/docs[/]\n"
            f"Stop it: MLDL_HOME={settings.home} mldl down"
        )
    return facts


class _Demo:
    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._client = MLDLClient(settings.url, acting_as="ana")
        self._approver = MLDLClient(settings.url, acting_as="bo")
        self._facts = Facts()

    def tell(self) -> Facts:
        """Go through the chapters; give the facts."""
        self._chapter("Starting the system")
        report = compose.up(self._settings, say=lambda what: self._console.print(f"  started {what}"))
        self._console.print(f"  {report.url}")
        census = prepare(self._settings.home / "data")
        self._chapter("Training two families on census data")
        first, better = (self._train_and_register(family, census.train_file) for family in ("lr", "xgb"))
        self._chapter("Training a third version from a file that has one column too many")
        broken = self._train_and_register("xgb", census.broken_file, trials=1)
        self._chapter(f"Deploying {first.version}")
        self._deploy(first)
        with self._users(census) as load:
            self._canary(better)
            self._bad_candidate(broken, load)
            self._drift(load)
            self._back_to_the_snapshot(first, better)
        self._facts.predictions_served = load.served
        self._facts.failed_requests = len(load.failures)
        for failure in load.failures[:3]:
            self._console.print(f"  [red]failed request:[/] {failure}")
        self._close()
        return self._facts

    def _chapter(self, title: str) -> None:
        self._console.rule(title, align="left")

    def _train_and_register(self, family: str, file: Path, trials: int | None = None) -> TrainedBundle:
        job = self._client.train(
            {
                "spec": {"model_key": KEY, "family": family, "task": "classification", "tags": ["demo"]},
                "data": {"uri": str(file), "target": "income", "sensitive": list(SENSITIVE)},
                "cv": {"folds": 3},
                "hpo": {"strategy": "bayes", "max_trials": trials or TRIALS[family], "metric": "auroc"},
                "calibration": "isotonic",
            }
        )
        done = self._watch_job(job.job_id, family)
        bundle = self._client.register(job.job_id, tags=["demo"], reason=f"{family} for the demo")
        approval = self._approver.approve(KEY, str(bundle.version), reason="figures read")
        self._console.print(
            f"  registered {KEY} [bold]{bundle.version}[/], approved by {approval.by}; "
            + ", ".join(f"{name} {value:.3f}" for name, value in bundle.metrics.items())
        )
        self._facts.trained.append(_trained_facts(family, done, bundle))
        self._facts.registered.append(_registered_facts(bundle))
        return bundle

    def _watch_job(self, job_id: str, family: str) -> Job:
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
        )
        seen = 0
        with Progress(*columns, console=self._console) as bar:
            task = bar.add_task(f"{family} trials", total=None, best="")

            def show(job: Job) -> None:
                nonlocal seen
                for trial in job.trials[seen:]:
                    score = "–" if trial.score is None else f"{trial.score:.4f}"
                    bar.console.print(f"    {trial.status} {score}  {_short(trial.config)}", highlight=False)
                seen = len(job.trials)
                best = "" if job.progress.best_score is None else f"best {job.progress.best_score:.4f}"
                bar.update(task, completed=job.progress.trials_done, total=job.progress.trials_total or None, best=best)

            job = self._client.wait_job(job_id, on_progress=show)
        if job.status != "succeeded":
            raise Unavailable(f"the demo's job {job_id} {job.status}: {job.error}")
        return job

    def _deploy(self, bundle: TrainedBundle, spec: Json | None = None) -> Deployment:
        asked = self._client.deploy(KEY, str(bundle.version), spec or ROLLOUT)
        last = ""

        def show(deployment: Deployment) -> None:
            nonlocal last
            traffic = deployment.history[-1].traffic if deployment.history else {}
            shares = ", ".join(f"{version} {share:.0%}" for version, share in traffic.items())
            line = f"  {deployment.status:<12} {shares}"
            if line != last:
                self._console.print(line, highlight=False)
                last = line

        return self._client.wait_deployment(asked.deployment_id, on_change=show, timeout_s=WAIT_S)

    @contextmanager
    def _users(self, census: Census) -> Iterator[LiveLoad]:
        stop = threading.Event()
        load = LiveLoad(
            self._settings.host, self._settings.port, KEY, census.rows, census.labels, per_second=200, users=4
        )

        def send_labels() -> None:
            while not stop.wait(1.0):
                if items := load.take_feedback():
                    self._client.feedback(items)

        sender = threading.Thread(target=send_labels, name="labels", daemon=True)
        with load:
            sender.start()
            yield load
            stop.set()
            sender.join(timeout=30)

    def _canary(self, bundle: TrainedBundle) -> None:
        self._chapter(f"Canary: {bundle.version} under live load")
        began = time.monotonic()
        ended = self._deploy(bundle)
        self._console.print(f"  [bold]{ended.status}[/]: {ended.history[-1].reason}", highlight=False)
        self._facts.canary = {
            "version": bundle.version,
            "steps": [{"pct": pct, "why": _why(ended, pct)} for pct in ended.steps],
            "promoted": ended.status == "succeeded",
            "status": ended.status,
            "seconds": round(time.monotonic() - began, 1),
        }

    def _bad_candidate(self, bundle: TrainedBundle, load: LiveLoad) -> None:
        self._chapter(f"Canary: {bundle.version}, which is broken")
        ended = self._deploy(bundle)
        verdicts = [decision for decision in ended.decisions if decision.verdict == "ROLLBACK"]
        reason = verdicts[-1].why if verdicts else "no verdict"
        self._console.print(f"  [bold]{ended.status}[/]: {reason}")
        live = self._client.metrics_live()
        self._facts.bad_candidate = {
            "version": bundle.version,
            "rolled_back": ended.status == "rolled_back",
            "reason": reason,
            "requests_to_candidate": _requests(live, str(bundle.version)),
            "failed_requests": len(load.failures),
        }

    def _drift(self, load: LiveLoad) -> None:
        self._chapter("The callers change")
        load.shift(older_and_abroad)
        alert = _until(lambda: next(iter(self._open_drift()), None), "a drift alert")
        self._console.print(f"  [yellow]{alert.severity}[/] {alert.message}", highlight=False)
        self._facts.drift_alert = {"alert_id": alert.alert_id, "message": alert.message, "evidence": alert.evidence}
        load.shift(dict)

    def _open_drift(self) -> list[Alert]:
        return [alert for alert in self._client.alerts(status="open") if alert.kind == "drift"]

    def _back_to_the_snapshot(self, first: TrainedBundle, better: TrainedBundle) -> None:
        self._chapter("A snapshot, a change, and the way back")
        snapshot = self._client.snapshot_export("before the change")
        self._console.print(f"  {snapshot.snapshot_id} at position {snapshot.position}")
        self._deploy(first, {"strategy": "blue_green", "bake_window": 0})
        plan = self._client.rollback(snapshot_id=snapshot.snapshot_id, reason="show the impact", dry_run=True)
        self._facts.impact = [impact.sentence for impact in plan.impacts]
        for sentence in self._facts.impact:
            self._console.print(f"  would change: {sentence}", highlight=False)
        self._client.rollback(snapshot_id=snapshot.snapshot_id, reason="the change was a mistake")
        _until(lambda: self._serving() == better.version, f"{better.version} to serve again")
        self._console.print(f"  {better.version} serves again")
        self._facts.snapshot_id = snapshot.snapshot_id
        self._facts.restored = True

    def _serving(self) -> str:
        row: Json = {"inputs": [prepare_row(self._settings)]}
        return str(self._client.predict(KEY, row["inputs"])["model_version"])

    def _close(self) -> None:
        counts: Counter[str] = Counter()
        after = 0
        while page := self._client.events(after=after, limit=500):
            counts.update(event.type for event in page)
            after = page[-1].position
        self._facts.events = dict(counts)
        self._facts.journal_verified = bool(self._client.audit_verify().ok)


def prepare_row(settings: Settings) -> Json:
    """Give one live record."""
    return prepare(settings.home / "data", live_rows=1).rows[0]


def _until(ask: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.25)
    raise Unavailable(f"waited {WAIT_S:g} s for {what}")


def _trained_facts(family: str, job: Job, bundle: TrainedBundle) -> Json:
    return {
        "family": family,
        "job_id": job.job_id,
        "trials": job.progress.trials_done,
        "metrics": bundle.metrics,
        "ece": bundle.calibration.ece,
        "fairness_delta": bundle.fairness.delta,
        "cost_units": bundle.cost.cost_units,
    }


def _registered_facts(bundle: TrainedBundle) -> Json:
    form = bundle.serving_form
    return {
        "version": bundle.version,
        "validation_hash": bundle.validation_hash,
        "dataset": bundle.lineage.dataset_id,
        "parent": bundle.lineage.parent,
        "serving_form": form.kind if form else "native",
    }


def _why(deployment: Deployment, pct: float) -> str | None:
    whys = [d.why for d in deployment.decisions if d.step_pct == pct and d.verdict == "PROMOTE"]
    return whys[-1] if whys else None


def _requests(live: Json, version: str) -> int:
    versions = live.get("endpoints", {}).get(KEY, {}).get("versions", {})
    return int(versions.get(version, {}).get("requests", 0))


def _short(config: Json) -> str:
    shown = (f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in config.items())
    return " ".join(shown)
