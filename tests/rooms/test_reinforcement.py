"""Policies get better by playing. Small runs; the floors over several seeds are run by the bench of families."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.reinforcement import PolicyAdapter, play

pytest.importorskip("torch")

OPTIMUM = 0.744
"""Of FrozenLake 4×4, slippery, within its 100 steps."""


def policy(family: str, environment: str, *, seed: int = 0, **settings: Any) -> PolicyAdapter:
    made = create_adapter(family, task="reinforcement", seed=seed, environment=environment, **settings)
    assert isinstance(made, PolicyAdapter)
    return made


def test_a_table_crosses_the_frozen_lake_as_well_as_can_be() -> None:
    learned = policy("q_learning", "FrozenLake-v1", episodes=6000).learn()
    returns = learned.mean_return(3000, seed=1)
    error = 3 * float(returns.std()) / len(returns) ** 0.5
    assert OPTIMUM - error < returns.mean() < OPTIMUM + error


def test_a_table_drives_a_taxi() -> None:
    learned = policy("q_learning", "Taxi-v4", episodes=4000, evaluate_every=1000, evaluate_episodes=50).learn()
    assert learned.mean_return(200, seed=1).mean() > 7.0


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("pg", {"episodes": 96, "evaluate_every": 32, "evaluate_episodes": 5}),
        ("dqn", {"episodes": 130, "warm_up_steps": 300, "evaluate_every": 20, "evaluate_episodes": 5}),
    ],
)
def test_a_network_learns_to_balance_a_pole(family: str, settings: dict[str, Any]) -> None:
    learned = policy(family, "CartPole-v1", **settings).learn()
    assert learned.mean_return(20, seed=1).mean() > 100  # by chance it stands for 22 steps


def test_the_best_policy_examined_is_kept() -> None:
    told: list[tuple[int, float]] = []
    learned = policy("q_learning", "FrozenLake-v1", episodes=1000, evaluate_every=100, evaluate_episodes=50)
    learned.learn(progress=lambda played, mean: told.append((played, mean)))
    assert [played for played, _ in told] == [1, *range(101, 1000, 100), 1000]
    with Environment("FrozenLake-v1") as environment:
        again, _ = play(learned._policy, environment, learned._examination_seeds())
    assert again.mean() == max(mean for _, mean in told)


def test_time_that_is_up_ends_learning_with_a_policy() -> None:
    told: list[int] = []
    learned = policy("q_learning", "FrozenLake-v1", episodes=10_000_000)
    learned.learn(progress=lambda played, _: told.append(played), until_s=time.time())
    assert told == [1]
    assert learned.mean_return(1, seed=0).shape == (1,)


def test_the_same_seed_plays_the_same_episodes_and_another_plays_others() -> None:
    learned = policy("q_learning", "FrozenLake-v1", episodes=2000).learn()
    assert np.array_equal(learned.mean_return(50, seed=1), learned.mean_return(50, seed=1))
    assert not np.array_equal(learned.mean_return(50, seed=1), learned.mean_return(50, seed=2))


def test_an_episode_without_a_limit_of_its_own_is_cut() -> None:
    with Environment("CliffWalking-v1") as environment:
        environment.reset(0)
        steps = 1
        while not any(environment.step(0)[2:]):
            steps += 1
    assert steps == 1000
