"""What a search looks for, and the rows that it is judged on: everything that its trials share. Data, no more.

What no configuration changes is done once, when the problem is built: each fold's encoder is fitted on its training
rows only, and its matrices are shared by all trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.records import TrialRecord
from contracts.specs import EarlyStopping, Json, SearchDimension, Task, TrialResources
from mldl_ray.adapters.encoder import Encoder, Matrix
from mldl_ray.adapters.target import to_weights
from mldl_ray.evaluation.metrics import METRICS
from mldl_ray.training.budget import AFTER_S, AFTER_SHARE, Caps
from mldl_ray.training.race import Halving, Race, Rule
from mldl_ray.training.rows import TrainingRows

Vector = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]
SHARE_OF_ROWS = "share_of_rows"
"""The resource of families that have none of their own: the share of the training rows that a rung may see."""


@dataclass(frozen=True, eq=False)
class Part:
    """Encoded rows with their target: class positions, or values."""

    M: Matrix
    y: Vector
    weights: Doubles | None

    def first(self, share: float) -> Part:
        """Give the first part of the rows, as a view; building a problem has put them in an order fit for that."""
        count = max(1, round(share * len(self.M)))
        return Part(self.M[:count], self.y[:count], None if self.weights is None else self.weights[:count])


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows that learn, rows that judge, and perhaps rows that tell early stopping when to stop.

    ``places`` are the judging rows' positions among all training rows; ``repeat`` counts how often, from 0, all rows
    were split before.
    """

    encoder: Encoder
    train: Part
    judge: Part
    rounds: Part | None
    places: npt.NDArray[np.int64]
    repeat: int = 0


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a search needs; it can be sent to other processes."""

    family: str
    task: Task
    model_key: str
    seed: int
    classes: int  # of the target; 0 for values
    fixed: Json
    space: Mapping[str, SearchDimension]
    strategy: str
    points: tuple[Json, ...]  # configurations to try first; for grid and random: all of them
    max_trials: int
    max_concurrent: int
    early_stop: bool
    metric: str
    folds: tuple[Fold, ...]
    repeats: int  # of the training that judges a policy, each with a seed of its own; 0 where rows judge
    early_stopping: EarlyStopping | None
    resource: str | None
    rungs: tuple[float, ...]
    caps: Caps
    started_s: float  # Unix seconds; when the job began
    done: tuple[TrialRecord, ...] = ()  # of an earlier run of the same job
    resources: TrialResources = field(default_factory=TrialResources)  # what a trial holds
    metrics: tuple[str, ...] = ()  # figures that trials record beside the objective

    @property
    def sign(self) -> int:
        """Give what turns a score into a gain: more is better."""
        return 1 if METRICS[self.metric].higher_is_better else -1

    @property
    def fits(self) -> int:
        """Count the fits that judge a configuration: one per fold, or per repeat."""
        return len(self.folds) or self.repeats

    @property
    def once(self) -> tuple[Fold, ...]:
        """Give the folds of the first repeat, which judge each row once at most: what a calibrator learns from.

        Not the mean over the repeats: the mean of several models' answers is steadier and less extreme than those of
        the one model that will serve, so that probabilities would be sharpened too much and prediction intervals be
        too narrow.
        """
        return tuple(fold for fold in self.folds if fold.repeat == 0)

    @property
    def steps(self) -> int:
        """Count the steps of a whole trial."""
        return len(self.rungs) or self.fits

    @property
    def rule(self) -> Rule:
        """Give what stops a losing configuration."""
        return Halving(len(self.rungs)) if self.rungs else Race(self.fits)

    @property
    def prunes(self) -> bool:
        """Say whether losing configurations are stopped at all; handing out a resource means nothing else."""
        return bool(self.rungs) or (self.early_stop and self.strategy in {"bayes", "random"})

    @property
    def end_s(self) -> float | None:
        """Give when, in Unix seconds, training must be over so that no cap is broken, judging and storing included.

        For one training that takes as long as it is let: cost is reckoned as if all trials that may run at a time
        had always run. None without caps.
        """
        caps, ends = self.caps, list[float]()
        if caps.seconds is not None:
            ends.append(self.started_s + caps.seconds - min(AFTER_S, AFTER_SHARE * caps.seconds))
        if caps.cost_units is not None and caps.trial_price > 0:
            after = min(AFTER_S * caps.price, AFTER_SHARE * caps.cost_units)
            left = caps.cost_units - after - sum(record.seconds for record in self.done) * caps.trial_price
            ends.append(self.started_s + left / (caps.trial_price * max(1, self.max_concurrent)))
        return min(ends, default=None)

    def settings(self, config: Mapping[str, Any]) -> Json:
        """Give the family's settings for a configuration."""
        return self.fixed | dict(config)

    def whole(self, scores: Sequence[float]) -> float:
        """Give a trial's score: the mean over the folds, or what its last rung reached."""
        return scores[-1] if self.rungs else fmean(scores)

    def figures(self, taken: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Give a trial's figures as ``whole`` gives its score; one that some fold leaves undefined is left out."""
        level = taken[-1:] if self.rungs else taken
        every = [name for name in (level[0] if level else ()) if all(name in figures for figures in level)]
        return {name: fmean(figures[name] for figures in level) for name in every}

    def winner(self, config: Mapping[str, Any]) -> Json:
        """Give the settings of a configuration with all of the resource that the rungs handed out."""
        if self.resource in {None, SHARE_OF_ROWS}:
            return self.settings(config)
        return self.settings(config) | {str(self.resource): int(self.rungs[-1])}


def part(rows: TrainingRows, encoder: Encoder, *, labels: bool = False) -> Part:
    """Encode rows; classes become positions unless their labels are wanted."""
    y = rows.y if labels or rows.positions is None else rows.positions
    return Part(encoder.transform(rows.features), y, to_weights(rows.weights, len(rows)))
