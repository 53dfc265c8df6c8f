"""Policies get better by playing. Small runs; the floors over several seeds are run by the bench of families."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.reinforcement import PolicyAdapter, play

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


class Lamp(gymnasium.Env[Any, Any]):
    """Two states; the lamp is to be switched, by an action numbered from 5, whenever it is off."""

    observation_space, action_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Discrete(2, start=5)

    def __init__(self, **settings: Any) -> None:
        self._worth, self._lit, self._left = settings.get("worth", 1.0), 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self._left, self._lit = 10, int(self.np_random.integers(2))
        return self._lit, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        assert action in {5, 6}
        right = (action == 6) == (not self._lit)
        self._left, self._lit = self._left - 1, int(self.np_random.integers(2))
        return self._lit, self._worth * right, self._left == 0, False, {}


@pytest.fixture
def lamps() -> Iterator[None]:
    """Environments of one's own are registered with gymnasium, in one's own code."""
    gymnasium.register("Lamp-v0", Lamp)
    gymnasium.register("PricelessLamp-v0", Lamp, kwargs={"worth": 1e300})
    yield
    for name in ("Lamp-v0", "PricelessLamp-v0"):
        del gymnasium.registry[name]


@pytest.mark.usefixtures("lamps")
@pytest.mark.parametrize("family", ["q_learning", "dqn", "pg"])
def test_an_environment_of_ones_own_teaches_its_own_actions(family: str) -> None:
    more = {"warm_up_steps": 50} if family == "dqn" else {}
    learned = policy(family, "Lamp-v0", episodes=80, **more).learn()
    assert learned.predict(pa.table({"observation": [0, 1]})).tolist() == [6, 5]
    assert learned.mean_return(5, seed=1).tolist() == [10.0] * 5


@pytest.mark.usefixtures("lamps")
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_learning_that_breaks_down_says_so() -> None:
    with pytest.raises(Incompatible, match="lower learning_rate, or scale the rewards"):
        policy("pg", "PricelessLamp-v0", episodes=40).learn()


def test_an_episode_without_a_limit_of_its_own_is_cut() -> None:
    with Environment("CliffWalking-v1") as environment:
        environment.reset(0)
        steps = 1
        while not any(environment.step(0)[2:]):
            steps += 1
    assert steps == 1000
