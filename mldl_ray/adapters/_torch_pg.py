"""Policy gradient (``pg``): a network gives the actions' log-odds, another the baseline that returns are held to."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.specs import SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.environments import Environment
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.policy_network import (
    NETWORK,
    ActionNetwork,
    inputs_of,
    new_network,
    one_thread,
    read_network,
    widths_of,
)
from mldl_ray.adapters.reinforcement import INSTALL_DEEP, INSTALL_RL, PolicyAdapter, shared_settings

Floats = npt.NDArray[np.float32]

_LARGEST_GRADIENT = 0.5


class PolicyGradientAdapter(PolicyAdapter):
    """Plays some episodes by chance, then makes more likely what went better than the baseline expected.

    The same episodes are gone over ``epochs`` times, and a step that would change an action's probability by more
    than ``clip`` of itself counts no further; with one epoch it is the plain advantage actor-critic.

    Source:
        Sutton et al. (NeurIPS 1999); advantages: Schulman et al. (ICLR 2016); clipping: Schulman et al. (2017).
    """

    family: ClassVar[str] = "pg"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"reinforcement"}),
        style="scaled",
        probabilities=False,
        explain="sampled",
        sample_weight=False,
        resource="episodes",
        needs={"torch": INSTALL_DEEP, "safetensors": INSTALL_DEEP, "gymnasium": INSTALL_RL},
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        *shared_settings(episodes=400, every=16, examined=30, gamma=0.99),
        *NETWORK,
        Hyperparam("batch_episodes", "int", 8, low=1, high=10_000),
        Hyperparam("batch_size", "int", 256, low=2, high=65_536),
        Hyperparam("epochs", "int", 10, low=1, high=1000),
        Hyperparam("clip", "float", 0.2, low=0.0, high=1.0, above=True),
        Hyperparam("gae_lambda", "float", 0.95, low=0.0, high=1.0),
        Hyperparam(
            "entropy",
            "float",
            0.003,
            low=0.0,
            high=1.0,
            search=SearchDimension(kind="float", low=1e-4, high=3e-2, log=True),
        ),
    )

    def _suits(self, environment: Environment) -> None:
        inputs_of(environment)

    def _training(self, environment: Environment) -> Generator[int]:
        settings, rng, played = self.hyperparams, self._rng(), 0
        with one_thread():
            learner = Learner(settings, environment, int(rng.integers(2**31)))
            self._live = learner.policy
            environment.reset(int(rng.integers(2**31)))
            while played < settings["episodes"]:
                count = min(settings["batch_episodes"], settings["episodes"] - played)
                learner.update([self._play_one(environment, rng) for _ in range(count)], rng)
                played += count
                yield played

    def _play_one(self, environment: Environment, rng: np.random.Generator) -> Episode:
        row, over, ended = environment.reset(), False, False
        rows, actions, rewards = [row], [], []
        while not over:
            action = draw(self._live.values(row[None].astype(np.float32))[0], rng)
            row, reward, ended, cut = environment.step(action)
            rows.append(row)
            actions.append(action)
            rewards.append(reward)
            over = ended or cut
        return Episode(np.array(rows, dtype=np.float32), np.array(actions), np.array(rewards), ended)

    def _current(self) -> ActionNetwork:
        return self._live.fixed()

    def _read(self, folder: Path) -> ActionNetwork:
        return read_network(self, folder, "tanh")


@dataclass(frozen=True, eq=False)
class Episode:
    """What was met. ``rows`` has one more than the others: what was seen after the last step."""

    rows: Floats
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float64]
    ended: bool  # by itself, and not cut off


def draw(log_odds: npt.NDArray[np.floating[Any]], rng: np.random.Generator) -> int:
    """Draw an action by its probability.

    >>> draw(np.array([0.0, 50.0]), np.random.default_rng(0))
    1
    """
    weights = np.exp(log_odds - log_odds.max()).cumsum()
    return min(int(np.searchsorted(weights, rng.random() * weights[-1], side="right")), len(weights) - 1)


def advantages(rewards: Any, values: Any, gamma: float, decay: float) -> npt.NDArray[np.float64]:
    """Say how much better every step went than expected, its sequel counted with less and less weight.

    Args:
        rewards: One per step.
        values: What was expected before each step, and after the last one (0 when the episode had come to its end).
        gamma: Discount per step.
        decay: λ; 0 looks one step ahead, 1 to the end.

    Source:
        Generalised advantage estimation, Schulman et al. (ICLR 2016).

    >>> advantages([1.0, 1.0], [0.0, 0.0, 0.0], 1.0, 1.0).tolist()
    [2.0, 1.0]
    """
    found, ahead = np.zeros(len(rewards)), 0.0
    for i in reversed(range(len(rewards))):
        ahead = rewards[i] + gamma * values[i + 1] - values[i] + gamma * decay * ahead
        found[i] = ahead
    return found


class Learner:
    """The network that plays and the one that expects."""

    def __init__(self, settings: dict[str, Any], environment: Environment, seed: int) -> None:
        import torch  # noqa: PLC0415  # optional, and slow to load

        self._settings = settings
        inputs = inputs_of(environment)
        self._actor = new_network(widths_of(settings, inputs, len(environment.actions)), "tanh", seed)
        self._critic = new_network(widths_of(settings, inputs, 1), "tanh", seed + 1)
        self._optimisers = [
            torch.optim.Adam(network.parameters(), lr=settings["learning_rate"])
            for network in (self._actor, self._critic)
        ]
        self.policy = ActionNetwork.of(self._actor, "tanh", environment.states)
        self._expectation = ActionNetwork.of(self._critic, "tanh", environment.states)

    def update(self, episodes: list[Episode], rng: np.random.Generator) -> None:
        """Learn from a batch of episodes."""
        import torch  # noqa: PLC0415  # as above

        settings, gains, goals = self._settings, [], []
        for episode in episodes:
            expected = self._expectation.values(episode.rows)[:, 0].astype(np.float64)
            expected[-1] *= not episode.ended
            gain = advantages(episode.rewards, expected, settings["gamma"], settings["gae_lambda"])
            gains.append(gain)
            goals.append(gain + expected[:-1])
        better, worth = (np.concatenate(parts).astype(np.float32) for parts in (gains, goals))
        better = (better - better.mean()) / (better.std() + 1e-8)
        inputs = self.policy.inputs(np.concatenate([episode.rows[:-1] for episode in episodes]))
        actions = np.concatenate([episode.actions for episode in episodes])
        rows = [torch.from_numpy(array) for array in (inputs, actions, better, worth)]
        with torch.no_grad():
            rows.append(self._log_odds(rows[0], rows[1]))
        for _ in range(settings["epochs"]):
            order = torch.from_numpy(rng.permutation(len(better)))
            for places in torch.split(order, settings["batch_size"]):
                self._step(*(part[places] for part in rows))

    def _log_odds(self, inputs: Any, actions: Any) -> Any:
        return self._actor(inputs).log_softmax(dim=1).gather(1, actions[:, None])[:, 0]

    def _step(self, inputs: Any, actions: Any, gain: Any, goal: Any, before: Any) -> None:
        import torch  # noqa: PLC0415  # as above

        clip, every = self._settings["clip"], self._actor(inputs).log_softmax(dim=1)
        ratio = (every.gather(1, actions[:, None])[:, 0] - before).exp()
        better = torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain).mean()
        spread = -(every.exp() * every).sum(dim=1).mean()
        error = (self._critic(inputs)[:, 0] - goal).square().mean()
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        (error - better - self._settings["entropy"] * spread).backward()
        torch.nn.utils.clip_grad_norm_(self._actor.parameters(), _LARGEST_GRADIENT)
        for optimiser in self._optimisers:
            optimiser.step()
