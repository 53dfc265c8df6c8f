"""Which configurations a search begins with, and how many it tries at most. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.specs import JobSpec, Json
from mldl_ray.adapters import adapter_class
from mldl_ray.training.conditions import Space, settled
from mldl_ray.training.space import draw, grid, project

WARM_SHARE = 1 / 3
"""Of the trials, those that may begin with what won elsewhere; all others explore as if nothing were known."""


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
        """Give the configurations to begin with: the family's own defaults, then what won elsewhere (``warmed``).

        For grid and random these are all: a grid that is larger than allowed is tried in an order drawn by the seed.
        """
        strategy, rng = self.job.hpo.strategy, np.random.default_rng(self.job.seed)
        if not self.space:
            return [{}]
        if strategy == "grid":
            every = self._grid()
            order = range(len(every)) if len(every) <= self.most else rng.permutation(len(every)).tolist()
            return [every[i] for i in order][: self.most]
        own = project(self.space, self._usual)
        distinct = [point for point in (own, *(config for _, config in self.warmed(warm))) if point is not None]
        if strategy == "bayes":
            return distinct[: self.most]
        return (distinct + [draw(self.space, rng) for _ in range(self.most)])[: self.most]

    def warmed(self, warm: Sequence[Json]) -> list[tuple[int, Json]]:
        """Give which settings the search begins with, as (place in ``warm``, configuration on its axes).

        Settings off an axis and repetitions are left out; what settings leave out is the family's default. At most
        ``WARM_SHARE`` of the trials are given to them, and none by a grid or where ``hpo.warm_start`` is off.
        """
        if not self.job.hpo.warm_start or self.job.hpo.strategy == "grid" or not self.space:
            return []
        known = [project(self.space, self._usual)]
        taken: list[tuple[int, Json]] = []
        for place, settings in enumerate(warm):
            config = project(self.space, self._usual | settings)
            if config is not None and config not in known:
                known.append(config)
                taken.append((place, config))
        return taken[: int(self.most * WARM_SHARE)]

    @property
    def _usual(self) -> Json:
        return {setting.name: setting.default for setting in adapter_class(self.job.spec.family).settings}

    def _grid(self) -> list[Json]:
        family = adapter_class(self.job.spec.family)
        own = family.grid() if self.job.hpo.search_space is None else {}
        space = self.space
        if self.job.hpo.search_space is None and own:
            known = family(self.job.spec.model_key, task=self.job.spec.task, **self.job.spec.hyperparams).hyperparams
            space = settled({name: axis for name, axis in self.space.items() if name in own}, known)
        return grid(space, own)
