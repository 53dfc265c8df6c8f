"""The live figures as JSON: per endpoint and version. Pure; how they are counted is in ``window``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from contracts.specs import Json
from mldl_ray.monitoring.counts import Place
from mldl_ray.monitoring.estimate import Confidences, Z
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.quality import Quality, wilson
from mldl_ray.monitoring.versions import Profile, Stream
from mldl_ray.monitoring.window import BINS, RECENT_S, Counts, Window, quantile_ms

ROLES = ("stable", "candidate", "shadow")


def by_endpoint(
    windows: Mapping[Place, Window],
    profiles: Mapping[Stream, Profile],
    drift: Callable[[Stream], Json],
    *,
    now_s: float,
    cost_per_second: float,
) -> Json:
    """Arrange all streams by model_key and version."""
    endpoints: Json = {}
    for stream in streams_of(windows):
        model_key, version = stream
        roles = {place.role: window for place, window in windows.items() if place[:2] == stream}
        endpoint = endpoints.setdefault(model_key, {"versions": {}, "lost": 0})
        profile = profiles.get(stream, Profile())
        found = figures(roles, profile, now_s=now_s, cost_per_second=cost_per_second)
        endpoint["versions"][version] = found | {"drift": drift(stream)}
        endpoint["lost"] += sum(window.lost for window in roles.values())
    return endpoints


def figures(roles: Mapping[str, Window], profile: Profile, *, now_s: float, cost_per_second: float) -> Json:
    """Give one version's figures, all its roles together.

    ``requests``, ``errors``, ``error_rate``, labels and cost are since the monitor began; ``qps`` and the latency
    quantiles (bin edges 5% apart) are of the last minute, None when it had no request. Cost is latency at the price of
    one CPU: what holding it took.
    """
    windows = list(roles.values())
    recents = [window.recent(now_s) for window in windows]
    requests, errors = sum(window.requests for window in windows), sum(window.errors for window in windows)
    latency = _sum(recent.latency for recent in recents)
    spent_ms = sum(window.latency_ms_sum for window in windows)
    recent_requests = sum(recent.requests for recent in recents)
    recent_errors = sum(recent.errors for recent in recents)
    return {
        "requests": requests,
        "qps": round(sum(recent.qps for recent in recents), 3),
        "p50_ms": quantile_ms(latency, 0.50),
        "p95_ms": quantile_ms(latency, 0.95),
        "p99_ms": quantile_ms(latency, 0.99),
        "errors": errors,
        "error_rate": errors / requests if requests else None,
        "recent": {"window_s": RECENT_S, "requests": recent_requests, "errors": recent_errors},
        **_quality(windows, profile),
        "cost_per_prediction": spent_ms / 1000 / requests * cost_per_second if requests else None,
        "roles": {role: window.requests for role, window in roles.items()},
        "lost": sum(window.lost for window in windows),
        "last_at_s": max(window.last_s for window in windows),
    }


def streams_of(windows: Iterable[Place]) -> list[Stream]:
    """List the versions that were heard of, in order, each once."""
    return sorted({(place.model_key, place.version) for place in windows})


LABELLED = ("accuracy", "f1", "f1_macro", "auroc", "rmse", "ece")
"""Figures that labels allow, each beside its interval."""


def _quality(windows: list[Window], profile: Profile) -> Json:
    total, confidences, quality = Outcomes(), Confidences(), Quality()
    for window in windows:
        total, confidences = total.plus(window.outcomes), confidences.plus(window.confidences)
        quality = quality.plus(window.outcomes.quality)
    values = profile.task == "regression"
    found = _intervals(total, quality, profile)
    return {
        "labelled": total.labelled,
        "accuracy_estimated": _beside(confidences.accuracy(profile.classes), found.get("accuracy")),
        "mean_absolute_error": total.mean_absolute_error if values else None,
        **{name: found[name]["estimate"] if name in found else None for name in LABELLED},
        "intervals": found,
    }


def _intervals(total: Outcomes, quality: Quality, profile: Profile) -> Json:
    """Give the figures that labels allow, each with its 95% interval and the name of the method."""
    found: dict[str, Json | None] = {}
    if profile.task == "regression":
        found["rmse"] = quality.rmse()
    else:
        found["accuracy"] = wilson(total.correct, total.labelled)
    if profile.classes:
        found["f1_macro"] = quality.f1_macro()
        found["ece"] = _calibration(total, profile.classes)
    if profile.classes == 2:
        found["f1"], found["auroc"] = quality.f1(profile.last_class), quality.auroc(profile.last_class)
    return {name: figure for name, figure in found.items() if figure is not None}


def _calibration(total: Outcomes, classes: int) -> Json | None:
    ece = total.ece(classes)
    if ece is None:
        return None
    half = Z * total.ece_error(classes)
    bounds = {"low": max(0.0, ece - half), "high": min(1.0, ece + half)}
    return {"estimate": ece, **bounds, "rows": total.scored, "interval": "parametric bootstrap's standard error"}


def _beside(estimated: Json | None, realised: Json | None) -> Json | None:
    """Put the accuracy that labels showed beside the estimated one; they agree where their intervals meet."""
    if estimated is None or realised is None:
        return estimated
    agrees = estimated["low"] <= realised["high"] and realised["low"] <= estimated["high"]
    return estimated | {"realised": realised, "agrees": agrees}


def _sum(histograms: Iterable[Counts]) -> Counts:
    total: Counts = Window(0.0).latency[:BINS]
    for one in histograms:
        total = total + one
    return total
