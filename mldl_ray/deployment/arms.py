"""Sums over the epochs of a rollout's arms, in the form that the tests take them. What they mean is said elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable

from contracts.rollouts import ArmTelemetry, RolloutTelemetry
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.evidence import Split, harm_e_value

Arms = tuple[ArmTelemetry, ...]


def requests_and_errors(arms: Arms) -> tuple[int, int]:
    """Add up requests and errors."""
    return sum(arm.requests for arm in arms), sum(arm.errors for arm in arms)


def latency_counts(arms: Arms) -> list[int]:
    """Add up latency histograms."""
    if len(arms) == 1:
        return list(arms[0].latency_counts)
    if not arms:
        return [0] * (len(LATENCY_EDGES_MS) + 1)
    return [sum(counts) for counts in zip(*(arm.latency_counts for arm in arms), strict=True)]


def judged_and_wrong(arms: Arms) -> tuple[int, int]:
    """Count whom an arm answered with a label known, each sticky key once, and the wrong answers among the first ones.

    Where keys are not counted the labels are, divided by how often a key came: repeated labels are one person's.
    """
    by_key = [(arm.judged_keys, arm.misjudged_keys) for arm in arms]
    if all(judged is not None and wrong is not None for judged, wrong in by_key):
        return sum(judged or 0 for judged, _ in by_key), sum(wrong or 0 for _, wrong in by_key)
    repeats = _repeats(arms)
    labelled, right = sum(arm.labelled for arm in arms), sum(arm.correct for arm in arms)
    judged = math.floor(labelled / repeats)
    return judged, min(judged, math.ceil((labelled - right) / repeats))


def harm(telemetry: RolloutTelemetry, bad: str, chances: str, by_key: tuple[str, str]) -> float:
    """Measure the evidence that what is bad is the candidate's more often than its share, key by key where counted."""
    arms = (*telemetry.candidate, *telemetry.stable)
    if all(getattr(arm, name) is not None for arm in arms for name in by_key):
        return harm_e_value(_splits(telemetry, *by_key))
    return math.pow(harm_e_value(_splits(telemetry, bad, chances)), 1 / _repeats(arms))


def _repeats(arms: Iterable[ArmTelemetry]) -> float:
    """Estimate how often a key came, at least 1; the root of an e-value by it allows for errors that come in groups."""
    keys: dict[int, int] = {}
    requests = 0
    for arm in arms:
        keys[arm.epoch] = keys.get(arm.epoch, 0) + arm.keys
        requests += arm.requests
    most = max(keys.values(), default=0)
    return max(1.0, requests / most) if most else 1.0


def _splits(telemetry: RolloutTelemetry, bad: str, chances: str) -> list[Split]:
    stable = {arm.epoch: arm for arm in telemetry.stable}
    found = []
    for arm in telemetry.candidate:
        other = stable.get(arm.epoch)
        if other is None or not 0 < arm.share < 1:
            continue
        mine, theirs = _count(arm, chances), _count(other, chances)
        observed = mine / (mine + theirs) if mine + theirs else 0.0
        found.append(Split(max(arm.share, observed), _count(arm, bad), _count(other, bad)))
    return found


def _count(arm: ArmTelemetry, name: str) -> int:
    return arm.labelled - arm.correct if name == "wrong" else int(getattr(arm, name))
