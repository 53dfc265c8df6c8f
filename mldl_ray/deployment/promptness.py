"""What stands against promoting a candidate's step besides harm and exposure: latency, and labels that are to come.

A step that lasts its window has had its chance to show harm. One that ends early has not, so there non-inferiority
must be shown of all that users notice: errors (in ``exposure``), latency (here) and answers (in ``quality``).
"""

from __future__ import annotations

from typing import NamedTuple

from contracts.rollouts import ArmTelemetry
from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.evidence import quantile_bounds, quantile_estimate
from mldl_ray.deployment.findings import Case, finding
from mldl_ray.deployment.grounds import LATENCY_FLOOR_MS, LATENCY_LEAST_REQUESTS, LATENCY_RATIO

Obstacle = tuple[str, str]
"""Rule and one sentence."""


class LatencyProof(NamedTuple):
    """How slow the candidate may still be in this epoch, and what is tolerated (milliseconds)."""

    worst_ms: float
    tolerated_ms: float
    seen_ms: float
    seen_tolerated_ms: float
    n: int
    n_stable: int

    @property
    def shown(self) -> bool:
        """Say whether the candidate is surely not too slow."""
        return self.worst_ms <= self.tolerated_ms

    @property
    def looks_slow(self) -> bool:
        """Say whether the candidate looks too slow, surely or not, from the fewest requests on that are judged."""
        return min(self.n, self.n_stable) >= LATENCY_LEAST_REQUESTS and self.seen_ms > self.seen_tolerated_ms


def latency_proof(case: Case, evidence: Json) -> LatencyProof | None:
    """Bound the candidate's p95 from above in the present epoch; None when there is nothing to compare it with.

    The k-th epoch may spend alpha / k(k + 1), half of it for each arm, so the proof stays valid over all steps.
    """
    arms = case.telemetry.candidate
    stable = next((arm for arm in case.telemetry.stable if arms and arm.epoch == arms[-1].epoch), None)
    if not arms or stable is None:
        words = "the candidate's latency cannot be compared: not both arms have answered in this step"
        evidence["latency_proof"] = finding("not_observed", words)
        return None
    proof = _proof(arms[-1], stable, case.deployment.spec.alpha / 2 / (len(arms) * (len(arms) + 1)))
    evidence["latency_proof"] = finding(
        "shown" if proof.shown else "too_little",
        f"in this step the candidate's p95 is surely below {proof.worst_ms:.1f} ms; {proof.tolerated_ms:.1f} ms is "
        "surely tolerated",
        statistic=proof.worst_ms,
        bound=proof.tolerated_ms,
        n=proof.n,
        n_stable=proof.n_stable,
    )
    return proof


def against_window(proof: LatencyProof | None) -> Obstacle | None:
    """Say what stands against ending a step at its window's end."""
    if proof is None or proof.shown or not proof.looks_slow:
        return None
    return "latency_undecided", (
        f"the candidate's p95 of about {proof.seen_ms:.1f} ms in this step is above the tolerated "
        f"{proof.seen_tolerated_ms:.1f} ms, but not surely so after {proof.n} requests; more requests decide"
    )


def against_early(proof: LatencyProof | None, *, labels_shown: bool) -> Obstacle | None:
    """Say what stands against ending a step before its window."""
    if proof is None or not proof.shown:
        return "window", (
            "too early: that the candidate is not slower than tolerated is not shown in this step"
            + (f" after {proof.n} requests" if proof else "")
        )
    if not labels_shown:
        return "window", "too early: quality was not observed; without labels of both arms a step lasts its window"
    return None


def _proof(candidate: ArmTelemetry, stable: ArmTelemetry, alpha: float) -> LatencyProof:
    mine, theirs = candidate.latency_counts, stable.latency_counts
    seen, seen_stable = (quantile_estimate(counts, LATENCY_EDGES_MS, 0.95) for counts in (mine, theirs))
    return LatencyProof(
        quantile_bounds(mine, LATENCY_EDGES_MS, 0.95, alpha).high,
        LATENCY_RATIO * quantile_bounds(theirs, LATENCY_EDGES_MS, 0.95, alpha).low + LATENCY_FLOOR_MS,
        seen,
        LATENCY_RATIO * seen_stable + LATENCY_FLOOR_MS,
        sum(mine),
        sum(theirs),
    )
