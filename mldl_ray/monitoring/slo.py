"""Service levels of what serves: alert when they are surely missed, not when a small sample looks bad. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from scipy.special import bdtrc

from contracts.specs import Json
from mldl_ray.monitoring.window import Recent

MOST_ERRORS = 0.01
"""Server errors of the served version, as a share of its requests in the last minute."""
MOST_LOST = 0.01
"""Telemetry rows that replicas had to drop, as a share of all in the last minute."""
SURE = 1e-6
"""Chance of as many errors at the tolerated rate, below which the level is surely missed; small, as one looks often."""
LEAST_LOST = 100


class Want(NamedTuple):
    """An alert that should be open."""

    cause: str
    kind: Literal["drift", "slo", "data_quality"]
    severity: Literal["info", "warning", "critical"]
    model_key: str
    version: str | None
    message: str
    evidence: Json


def missed_errors(model_key: str, version: str, recent: Recent) -> Want | None:
    """Say whether the served version surely fails more often than ``MOST_ERRORS``."""
    n, errors = recent.requests, recent.errors
    if not errors or errors <= MOST_ERRORS * n or bdtrc(errors - 1, n, MOST_ERRORS) > SURE:
        return None
    return Want(
        f"slo:errors:{model_key}:{version}",
        "slo",
        "critical",
        model_key,
        version,
        f"{errors} of {n} requests to {model_key} {version} failed in the last minute; {MOST_ERRORS:.0%} is tolerated",
        {"errors": errors, "requests": n, "tolerated": MOST_ERRORS, "p": float(bdtrc(errors - 1, n, MOST_ERRORS))},
    )


def missed_telemetry(model_key: str, recents: list[Recent]) -> Want | None:
    """Say whether more of a model's telemetry is lost than ``MOST_LOST``; no version's fault, so none is named."""
    lost, came = sum(recent.lost for recent in recents), sum(recent.requests for recent in recents)
    if lost < LEAST_LOST or lost <= MOST_LOST * (lost + came):
        return None
    return Want(
        f"slo:telemetry:{model_key}",
        "slo",
        "info",
        model_key,
        None,
        f"{lost} of {lost + came} telemetry rows of {model_key} were dropped by its replicas in the last minute, so "
        "live figures are of a sample; raise monitoring.buffer_rows or lower the load",
        {"lost": lost, "received": came, "tolerated": MOST_LOST},
    )
