"""Slow answers: a candidate that is only somewhat slower is found, equal ones are left alone whatever the load does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contracts.rollouts import ArmTelemetry, Deployment, RolloutTelemetry
from contracts.specs import DeploymentSpec
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.decide import TESTS, decide
from mldl_ray.deployment.slowness import FORGIVEN

BINS = len(LATENCY_EDGES_MS) + 1
SHARE, ALPHA = 0.05, 0.05
STABLE_P95_MS = 45.0


def latencies(rng: np.random.Generator, n: int, *, times: float = 1.0) -> Any:
    """Draw answers whose p95 is ``times`` 45 ms."""
    sigma = 0.67
    return times * STABLE_P95_MS * np.exp(sigma * (rng.standard_normal(n) - 1.645))


def arm(version: str, took_ms: Any, *, epoch: int = 1, share: float = SHARE, first: bool = True) -> ArmTelemetry:
    counts = np.bincount(np.searchsorted(LATENCY_EDGES_MS, took_ms), minlength=BINS)
    every = tuple(counts.tolist())
    return ArmTelemetry(
        version=version,
        epoch=epoch,
        share=share,
        requests=len(took_ms),
        errors=0,
        keys=len(took_ms),
        latency_counts=every,
        first_latency_counts=every if first else None,
    )


def deployment(**spec: Any) -> Deployment:
    return Deployment(
        deployment_id="dep-1",
        model_key="m",
        version="2",
        spec=DeploymentSpec.model_validate(spec),
        strategy="canary",
        status="canary",
        stable="1",
        steps=(5.0, 100.0),
        step_started_s=0.0,
        promotion_window_s=1e9,
        bake_window_s=0,
    )


def judged(stable: Any, candidate: Any, spec: dict[str, Any] | None = None, **more: Any) -> Any:
    telemetry = RolloutTelemetry(
        deployment_id="dep-1", stable=(arm("1", stable, **more),), candidate=(arm("2", candidate, **more),)
    )
    return decide(telemetry, deployment(**(spec or {})), 10.0)


def looks(rng: np.random.Generator, total: int, times: float, *, burst: bool = False) -> Iterator[tuple[Any, Any]]:
    """Give both arms' answers so far, after every hundred requests; in a burst all are four times as slow."""
    mine = rng.random(total) < SHARE
    took = np.where(mine, latencies(rng, total, times=times), latencies(rng, total))
    if burst:
        took *= np.where((np.arange(total) // 500) % 4 == 3, 4.0, 1.0)
    for end in range(100, total + 1, 100):
        yield took[:end][~mine[:end]], took[:end][mine[:end]]


def found_after(rng: np.random.Generator, total: int, times: float, *, burst: bool = False) -> int | None:
    """Say after how many requests the evidence is there."""
    for stable, candidate in looks(rng, total, times, burst=burst):
        if judged(stable, candidate).rule == "slow_answers":
            return len(stable) + len(candidate)
    return None


@pytest.mark.parametrize("burst", [False, True], ids=["even", "bursts"])
def test_equal_arms_are_left_alone_at_every_look(burst: bool) -> None:
    rng = np.random.default_rng(0)
    assert sum(found_after(rng, 4000, 1.0, burst=burst) is not None for _ in range(30)) <= 1


def test_a_candidate_twice_as_slow_is_found_within_two_hundred_of_its_requests() -> None:
    rng = np.random.default_rng(1)
    after = [found_after(rng, 6000, 2.0) for _ in range(10)]
    assert None not in after
    assert np.median([found or 0 for found in after]) <= 4000


def test_a_candidate_a_third_slower_is_found_though_its_p95_is_tolerated() -> None:
    rng = np.random.default_rng(2)
    stable, candidate = latencies(rng, 95_000), latencies(rng, 5000, times=1.33)
    found = judged(stable, candidate)
    assert (found.verdict, found.rule) == ("ROLLBACK", "slow_answers")
    assert found.evidence["latency_p95_ms"]["verdict"] == "no_harm"


def test_a_candidate_a_tenth_slower_is_tolerated() -> None:
    rng = np.random.default_rng(3)
    found = judged(latencies(rng, 95_000), latencies(rng, 5000, times=1.1))
    assert found.evidence["slow_answers"]["verdict"] == "no_harm"


def test_what_nobody_would_notice_is_no_harm() -> None:
    rng = np.random.default_rng(4)
    found = judged(latencies(rng, 19_000) / 100, latencies(rng, 1000, times=3) / 100)
    assert found.evidence["slow_answers"]["verdict"] == "no_harm"


def test_the_first_slow_answers_of_a_new_process_are_forgiven() -> None:
    rng = np.random.default_rng(5)
    stable, candidate = latencies(rng, 1900), np.full(FORGIVEN, 900.0)
    assert judged(stable, candidate).evidence["slow_answers"]["statistic"] < 1
    assert judged(stable, np.full(3 * FORGIVEN, 900.0)).rule == "slow_answers"


def test_more_can_be_tolerated_and_the_test_can_be_left_out() -> None:
    rng = np.random.default_rng(6)
    stable, candidate = latencies(rng, 95_000), latencies(rng, 5000, times=1.33)
    patient = judged(stable, candidate, {"guardrails": {"max_slow_odds": 5}})
    assert patient.evidence["slow_answers"]["verdict"] == "no_harm"
    assert "slow_answers" not in judged(stable, candidate, {"guardrails": {"max_slow_odds": None}}).evidence


def test_without_counts_by_key_nothing_is_said() -> None:
    rng = np.random.default_rng(7)
    assert "slow_answers" not in judged(latencies(rng, 950), latencies(rng, 50, times=3), first=False).evidence


def test_a_part_of_alpha_is_spent_on_it() -> None:
    rng = np.random.default_rng(8)
    found = judged(latencies(rng, 950), latencies(rng, 50))
    assert found.evidence["slow_answers"]["bound"] == len(TESTS) / ALPHA
