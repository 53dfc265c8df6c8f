"""Which configurations a search begins with, and how many it tries at most. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.specs import JobSpec, Json
from mldl_ray.adapters import adapter_class
from mldl_ray.training.space import Space, draw, grid, project


@dataclass(frozen=True)
class Proposals:
    """A job's axes, and what follows from them and its strategy."""

    job: JobSpec
    space: Space

    @property
    def most(self) -> int:
        """Count the configurations that will be tried at most."""
        allowed = min(self.job.hpo.max_trials, self.job.budget.max_trials or self.job.hpo.max_trials)
        if not self.space:
            return 1
        return min(allowed, len(self._grid())) if self.job.hpo.strategy == "grid" else allowed

    @property
    def capped(self) -> bool:
        """Say whether the budget allows fewer configurations than the search asks for."""
        allowed = self.job.budget.max_trials
        return bool(self.space) and allowed is not None and allowed < self.job.hpo.max_trials

    def first(self, warm: Sequence[Json] = ()) -> list[Json]:
        """Give the configurations to begin with: the family's own defaults, then what won elsewhere.

        For grid and random these are all: a grid that is larger than allowed is tried in an order drawn by the seed.
        """
        strategy, rng = self.job.hpo.strategy, np.random.default_rng(self.job.seed)
        if not self.space:
            return [{}]
        if strategy == "grid":
            every = self._grid()
            order = range(len(every)) if len(every) <= self.most else rng.permutation(len(every)).tolist()
            return [every[i] for i in order][: self.most]
        family = adapter_class(self.job.spec.family)
        usual = {setting.name: setting.default for setting in family.settings}
        known = [point for settings in (usual, *warm) if (point := project(self.space, settings)) is not None]
        distinct = [point for i, point in enumerate(known) if point not in known[:i]]
        if strategy == "bayes":
            return distinct[: self.most]
        return (distinct + [draw(self.space, rng) for _ in range(self.most)])[: self.most]

    def _grid(self) -> list[Json]:
        own = adapter_class(self.job.spec.family).grid() if self.job.hpo.search_space is None else {}
        space = self.space
        if self.job.hpo.search_space is None and own:
            space = {name: axis for name, axis in self.space.items() if name in own}
        return grid(space, own)
