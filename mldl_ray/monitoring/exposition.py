"""The same figures in Prometheus' text exposition format 0.0.4. Counters never fall while the monitor lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from contracts.records import Alert
from contracts.slos import SloView
from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.monitoring.counts import Place
from mldl_ray.monitoring.window import Window

BUCKETS = tuple(range(13, len(LATENCY_EDGES_MS), 14))
"""Every 14th edge of the telemetry histogram: about twice the one before, and exact."""
Labels = Mapping[str, str]


def text(
    windows: Mapping[Place, Window],
    endpoints: Json,
    kpis: Json,
    alerts: Iterable[Alert],
    slos: Iterable[SloView] = (),
) -> str:
    """Write everything; each line ends with a line feed."""
    lines: list[str] = []
    parts = (_traffic(windows), _latency(windows), _quality(endpoints), _system(kpis), _alerts(alerts), _slos(slos))
    for part in parts:
        lines += part
    return "\n".join(lines) + "\n"


def sample(name: str, labels: Labels, value: float) -> str:
    r"""Write one sample, its labels escaped.

    >>> sample("mldl_x_total", {"model_key": 'a"b\\c'}, 3)
    'mldl_x_total{model_key="a\\"b\\\\c"} 3'
    """
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _traffic(windows: Mapping[Place, Window]) -> Iterator[str]:
    figures = (
        ("mldl_requests_total", "requests", "Rows answered, failed ones included."),
        ("mldl_request_errors_total", "errors", "Rows that the version failed."),
        ("mldl_telemetry_lost_total", "lost", "Telemetry rows that replicas dropped."),
    )
    for name, attribute, what in figures:
        yield from _head(name, "counter", what)
        yield from (sample(name, place._asdict(), getattr(window, attribute)) for place, window in windows.items())
    for name, attribute, what in (
        ("mldl_labelled_total", "labelled", "Answers whose label became known."),
        ("mldl_correct_total", "correct", "Answers that equalled their label."),
    ):
        yield from _head(name, "counter", what)
        for place, window in windows.items():
            yield sample(name, place._asdict(), getattr(window.outcomes, attribute))


def _latency(windows: Mapping[Place, Window]) -> Iterator[str]:
    name = "mldl_request_latency_seconds"
    yield from _head(name, "histogram", "Time of a request inside the replica.")
    for place, window in windows.items():
        labels, below = place._asdict(), np.cumsum(window.latency)
        for bucket in BUCKETS:
            edge_s = f"{LATENCY_EDGES_MS[bucket] / 1000:.4g}"
            yield sample(f"{name}_bucket", labels | {"le": edge_s}, int(below[bucket]))
        yield sample(f"{name}_bucket", labels | {"le": "+Inf"}, window.requests)
        yield sample(f"{name}_sum", labels, window.latency_ms_sum / 1000)
        yield sample(f"{name}_count", labels, window.requests)


def _quality(endpoints: Json) -> Iterator[str]:
    for name, key, what in (
        ("mldl_accuracy_ratio", "accuracy", "Share of labelled answers that equalled their label."),
        ("mldl_calibration_error", "ece", "Expected calibration error of labelled answers, sampling bias removed."),
        ("mldl_f1_ratio", "f1", "F1 of the last of two classes, of labelled answers."),
        ("mldl_f1_macro_ratio", "f1_macro", "Mean of the classes' F1, of labelled answers."),
        ("mldl_auroc_ratio", "auroc", "Area under the ROC curve of labelled answers, two classes."),
        ("mldl_rmse", "rmse", "Root mean squared error of labelled answers, regression."),
        ("mldl_cost_per_prediction", "cost_per_prediction", "Cost units per answered row."),
    ):
        yield from _head(name, "gauge", what)
        for model_key, endpoint in endpoints.items():
            for version, figures in endpoint["versions"].items():
                if figures[key] is not None:
                    yield sample(name, {"model_key": model_key, "version": version}, figures[key])
    name = "mldl_quality_bound"
    yield from _head(name, "gauge", "Bounds of the 95% interval of a figure of labelled answers.")
    for model_key, endpoint in endpoints.items():
        for version, figures in endpoint["versions"].items():
            for metric, figure in figures["intervals"].items():
                for bound in ("low", "high"):
                    of = {"model_key": model_key, "version": version, "metric": metric, "bound": bound}
                    yield sample(name, of, figure[bound])


def _system(kpis: Json) -> Iterator[str]:
    for name, kind, key, what in (
        ("mldl_canary_pass_ratio", "gauge", "canary_pass_rate", "Rollouts that succeeded, of those that ended."),
        ("mldl_rollbacks_total", "counter", "rollbacks", "Deployments and system states taken back."),
        ("mldl_drift_alerts_total", "counter", "drift_alerts", "Drift alerts opened."),
        ("mldl_violations_total", "counter", "violations", "Other alerts opened, and policy violations."),
    ):
        if kpis[key] is not None:
            yield from _head(name, kind, what)
            yield sample(name, {}, kpis[key])


def _alerts(alerts: Iterable[Alert]) -> Iterator[str]:
    counts = Counter((alert.kind, alert.severity, alert.status) for alert in alerts)
    yield from _head("mldl_alerts", "gauge", "Alerts that are not resolved.")
    for (kind, severity, status), count in sorted(counts.items()):
        yield sample("mldl_alerts", {"kind": kind, "severity": severity, "status": status}, count)


def _slos(slos: Iterable[SloView]) -> Iterator[str]:
    views = list(slos)
    labels = [{"slo": view.slo.name, "model_key": view.slo.model_key, "kind": view.slo.kind} for view in views]
    yield from _head("mldl_slo_objective_ratio", "gauge", "Share of good events that is wanted.")
    yield from (
        sample("mldl_slo_objective_ratio", of, view.slo.objective) for of, view in zip(labels, views, strict=True)
    )
    yield from _head(
        "mldl_slo_budget_left_ratio", "gauge", "Share of the error budget that is left; negative: overspent."
    )
    yield from (
        sample("mldl_slo_budget_left_ratio", of, view.budget_left) for of, view in zip(labels, views, strict=True)
    )
    yield from _head("mldl_slo_burn_rate", "gauge", "How many times as fast as it lasts the budget goes.")
    for of, view in zip(labels, views, strict=True):
        for burn in view.burns:
            for span_s, rate in ((burn.long_s, burn.long), (burn.short_s, burn.short)):
                if rate is not None:
                    yield sample("mldl_slo_burn_rate", of | {"window_s": f"{span_s:g}"}, rate)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))
