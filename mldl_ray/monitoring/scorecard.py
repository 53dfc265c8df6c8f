"""The key figures of the whole system: quality, operation, risk. Pure over what ``facts`` gathered.

Each figure says what it means, its unit, its window, and what it was computed from. A figure without cases has no
value and says why: nothing is made up. Not here: live figures as they are counted (``live``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Any

from contracts.kpis import Kpi, KpiGroup
from contracts.specs import Json
from mldl_ray.monitoring.facts import Facts, Serving

EVALUATIONS, MONITOR = "evaluations of the versions that serve", "the monitor's live figures"
DEPLOYMENTS, JOBS, EVENTS = "deployments in the journal", "jobs in the journal", "events in the journal"
_TRIED = frozenset({"canary", "shadow", "blue_green"})


def scorecard(facts: Facts) -> list[Kpi]:
    """Compute every figure, quality first."""
    return [*_quality(facts), *_traffic(facts), *_rollouts(facts), *_spent(facts), *_risk(facts)]


def _quality(facts: Facts) -> Iterable[Kpi]:
    served = facts.serving
    yield _spread(
        "cross_validation_score",
        "quality",
        "Mean score over the folds of the configuration that won, of each version that serves; the value is the median "
        "where all have one metric.",
        "score",
        {s.model_key: s.bundle.cv_score for s in served},
        (EVALUATIONS,),
        value=median,
        comparable=len({s.metric for s in served}) <= 1,
    )
    yield _spread(
        "test_score",
        "quality",
        "First metric on the held-out rows, of each version that serves; the value is the median where all have one "
        "metric.",
        "score",
        {s.model_key: s.evaluation.metrics.get(s.metric) for s in served if s.evaluation and s.metric},
        (EVALUATIONS,),
        value=median,
        comparable=len({s.metric for s in served}) <= 1,
    )
    for name, definition, of in _WORST:
        yield _spread(name, "quality", definition, "share (0–1)", {s.model_key: of(s) for s in served}, (EVALUATIONS,))
    accuracy = {key: figures.get("accuracy") for key, figures in facts.live.items()}
    labelled = sum(figures.get("labelled") or 0 for figures in facts.live.values())
    yield _spread(
        "live_accuracy",
        "quality",
        "Share of labelled live answers that were right; the value is the worst model's.",
        "share (0–1)",
        accuracy,
        (MONITOR,),
        value=min,
        cases=labelled,
    )
    yield _spread(
        "live_calibration_error",
        "quality",
        "Expected calibration error of labelled live answers, sampling bias removed; the value is the worst model's.",
        "share (0–1)",
        {key: figures.get("ece") for key, figures in facts.live.items()},
        (MONITOR,),
        cases=labelled,
    )


def _ece(serving: Serving) -> float | None:
    if serving.evaluation is None:
        return None
    found = serving.evaluation.calibration
    return found.ece if found.ece_debiased is None else found.ece_debiased


def _unfair(serving: Serving) -> float | None:
    return None if serving.evaluation is None else serving.evaluation.fairness.delta


def _sensitive(serving: Serving) -> float | None:
    return None if serving.evaluation is None else serving.evaluation.robustness.noise_sensitivity


def _attacked(serving: Serving) -> float | None:
    """Give what the strongest attack that was tried took from the figure, where that is an accuracy."""
    attack = None if serving.evaluation is None else serving.evaluation.robustness.adversarial
    if attack is None or attack.metric != "accuracy" or not attack.robust:
        return None
    return attack.clean - min(attack.robust.values())


_WORST: tuple[tuple[str, str, Callable[[Serving], float | None]], ...] = (
    (
        "calibration_error",
        "Expected calibration error on held-out rows, sampling bias removed, of each version that serves; the value is "
        "the worst.",
        _ece,
    ),
    (
        "fairness_delta",
        "Largest difference between groups of sensitive columns, of each version that serves; the value is the worst.",
        _unfair,
    ),
    (
        "noise_sensitivity",
        "Score lost under noise of a quarter of a training deviation, of each version that serves; the value is the "
        "worst.",
        _sensitive,
    ),
    (
        "adversarial_loss",
        "Accuracy lost to the strongest attack that was tried, of each version that serves; the value is the worst.",
        _attacked,
    ),
)


def _traffic(facts: Facts) -> Iterable[Kpi]:
    yield _spread(
        "latency_p95_ms",
        "operational",
        "95th percentile of a request's time inside the replica, last minute, by model; the value is the slowest.",
        "ms",
        {key: figures.get("p95_ms") for key, figures in facts.live.items()},
        (MONITOR,),
        window_s=60.0,
    )
    yield _spread(
        "throughput_qps",
        "operational",
        "Rows answered per second, last minute, by model; the value is the sum.",
        "rows/s",
        {key: figures.get("qps") for key, figures in facts.live.items()},
        (MONITOR,),
        value=sum,
        window_s=60.0,
    )
    yield _spread(
        "utilization",
        "operational",
        "Rows in progress on average (rate × mean time, Little's law) per replica, last minute, by model; the value is "
        "the highest. Batches count each row.",
        "rows/replica",
        facts.busy,
        (MONITOR, "endpoints in the journal"),
        window_s=60.0,
    )
    yield _spread(
        "cost_per_prediction",
        "operational",
        "Time per answered row at the price of a CPU second, since the monitor began; the value is the dearest.",
        "cost units",
        {key: figures.get("cost_per_prediction") for key, figures in facts.live.items()},
        (MONITOR,),
    )


def _rollouts(facts: Facts) -> Iterable[Kpi]:
    tried = [one for one in facts.deployments if one.strategy in _TRIED]
    states = Counter(one.status for one in tried)
    by = {str(state): float(count) for state, count in states.items()}
    words = "canary, shadow and blue/green rollouts that ended in the window"
    share = states["succeeded"] / len(tried) if tried else None
    yield _windowed(
        facts, "canary_pass_rate", f"Share of {words} that succeeded.", "share (0–1)", share, by, len(tried)
    )
    moved = [one for one in tried if any(change.status in {"promoting", "baking"} for change in one.history)]
    passed = sum(one.status == "succeeded" for one in moved)
    share = passed / len(moved) if moved else None
    definition = f"Of {words} and were promoted to all traffic, the share that stayed."
    yield _windowed(facts, "promotion_success", definition, "share (0–1)", share, {}, len(moved))
    took = [one.history[-1].at_s - one.created_at_s for one in facts.deployments if one.status == "succeeded"]
    definition = "Median time from the request to the end, of deployments that succeeded in the window."
    yield _windowed(facts, "deployment_time_s", definition, "s", median(took) if took else None, {}, len(took))
    back = [one for one in facts.events if one.type in {"MLDL_DEPLOYMENT_ROLLED_BACK", "MLDL_SNAPSHOT_RESTORED"}]
    counts = {name: float(count) for name, count in Counter(event.subject for event in back).items()}
    definition = "Deployments and system states taken back, per week."
    yield _windowed(
        facts, "rollbacks_per_week", definition, "1/week", _weekly(facts, len(back)), counts, len(back), EVENTS
    )


def _spent(facts: Facts) -> Iterable[Kpi]:
    by: dict[str, float] = {}
    for job in facts.jobs:
        by[job.job.spec.model_key] = by.get(job.job.spec.model_key, 0.0) + job.cost_units
    total = sum(by.values())
    definition = "What jobs that ended in the window held, at the configured prices, by model; the value is the sum."
    yield _windowed(facts, "training_cost", definition, "cost units", total, by, len(facts.jobs), JOBS)


def _risk(facts: Facts) -> Iterable[Kpi]:
    drifts = [event for event in facts.events if event.type == "MLDL_DRIFT_ALERT"]
    by = _counted(str(event.data.get("severity", "unknown")) for event in drifts)
    definition = "Drift alerts opened per week; by severity, those of the window."
    yield _risky(facts, "drift_alerts_per_week", definition, "1/week", _weekly(facts, len(drifts)), by, len(drifts))
    policy = [e for e in facts.events if e.type == "MLDL_VIOLATION" and e.data.get("rule") == "policy"]
    by = _counted(str(event.data.get("act", "unknown")) for event in policy)
    definition = (
        "Acts that the policy refused, or found against a rollback that was let through, in the window; by act."
    )
    yield _risky(facts, "policy_violations", definition, "acts", float(len(policy)), by, len(policy))
    levels = [e for e in facts.events if e.type == "MLDL_VIOLATION" and e.data.get("rule") != "policy"]
    by = _counted(str(event.data.get("kind") or event.data.get("rule") or "unknown") for event in levels)
    definition = "Service levels missed, guardrails broken, traffic and data found wrong, in the window; by kind."
    yield _risky(facts, "violations", definition, "events", float(len(levels)), by, len(levels))
    active = facts.exceptions
    by = _counted(one.rule for one in active)
    definition = "Exceptions from the policy that count now; by rule."
    yield Kpi(
        name="governance_exceptions",
        group="risk",
        definition=definition,
        unit="exceptions",
        value=float(len(active)),
        by=by,
        cases=len(active),
        sources=("exceptions in the journal",),
    )
    unexplained = {s.model_key: _unexplained(s) for s in facts.serving}
    definition = "1 − R² on held-out rows, of each regression version that serves; the value is the worst."
    yield _spread("unexplained_variance", "risk", definition, "share (0–1)", unexplained, (EVALUATIONS,))
    lost = {s.model_key: _degraded(s, facts.live.get(s.model_key, {})) for s in facts.serving}
    definition = "Accuracy on held-out rows less that of labelled live answers, by model; the value is the worst."
    yield _spread("model_degradation", "risk", definition, "share (0–1)", lost, (EVALUATIONS, MONITOR))
    revoked = [e for e in facts.events if e.type == "MLDL_KEY_CHANGED" and e.data.get("change") == "revoked"]
    definition = "API keys revoked in the window."
    yield _risky(facts, "keys_revoked", definition, "keys", float(len(revoked)), {}, len(revoked))
    yield Kpi(
        name="security_incidents",
        group="risk",
        definition="Security incidents and data breaches.",
        unit="incidents",
        value=None,
        sources=(),
        why="a breach is not seen from inside; `mldl audit verify` finds a changed journal",
    )


def _unexplained(serving: Serving) -> float | None:
    r2 = None if serving.evaluation is None else serving.evaluation.metrics.get("r2")
    return None if r2 is None else 1 - r2


def _degraded(serving: Serving, live: Json) -> float | None:
    held_out = None if serving.evaluation is None else serving.evaluation.robustness.accuracy.get("0")
    now = live.get("accuracy")
    return None if held_out is None or now is None else held_out - now


def _spread(
    name: str,
    group: KpiGroup,
    definition: str,
    unit: str,
    found: Mapping[str, float | None],
    sources: tuple[str, ...],
    *,
    value: Callable[[Iterable[Any]], float] = max,
    window_s: float | None = None,
    cases: int | None = None,
    comparable: bool = True,
) -> Kpi:
    """Make a figure that there is one of for each model."""
    by = {key: float(figure) for key, figure in found.items() if figure is not None}
    why = None if by else f"none of {len(found)} models has it" if found else "nothing serves"
    return Kpi(
        name=name,
        group=group,
        definition=definition,
        unit=unit,
        value=float(value(by.values())) if by and comparable else None,
        by=by,
        window_s=window_s,
        cases=len(by) if cases is None else cases,
        sources=sources,
        why=why or (None if comparable else "the models have different metrics; see each"),
    )


def _windowed(
    facts: Facts,
    name: str,
    definition: str,
    unit: str,
    value: float | None,
    by: Mapping[str, float],
    cases: int,
    source: str = DEPLOYMENTS,
    group: KpiGroup = "operational",
) -> Kpi:
    why = "there was none in the window" if value is None else None
    return Kpi(
        name=name,
        group=group,
        definition=definition,
        unit=unit,
        value=value,
        by=dict(by),
        window_s=facts.window_s,
        cases=cases,
        sources=(source,),
        why=why,
    )


def _risky(
    facts: Facts, name: str, definition: str, unit: str, value: float, by: Mapping[str, float], cases: int
) -> Kpi:
    return _windowed(facts, name, definition, unit, value, by, cases, EVENTS, "risk")


def _weekly(facts: Facts, count: int) -> float:
    return count * 7 * 86400 / facts.window_s


def _counted(names: Iterable[str]) -> dict[str, float]:
    return {name: float(count) for name, count in sorted(Counter(names).items())}
