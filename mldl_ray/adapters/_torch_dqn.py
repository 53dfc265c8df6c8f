"""Deep Q-learning (``dqn``): a network values the actions; replay, a target network, double estimates."""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

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
from mldl_ray.adapters.reinforcement import (
    INSTALL_DEEP,
    INSTALL_RL,
    PolicyAdapter,
    epsilon,
    exploration,
    shared_settings,
)

if TYPE_CHECKING:
    import torch

_LARGEST_GRADIENT = 10.0


class DQNAdapter(PolicyAdapter):
    """Learns action values from what it has met, drawn at random from its memory, towards a target that moves rarely.

    After every episode it takes ``updates_per_step`` gradient steps for each step of the episode.

    Source:
        Mnih et al., Nature 518 (2015); double estimates: van Hasselt, Guez & Silver (AAAI 2016).
    """

    family: ClassVar[str] = "dqn"
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
        *shared_settings(episodes=300, every=10, examined=30, gamma=0.99),
        *NETWORK,
        Hyperparam("batch_size", "int", 64, low=1, high=65_536),
        Hyperparam("memory_steps", "int", 50_000, low=1, high=10_000_000),
        Hyperparam("warm_up_steps", "int", 1000, low=0),
        Hyperparam("updates_per_step", "float", 0.5, low=0.0, high=16.0, above=True),
        Hyperparam("target_updates", "int", 100, low=1),
        *exploration(final=0.05, share=0.3),
    )

    def _suits(self, environment: Environment) -> None:
        inputs_of(environment)

    def _training(self, environment: Environment) -> Generator[int]:
        settings, rng = self.hyperparams, self._rng()
        memory = Memory(settings["memory_steps"], len(environment.columns))
        with one_thread():
            learner = Learner(settings, environment, int(rng.integers(2**31)))
            self._live = learner.policy
            environment.reset(int(rng.integers(2**31)))
            for episode in range(settings["episodes"]):
                met = memory.taken
                self._play_one(environment, memory, rng, epsilon(settings, episode))
                if memory.taken > settings["warm_up_steps"]:
                    for _ in range(math.ceil((memory.taken - met) * settings["updates_per_step"])):
                        learner.update(memory.draw(settings["batch_size"], rng))
                yield episode + 1

    def _play_one(self, environment: Environment, memory: Memory, rng: np.random.Generator, chance: float) -> None:
        row, over = environment.reset(), False
        while not over:
            if rng.random() < chance:
                action = int(rng.integers(len(self.classes)))
            else:
                action = int(self._live.values(row[None].astype(np.float32))[0].argmax())
            after, reward, ended, cut = environment.step(action)
            memory.keep(row, action, reward, after, ended)
            row, over = after, ended or cut

    def _current(self) -> ActionNetwork:
        return self._live.fixed()

    def _read(self, folder: Path) -> ActionNetwork:
        return read_network(self, folder, "relu")


class Memory:
    """The last steps that were met, each with what came of it."""

    def __init__(self, capacity: int, width: int) -> None:
        self.taken, self._capacity = 0, capacity
        self._before, self._after = np.zeros((2, capacity, width), dtype=np.float32)
        self._actions = np.zeros(capacity, dtype=np.int64)
        self._rewards = np.zeros(capacity, dtype=np.float32)
        self._ended = np.zeros(capacity, dtype=np.float32)

    def keep(self, before: Any, action: int, reward: float, after: Any, ended: bool) -> None:
        """Remember a step, in the place of the oldest when it is full."""
        place = self.taken % self._capacity
        self._before[place], self._after[place] = before, after
        self._actions[place], self._rewards[place], self._ended[place] = action, reward, ended
        self.taken += 1

    def draw(self, count: int, rng: np.random.Generator) -> tuple[npt.NDArray[Any], ...]:
        """Draw steps, each as likely as any other, with replacement."""
        places = rng.integers(min(self.taken, self._capacity), size=count)
        kept = (self._before, self._actions, self._rewards, self._after, self._ended)
        return tuple(array[places] for array in kept)


class Learner:
    """The network that learns, and the slower one that says what a state to come is worth."""

    def __init__(self, settings: dict[str, Any], environment: Environment, seed: int) -> None:
        import torch  # noqa: PLC0415  # optional, and slow to load

        widths = widths_of(settings, inputs_of(environment), len(environment.actions))
        self._network, self._target = (new_network(widths, "relu", seed) for _ in range(2))
        self._optimiser = torch.optim.Adam(self._network.parameters(), lr=settings["learning_rate"])
        self._gamma, self._every, self._updates = settings["gamma"], settings["target_updates"], 0
        self.policy = ActionNetwork.of(self._network, "relu", environment.states)

    def update(self, drawn: tuple[npt.NDArray[Any], ...]) -> None:
        """Take one gradient step on a batch."""
        import torch  # noqa: PLC0415  # as above

        inputs = self.policy.inputs
        before, actions, rewards, after, ended = drawn
        goal = self._goal(torch.from_numpy(inputs(after)), torch.from_numpy(rewards), torch.from_numpy(ended))
        said = self._network(torch.from_numpy(inputs(before))).gather(1, torch.from_numpy(actions)[:, None])[:, 0]
        self._optimiser.zero_grad()
        torch.autograd.backward(torch.nn.functional.smooth_l1_loss(said, goal))
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_GRADIENT)
        self._optimiser.step()
        self._updates += 1
        if self._updates % self._every == 0:
            self._target.load_state_dict(self._network.state_dict())

    def _goal(self, after: torch.Tensor, rewards: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        """Say what the actions taken turned out to be worth: the learning network chooses, the slower one values."""
        import torch  # noqa: PLC0415  # as above

        with torch.no_grad():
            chosen = self._network(after).argmax(dim=1, keepdim=True)
            worth: torch.Tensor = self._target(after).gather(1, chosen)[:, 0]
            goal: torch.Tensor = rewards + self._gamma * (1 - ended) * worth
        return goal
