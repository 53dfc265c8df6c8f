"""Caps hold before they are broken; losing configurations and searches without progress end."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.specs import Budget, Constraints, TrialResources
from mldl_ray.training.budget import Caps, Spent, breach, shortfall
from mldl_ray.training.race import Halving, Race, plateaued, rungs


def test_without_caps_nothing_is_ever_broken() -> None:
    assert breach(Caps(), Spent(1e9, 1e9), step_s=[1e6], folds=5, running=9) is None


@pytest.mark.parametrize(("cap", "named"), [("max_seconds", "max_seconds"), ("cost_units", "cost_units")])
def test_a_cap_is_kept_by_prediction(cap: str, named: str) -> None:
    caps = Caps.of(Budget.model_validate({cap: 100}), Constraints(), price=1.0)
    assert breach(caps, Spent(80, 80), step_s=[1.0], folds=5, running=2) is None
    assert breach(caps, Spent(95, 95), step_s=[1.0], folds=5, running=2) == named
    assert breach(caps, Spent(80, 80), step_s=[4.0], folds=5, running=2) == named


def test_a_refit_that_no_longer_fits_is_said_to_be_too_long() -> None:
    caps = Caps.of(Budget(cost_units=10), Constraints(), price=1.0)
    assert shortfall(caps, Spent(1, 5), finish=4) is None
    assert str(shortfall(caps, Spent(1, 5), finish=6)).startswith("cost_units is 10, 5 were used")


def test_the_tighter_of_budget_and_constraint_counts() -> None:
    assert Caps.of(Budget(cost_units=1), Constraints(cost_units=5), 0.1).cost_units == 1
    assert Caps.of(Budget(), Constraints(cost_units=5), 0.1).cost_units == 5
    assert Caps.of(Budget(), Constraints(), 0.1).cost_units is None


def folds_of(quality: float, rng: np.random.Generator, folds: np.ndarray) -> list[float]:
    return list(quality + folds + rng.normal(0, 0.004, len(folds)))


def test_a_race_rarely_stops_the_best_and_often_stops_losers_early() -> None:
    rng = np.random.default_rng(0)
    stopped_best = saved = played = 0
    for _ in range(300):
        folds = rng.normal(0, 0.03, 5)  # folds differ far more than configurations do
        qualities = rng.normal(0.9, 0.01, 20)
        finished: list[list[float]] = []
        for quality in qualities:
            scores = folds_of(quality, rng, folds)
            best = max((np.mean(other) for other in finished if len(other) == 5), default=-np.inf)
            at = next((k for k in range(1, 5) if not Race(5).keeps(scores[:k], finished)), 5)
            played += 5
            saved += 5 - at
            stopped_best += at < 5 and np.mean(scores) > best
            finished.append(scores[:at])
    assert stopped_best / 300 < 0.1
    assert saved / played > 0.3


def test_a_race_needs_rivals_before_it_stops_anyone() -> None:
    assert Race(3).keeps([0.1], [[0.9, 0.9, 0.9], [0.8, 0.8, 0.7]])


def test_halving_keeps_a_third_at_each_rung_and_never_stops_the_last_one() -> None:
    others = [[value] for value in (0.1, 0.2, 0.3, 0.4, 0.5)]
    kept = [value for value in (0.05, 0.35, 0.45, 0.6) if Halving(3).keeps([value], others)]
    assert kept == [0.45, 0.6]
    assert Halving(3).keeps([0.0, 0.0, 0.0], others)


def test_rungs_rise_to_all_of_the_resource() -> None:
    assert rungs(300) == (33, 100, 300)
    assert rungs(2) == (2,)


def test_a_search_has_plateaued_when_nothing_improved_for_long() -> None:
    rising = [0.5, 0.6, 0.7, 0.8, 0.9]
    assert not plateaued(rising, patience=3)
    assert plateaued([*rising, 0.9, 0.89, 0.90001], patience=3)
    assert not plateaued([-np.inf] * 10, patience=3)


def test_what_trials_hold_is_paid_by_cpu_and_by_gpu() -> None:
    held = TrialResources(cpus=4, gpus=2)
    caps = Caps.of(Budget(cost_units=100), Constraints(), price=0.1, gpu_price=1.0, held=held)
    assert caps.trial_price == pytest.approx(2.4)
    assert caps.cost(Spent(10, cpu_seconds=40, gpu_seconds=20)) == pytest.approx(24)


def test_a_gpu_brings_a_cap_on_cost_nearer() -> None:
    def of(gpus: float) -> Caps:
        return Caps.of(Budget(cost_units=10), Constraints(), price=0.01, gpu_price=1.0, held=TrialResources(gpus=gpus))

    assert breach(of(0), Spent(9, 9, 0), step_s=[1.0], folds=5, running=1) is None
    assert breach(of(1), Spent(9, 9, 9), step_s=[1.0], folds=5, running=1) == "cost_units"
    assert str(shortfall(of(1), Spent(11, 11, 11), finish=1)).startswith("cost_units is 10, 11.1 were used")
