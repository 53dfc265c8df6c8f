"""What every policy family shares: learning by acting in an environment, and answering tables as other models do.

A policy takes an observation, one number per column, and gives an action; its raw scores are one value per action,
and the largest is chosen. While it learns, it is examined now and then without chance in its actions, on episodes
that teach nothing, and the best examined policy is kept. How it learns is in the families' private modules.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken, Conflict, Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder, Matrix
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.schema import Column, InputSchema

INSTALL_RL = "pip install 'mldl-ray[rl]'"
INSTALL_DEEP = "pip install 'mldl-ray[deep]'"
UNSEEN = -1.0
"""What stands for a missing state: no environment numbers one so, and a policy has an answer for those it never saw."""
_TRAINING, _EXAMINATION, _JUDGEMENT = range(3)  # streams of seeds that share no episode

Progress = Callable[[int, float], None]
"""Is told how many episodes were played, and the mean return of the examination just held."""


class Policy(Protocol):
    """Something fixed that plays: a table, a network."""

    @property
    def shape(self) -> tuple[int, int]:
        """Count the columns that it takes and the actions that it values."""

    def values(self, M: Matrix) -> Doubles:
        """Value every action for every row; shape ``(n, actions)``."""

    def save(self, folder: Path) -> None:
        """Write it as data."""

    def graph(self) -> bytes:
        """Write it as an ONNX graph from ``matrix`` to ``raw``."""


class PolicyAdapter(BaseModelAdapter):
    """A policy of one family: ``learn`` in an environment, then save, load and serve like any model."""

    _policy: Policy

    # Learning and judging

    def learn(self, *, progress: Progress | None = None, until_s: float | None = None) -> Self:
        """Play ``episodes`` episodes, learning from them, and keep the policy that did best when examined.

        Args:
            progress: Told after every examination.
            until_s: When to stop, in Unix seconds; the episode at hand is played to its end, and the best policy
                so far is kept.

        Raises:
            Incompatible: No such environment, or one that this family cannot learn in; or learning broke down.
        """
        with ExitStack() as stack:
            environment, examination = (stack.enter_context(self._environment()) for _ in range(2))
            self._suits(environment)
            self._take_spaces(environment)
            best, due = -np.inf, 0
            for played in stack.enter_context(closing(self._training(environment))):
                late = until_s is not None and time.time() >= until_s
                if played < min(due, self.hyperparams["episodes"]) and not late:
                    continue
                due = played + self.hyperparams["evaluate_every"]
                policy = self._current()
                found, centre = play(policy, examination, self._examination_seeds())
                mean = float(found.mean())
                if not np.isfinite([*policy.values(centre[None])[0], mean]).all():
                    raise Incompatible(
                        f"{self.family} broke down after {played} episodes: its values are not finite; lower "
                        "learning_rate, or scale the rewards",
                        {"family": self.family, "episodes": played},
                    )
                if mean >= best:
                    best, self._policy = mean, policy
                    self._take_centre(environment, centre)
                if progress is not None:
                    progress(played, mean)
                if late:
                    break
        self._fitted = True
        return self

    def check_environment(self) -> None:
        """Refuse an environment that this policy could not learn in, before anything is spent on it.

        Raises:
            Incompatible: As ``learn``.
        """
        with self._environment() as environment:
            self._suits(environment)

    def mean_return(self, episodes: int, seed: int) -> Doubles:
        """Play without learning, always the action of the largest value, and give every episode's return.

        Args:
            episodes: How many to play, from 1.
            seed: Of the episodes; none of them is one that the policy learned from or was chosen by.

        Raises:
            Conflict: It has learned nothing yet.
            Incompatible: The environment is not available here, or is no longer the one that it learned in.
        """
        self._check_fitted()
        if episodes < 1 or seed < 0:
            raise Incompatible(f"cannot play {episodes} episodes with seed {seed}; give at least 1, and a seed from 0")
        with self._environment() as environment:
            if environment.columns != self.schema.names or environment.actions != self.classes:
                raise Incompatible(f"environment {environment.name!r} has other spaces here than where it was learned")
            return play(self._policy, environment, _seeds(_JUDGEMENT, seed, episodes))[0]

    def _environment(self) -> Environment:
        return Environment(self.hyperparams["environment"])

    def _take_spaces(self, environment: Environment) -> None:
        self.classes = list(environment.actions)
        self.calibrator = None
        self.use_encoder(identity_encoder(environment.columns, UNSEEN if environment.states is not None else 0.0))

    def _take_centre(self, environment: Environment, centre: Doubles) -> None:
        """Explain against the average observation; states have no average, and are explained against none of them."""
        if environment.states is None:
            self.use_encoder(replace(self.encoder, centre=centre))

    def _examination_seeds(self) -> list[int]:
        return _seeds(_EXAMINATION, self.seed, self.hyperparams["evaluate_episodes"])

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng((_TRAINING, self.seed))

    # Tables

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Self:
        """Refuse: nothing is to be learned from a table."""
        self._refuse_table()

    def fit_encoder(self, X: Any) -> Encoder:
        """Refuse: the environment says what the columns are."""
        self._refuse_table()

    def fit_matrix(self, M: Matrix, y: Any = None, *, sample_weight: Any = None, M_valid: Matrix | None = None,
                   y_valid: Any = None, early_stopping: EarlyStopping | None = None) -> Self:  # fmt: skip
        """Refuse: nothing is to be learned from a table."""
        self._refuse_table()

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        self._refuse_table()

    def _refuse_table(self) -> NoReturn:
        raise Incompatible(
            f"family {self.family} learns by acting, not from a table; name an environment of gymnasium's in the "
            "hyperparameter environment, and call learn()",
            {"family": self.family},
        )

    def _check_fitted(self) -> None:
        if not self._fitted:
            raise Conflict(f"this {self.family} adapter is not fitted yet; call learn or load first")

    def _raw(self, M: Matrix) -> Doubles:
        return self._policy.values(M)

    # Files

    def _save(self, folder: Path) -> None:
        self._policy.save(folder)

    def _load(self, folder: Path) -> None:
        if not self.classes or not all(type(action) is int for action in self.classes):
            raise Broken(f"{folder} holds a policy whose actions are not integers: {self.classes[:5]}")
        encoder = self.encoder
        if any(column.kind != "numeric" for column in encoder.schema.columns) or encoder.style != "scaled":
            raise Broken(f"{folder} holds a policy whose observations are not numbers")
        policy = self._read(folder)
        if policy.shape != (encoder.width, len(self.classes)):
            raise Broken(f"{folder} holds a policy of shape {policy.shape}, which does not fit its columns and actions")
        self._policy = policy

    def graph(self) -> bytes:
        """Write the policy as a graph in double precision."""
        return self._policy.graph()

    # Hooks of a family

    @abstractmethod
    def _suits(self, environment: Environment) -> None:
        """Refuse with Incompatible an environment that this family cannot learn in."""

    @abstractmethod
    def _training(self, environment: Environment) -> Generator[int]:
        """Learn, and give after every episode, or every few, how many were played; at the end all of ``episodes``."""

    @abstractmethod
    def _current(self) -> Policy:
        """Give what was learned so far, as something that further learning does not change."""

    @abstractmethod
    def _read(self, folder: Path) -> Policy:
        """Read what a policy wrote; refuse with Broken whatever is none."""


def play(policy: Policy, environment: Environment, seeds: list[int]) -> tuple[Doubles, Doubles]:
    """Play one episode per seed, always the action of the largest value.

    Returns:
        Every episode's return, and the mean of all observations in which the policy acted.
    """
    returns, total, steps = np.zeros(len(seeds)), np.zeros(len(environment.columns)), 0
    for i, seed in enumerate(seeds):
        row, over = environment.reset(seed), False
        while not over:
            total += row
            steps += 1
            row, reward, ended, cut = environment.step(int(policy.values(row[None])[0].argmax()))
            returns[i] += reward
            over = ended or cut
    return returns, total / steps


def _seeds(stream: int, seed: int, count: int) -> list[int]:
    return [int(value) for value in np.random.SeedSequence((stream, seed)).generate_state(count)]


def identity_encoder(columns: tuple[str, ...], fill: float) -> Encoder:
    """Make an encoder that passes numbers on as they are.

    >>> identity_encoder(("observation_0",), 0.0).transform([[2.5]])
    array([[2.5]])
    """
    schema = InputSchema(columns=tuple(Column(name=name, kind="numeric") for name in columns))
    width = len(columns)
    return Encoder(schema, "scaled", np.full(width, fill), np.zeros(width), np.ones(width), np.full(width, fill))


def shared_settings(episodes: int, every: int, examined: int, gamma: float) -> tuple[Hyperparam, ...]:
    """Give the settings that every policy family has, with a family's own defaults."""
    return (
        Hyperparam("environment", "text", None),
        Hyperparam("episodes", "int", episodes, low=1, high=10_000_000),
        Hyperparam(
            "gamma",
            "float",
            gamma,
            low=0.0,
            high=1.0,
            aliases=("discount",),
            search=SearchDimension(kind="float", low=0.9, high=0.999),
            grid=(0.95, 0.99, 0.995),
        ),
        Hyperparam("evaluate_every", "int", every, low=1),
        Hyperparam("evaluate_episodes", "int", examined, low=1, high=100_000),
    )


def exploration(final: float, share: float) -> tuple[Hyperparam, ...]:
    """Give the settings of acting by chance: how often at first, how often at last, and when that is reached."""
    return (
        Hyperparam("epsilon", "float", 1.0, low=0.0, high=1.0),
        Hyperparam("epsilon_final", "float", final, low=0.0, high=1.0),
        Hyperparam("exploration_share", "float", share, low=0.0, high=1.0),
    )


def epsilon(settings: dict[str, Any], episode: int) -> float:
    """Say how often an episode acts by chance: it falls in a line over the first share of the episodes.

    >>> epsilon({"epsilon": 1.0, "epsilon_final": 0.5, "exploration_share": 0.5, "episodes": 100}, 25)
    0.75
    """
    first, last = settings["epsilon"], settings["epsilon_final"]
    span = settings["exploration_share"] * settings["episodes"]
    return float(last + (first - last) * max(0.0, 1 - episode / span)) if span else float(last)
