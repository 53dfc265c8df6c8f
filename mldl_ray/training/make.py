"""How the winning configuration becomes a fitted model and is judged, one way per kind of teacher: rows here.

The final model learns from all training rows. Its calibrator learns from the answers that the same procedure gave for
each training row while that row was held out (one model per fold), so no score it sees comes from a model that had
learned the row, and none of the rows is lost to the model. The hold-out takes no part in either.

Source:
    Calibration on cross-validated scores: Platt (1999), section 2.1; scikit-learn's ``CalibratedClassifierCV`` with
    ``ensemble=False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from contracts.records import Evaluation
from contracts.specs import JobSpec, Json
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.evaluation.calibration import Calibrator
from mldl_ray.training.fold import fit, fold_answers
from mldl_ray.training.judge import About, judge
from mldl_ray.training.problem import Problem, part

if TYPE_CHECKING:
    from mldl_ray.training.plan import Plan


class Maker(Protocol):
    """Makes a version of a configuration."""

    @property
    def job(self) -> JobSpec:
        """What was asked for."""
        ...

    def fit(self, problem: Problem, settings: Json) -> BaseModelAdapter:
        """Fit the winning settings for good, and calibrate."""
        ...

    def judge(self, model: BaseModelAdapter, about: About) -> Evaluation:
        """Judge the model by what it has not learned from."""
        ...

    def rows(self, model: BaseModelAdapter) -> pa.Table:
        """Give input rows that the model has not learned from: for proofs, timings and as the monitor's reference."""
        ...


class TableMaker:
    """Makes versions that learned from rows."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.job = plan.job

    def fit(self, problem: Problem, settings: Json) -> BaseModelAdapter:
        """Fit on all training rows, less a few that judge early stopping's rounds, and calibrate."""
        rows, rounds = self._plan.train, None
        encoder = Encoder.fit(rows.features, problem.folds[0].encoder.style)
        learn = rows
        if aside := self._plan.rounds(rows, self.job.seed):
            learn, rounds = rows.take(aside.train), part(rows.take(aside.judge), encoder, labels=True)
        model = fit(problem, settings, encoder, part(learn, encoder, labels=True), rounds)
        if rows.positions is not None and self.job.calibration != "none":
            model.calibrator = self._calibrator(problem, settings)
        return model

    def judge(self, model: BaseModelAdapter, about: About) -> Evaluation:
        """Judge by the held-out rows."""
        return judge(model, self._plan.held_out, self._plan.metrics, about)

    def rows(self, model: BaseModelAdapter) -> pa.Table:
        """Give the held-out rows."""
        return self._plan.held_out.features.select(list(model.schema.names))

    def _calibrator(self, problem: Problem, settings: Json) -> Calibrator:
        train = self._plan.train
        assert train.positions is not None  # only classes have probabilities
        answers = np.vstack([fold_answers(problem, settings, fold) for fold in problem.folds])
        places = np.concatenate([fold.places for fold in problem.folds])
        weights = None if train.weights is None else train.weights[places]
        return Calibrator.fit(answers, train.positions[places], self.job.calibration, weights=weights)
