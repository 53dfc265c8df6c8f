"""Tabular Q-learning (``q_learning``): environments with a few thousand states and a few actions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from contracts.errors import Incompatible
from contracts.specs import SearchDimension
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.graphs import serialise
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.reinforcement import INSTALL_RL, PolicyAdapter, epsilon, exploration, shared_settings

FILE = "policy.npz"
MOST_STATES = 1_000_000


@dataclass(frozen=True, eq=False)
class ActionTable:
    """The value of every action in every state.

    ``table`` has one row per state, and a last one, the mean over all visited states, that answers for states never
    visited and for numbers that are no state: the action that is best on the whole.
    """

    table: Doubles

    @classmethod
    def of(cls, values: Doubles, visited: Any) -> ActionTable:
        """Complete what was learned with an answer for everything else."""
        rest = values[visited].mean(axis=0) if visited.any() else np.zeros(values.shape[1])
        return cls(np.vstack([np.where(visited[:, None], values, rest), rest[None]]))

    @property
    def shape(self) -> tuple[int, int]:
        """Count the columns that it takes and the actions that it values."""
        return 1, self.table.shape[1]

    def values(self, M: Matrix) -> Doubles:
        """Look every row's state up; shape ``(n, actions)``."""
        state, last = M[:, 0], len(self.table) - 1
        known = (state >= 0) & (state < last) & (state == np.floor(state))
        found: Doubles = self.table[np.where(known, state, last).astype(np.int64)]
        return found

    def save(self, folder: Path) -> None:
        """Write ``policy.npz``."""
        write_arrays(folder / FILE, table=self.table)

    @classmethod
    def read(cls, folder: Path) -> ActionTable:
        """Read what ``save`` wrote.

        Raises:
            Broken: Absent, too large, or no table of finite doubles.
        """
        return cls(read_arrays(folder / FILE, {"table": (np.float64, (None, None))})["table"])

    def graph(self) -> bytes:
        """Write the look-up as a graph in double precision."""
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415  # only compiling needs it; it loads slowly

        last = float(len(self.table) - 1)
        initial = [numpy_helper.from_array(np.array(value), name)
                   for name, value in (("zero", 0.0), ("last", last), ("table", self.table))]  # fmt: skip
        initial.append(numpy_helper.from_array(np.array([1]), "axis"))
        steps = (
            ("Floor", ["matrix"], "floor"),
            ("Equal", ["matrix", "floor"], "whole"),
            ("GreaterOrEqual", ["matrix", "zero"], "not_below"),
            ("Less", ["matrix", "last"], "below"),
            ("And", ["not_below", "below"], "within"),
            ("And", ["whole", "within"], "known"),
            ("Where", ["known", "matrix", "last"], "row"),
            ("Squeeze", ["row", "axis"], "flat"),
        )
        nodes = [helper.make_node(op, inputs, [output]) for op, inputs, output in steps]
        nodes.append(helper.make_node("Cast", ["flat"], ["state"], to=TensorProto.INT64))
        nodes.append(helper.make_node("Gather", ["table", "state"], ["raw"]))
        return serialise(nodes, 1, self.table.shape[1], TensorProto.DOUBLE, initial)


class QLearningAdapter(PolicyAdapter):
    """Off-policy learning of action values, one state at a time.

    A pair of state and action met for the n-th time is moved by ``learning_rate`` · n^-``learning_rate_decay``
    (Even-Dar & Mansour, JMLR 2003); exploration falls in a line over the first share of the episodes.

    Source:
        Watkins & Dayan, Machine Learning 8 (1992).
    """

    family: ClassVar[str] = "q_learning"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"reinforcement"}),
        style="scaled",
        probabilities=False,
        sample_weight=False,
        resource="episodes",
        needs={"gymnasium": INSTALL_RL},
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        *shared_settings(episodes=10_000, every=500, examined=200, gamma=0.99),
        Hyperparam(
            "learning_rate",
            "float",
            1.0,
            low=0.0,
            high=1.0,
            above=True,
            aliases=("alpha",),
            search=SearchDimension(kind="float", low=0.1, high=1.0, log=True),
        ),
        Hyperparam("learning_rate_decay", "float", 0.6, low=0.0, high=1.0, grid=(0.5, 0.6, 0.8)),
        *exploration(final=0.1, share=0.6),
    )

    def _suits(self, environment: Environment) -> None:
        if environment.states is None or environment.states > MOST_STATES:
            raise Incompatible(
                f"environment {environment.name!r} does not observe one of at most {MOST_STATES} states, so "
                "q_learning has no table for it; use family dqn or pg"
            )

    def _training(self, environment: Environment) -> Generator[int]:
        rng, width = self._rng(), len(self.classes)
        assert environment.states is not None  # it suits
        self._values = [[0.0] * width for _ in range(environment.states)]
        self._visits = [[0] * width for _ in range(environment.states)]
        environment.reset(seed=int(rng.integers(2**31)))
        for episode in range(self.hyperparams["episodes"]):
            self._play_one(environment, rng, epsilon(self.hyperparams, episode))
            yield episode + 1

    def _play_one(self, environment: Environment, rng: np.random.Generator, chance: float) -> None:
        settings, width = self.hyperparams, len(self.classes)
        gamma, rate, decay = settings["gamma"], settings["learning_rate"], settings["learning_rate_decay"]
        state, over = int(environment.reset()[0]), False
        while not over:
            values, visits = self._values[state], self._visits[state]
            greedy = rng.random() >= chance
            action = values.index(max(values)) if greedy else int(rng.integers(width))
            row, reward, ended, cut = environment.step(action)
            state, over = int(row[0]), ended or cut
            visits[action] += 1
            goal = reward if ended else reward + gamma * max(self._values[state])
            values[action] += rate * visits[action] ** -decay * (goal - values[action])

    def _current(self) -> ActionTable:
        return ActionTable.of(np.array(self._values), (np.array(self._visits) > 0).any(axis=1))

    def _read(self, folder: Path) -> ActionTable:
        return ActionTable.read(folder)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact: there is one column, so all of the difference from the average state is its own."""
        base: Any = self._policy.values(self.encoder.centre[None])[0]
        return (self._policy.values(M) - base)[:, None, :], base
