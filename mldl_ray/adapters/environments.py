"""Environments that policies learn in: gymnasium's, by a name of its registry, seen as rows of numbers and positions.

How a policy learns is in the families' modules; what it keeps and answers is in ``reinforcement``.
"""

from __future__ import annotations

import difflib
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible

Doubles = npt.NDArray[np.float64]

KNOWN = ("FrozenLake-v1", "Taxi-v4", "CliffWalking-v1", "CartPole-v1", "Acrobot-v1", "MountainCar-v0")
"""Environments that need nothing but gymnasium itself, to be named where another cannot be had."""
STATE = ("observation",)
"""The columns of an observation that is one of some states; a box has ``observation_0`` and so on."""
MOST_ENTRIES = 1000
MOST_STEPS = 1000
"""Steps of an episode at most where the environment has no limit of its own: a bad policy may walk in circles."""


class Environment:
    """One running environment with numbers in (a box, or one of some states) and one of some actions out.

    Args:
        name: A name of gymnasium's registry. Never ``module:name``, which would import whatever it says.

    Attributes:
        columns: Names of an observation's entries.
        states: How many observations there are; None when an observation is a box of numbers.
        actions: The actions, as the environment numbers them.

    Raises:
        Incompatible: No such environment, it does not start here, or it has other spaces.
    """

    def __init__(self, name: str | None) -> None:
        from gymnasium import spaces  # noqa: PLC0415  # optional: its absence must not break an import

        self.name = _registered(name)
        self._inner = _start(self.name)
        self.states: int | None = None
        self.columns: tuple[str, ...] = STATE
        seen, taken = self._inner.observation_space, self._inner.action_space
        if isinstance(seen, spaces.Discrete) and int(seen.start) == 0:
            self.states = int(seen.n)
        elif isinstance(seen, spaces.Box) and 0 < int(np.prod(seen.shape)) <= MOST_ENTRIES:
            self.columns = tuple(f"observation_{i}" for i in range(int(np.prod(seen.shape))))
        else:
            raise self._unfit("observes", seen, f"a box of at most {MOST_ENTRIES} numbers, or states numbered from 0")
        if not isinstance(taken, spaces.Discrete) or int(taken.n) < 2:
            raise self._unfit("is steered by", taken, "two actions or more to choose from, not quantities")
        self.actions = list(range(int(taken.start), int(taken.start + taken.n)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()

    def reset(self, seed: int | None = None) -> Doubles:
        """Begin an episode and give its first observation, one entry per column."""
        return self._row(self._inner.reset(seed=seed)[0])

    def step(self, position: int) -> tuple[Doubles, float, bool, bool]:
        """Act.

        Args:
            position: Of the action in ``actions``.

        Returns:
            The next observation, the reward, whether the episode has come to its end, and whether it was cut off.
        """
        seen, reward, ended, cut, _ = self._inner.step(self.actions[position])
        return self._row(seen), float(reward), bool(ended), bool(cut)

    def _row(self, seen: Any) -> Doubles:
        return np.asarray(seen, dtype=np.float64).reshape(-1)

    def _unfit(self, verb: str, space: object, wanted: str) -> Incompatible:
        self._inner.close()
        return Incompatible(f"environment {self.name!r} {verb} {space}; expected {wanted}", {"environment": self.name})


def _registered(name: str | None) -> str:
    from gymnasium import registry  # noqa: PLC0415  # as above

    if name is None:
        raise Incompatible(f"no environment is named; give the hyperparameter environment, such as {', '.join(KNOWN)}")
    if ":" in name:
        raise Incompatible(
            f"environment {name!r} names a module, which would be imported and run; register the environment with "
            "gymnasium in your own code, and give its registered name",
            {"environment": name},
        )
    if name not in registry:
        near = difflib.get_close_matches(name, list(registry), 1, 0.5)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise Incompatible(
            f"there is no environment {name!r} in gymnasium's registry{meant}; there are, among others: "
            f"{', '.join(KNOWN)}",
            {"environment": name},
        )
    return name


def _start(name: str) -> Any:
    import gymnasium  # noqa: PLC0415  # as above

    limit = gymnasium.registry[name].max_episode_steps or MOST_STEPS
    try:
        return gymnasium.make(name, max_episode_steps=limit, disable_env_checker=True)
    except Exception as error:  # it is someone else's code, often with needs of its own, and may fail in any way
        raise Incompatible(
            f"environment {name!r} does not start here: {type(error).__name__}: {str(error).splitlines()[:1]}",
            {"environment": name},
        ) from error
