"""What the scorecard is computed from, gathered from the journal and the monitor's live figures.

Of rollouts, jobs and events only those of the window are read, however long the journal is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from contracts.evaluations import Evaluation
from contracts.events import Event, EventType
from contracts.policies import PolicyException
from contracts.ports import Journal
from contracts.records import Job, TrainedBundle
from contracts.rollouts import Deployment, Endpoint
from contracts.specs import Json
from mldl_ray.journal.documents import scan_all

WEEK_S = 7 * 86_400.0
ENDED = frozenset({"succeeded", "rolled_back", "failed"})
_PAGE = 500
_TYPES: tuple[EventType, ...] = (
    "MLDL_DRIFT_ALERT",
    "MLDL_VIOLATION",
    "MLDL_SNAPSHOT_RESTORED",
    "MLDL_DEPLOYMENT_ROLLED_BACK",
    "MLDL_KEY_CHANGED",
)


class Serving(NamedTuple):
    """A version that serves, and its evaluation."""

    model_key: str
    bundle: TrainedBundle
    evaluation: Evaluation | None
    replicas: int

    @property
    def metric(self) -> str | None:
        """The first metric of its evaluation."""
        return next(iter(self.evaluation.metrics), None) if self.evaluation else None


class Facts(NamedTuple):
    """Everything that the scorecard looks at.

    ``live`` and ``busy`` are of the version that serves, by model_key; deployments and jobs are those that ended in the
    window, events those of the window, exceptions those that count now.
    """

    now_s: float
    window_s: float
    serving: tuple[Serving, ...] = ()
    live: dict[str, Json] = {}  # noqa: RUF012  # a default that is never written to
    busy: dict[str, float | None] = {}  # noqa: RUF012  # the same
    deployments: tuple[Deployment, ...] = ()
    jobs: tuple[Job, ...] = ()
    events: tuple[Event, ...] = ()
    exceptions: tuple[PolicyException, ...] = ()


def gather(journal: Journal, live: Json, *, now_s: float, window_s: float, cost_per_second: float) -> Facts:
    """Read what the scorecard needs.

    Args:
        journal: Versions, rollouts, jobs, events.
        live: As the monitor's ``live`` gives it.
        now_s: Unix seconds.
        window_s: How far back rollouts, jobs and events count.
        cost_per_second: Price of a CPU second, which live costs were computed with.
    """
    since_s = now_s - window_s
    since = journal.position(at_s=since_s)
    serving = tuple(_serving(journal))
    figures = {s.model_key: _figures(live, s) for s in serving}
    exceptions = (PolicyException.model_validate(d.body) for d in scan_all(journal, "policy_exception"))
    return Facts(
        now_s=now_s,
        window_s=window_s,
        serving=serving,
        live=figures,
        busy={s.model_key: _busy(figures[s.model_key], s.replicas, cost_per_second) for s in serving},
        deployments=tuple(_rollouts(journal, since, since_s)),
        jobs=tuple(_jobs(journal, since, since_s)),
        events=tuple(_events(journal, since)),
        exceptions=tuple(e for e in exceptions if e.ended_by is None and e.expires_at_s > now_s),
    )


def _serving(journal: Journal) -> list[Serving]:
    found = []
    for document in scan_all(journal, "endpoint"):
        endpoint = Endpoint.model_validate(document.body)
        version = endpoint.stable and journal.read("model_version", f"{endpoint.model_key}@{endpoint.stable}")
        if not version:
            continue
        bundle = TrainedBundle.model_validate(version.body)
        judged = journal.read("evaluation", bundle.evaluation_id) if bundle.evaluation_id else None
        evaluation = Evaluation.model_validate(judged.body) if judged is not None else None
        found.append(Serving(endpoint.model_key, bundle, evaluation, endpoint.replicas))
    return found


def _figures(live: Json, serving: Serving) -> Json:
    versions = live.get("endpoints", {}).get(serving.model_key, {}).get("versions", {})
    found: Json = versions.get(serving.bundle.version, {})
    return found


def _busy(figures: Json, replicas: int, cost_per_second: float) -> float | None:
    """Give the rows in progress on average per replica; mean seconds are what a row costs over the price.

    >>> _busy({"qps": 100.0, "cost_per_prediction": 0.5}, 2, 100.0)
    0.25
    """
    cost, qps = figures.get("cost_per_prediction"), figures.get("qps")
    return None if cost is None or qps is None or not cost_per_second else qps * cost / cost_per_second / replicas


def _rollouts(journal: Journal, since: int, since_s: float) -> Iterator[Deployment]:
    for body in _changed(journal, "deployment", since):
        found = Deployment.model_validate(body)
        if found.status in ENDED and found.history and found.history[-1].at_s >= since_s:
            yield found


def _jobs(journal: Journal, since: int, since_s: float) -> Iterator[Job]:
    for body in _changed(journal, "job", since):
        found = Job.model_validate(body)
        if found.ended_at_s is not None and found.ended_at_s >= since_s:
            yield found


def _changed(journal: Journal, kind: str, since: int) -> list[Json]:
    """Give documents that were written since a position, as they are now."""
    latest: dict[str, Json | None] = {}
    while page := journal.changes([kind], after=since, limit=_PAGE):
        latest |= {document.key: document.body for document in page}
        since = page[-1].position
    return [body for body in latest.values() if body is not None]


def _events(journal: Journal, since: int) -> list[Event]:
    found: list[Event] = []
    while page := journal.events(after=since, limit=_PAGE, types=_TYPES):
        found += page
        since = page[-1].position
    return found
