"""How the winning configuration becomes a fitted model and is judged, one way per kind of teacher: rows here.

The final model learns from all training rows. Its calibrator learns from the answers that the same procedure gave for
each training row while that row was held out (one model per fold, of the first repeat where there are more), so no
score it sees comes from a model that had learned the row, and none of the rows is lost to the model. The hold-out takes
no part in either.

Source:
    Calibration on cross-validated scores: Platt (1999), section 2.1; scikit-learn's ``CalibratedClassifierCV`` with
    ``ensemble=False``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.evaluations import Evaluation, PredictionInterval
from contracts.specs import JobSpec, Json
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder
from mldl_ray.evaluation.calibration import Calibrator
from mldl_ray.evaluation.conformal import prediction_interval
from mldl_ray.training.fold import fit, fold_answers
from mldl_ray.training.judge import About, judge
from mldl_ray.training.problem import Problem, part
from mldl_ray.training.rows import Asked

if TYPE_CHECKING:
    from mldl_ray.training.plan import Plan


class Made(NamedTuple):
    """A fitted model, and for values how far from them the truth may lie."""

    model: BaseModelAdapter
    interval: PredictionInterval | None = None


class Maker(Protocol):
    """Makes a version of a configuration."""

    @property
    def job(self) -> JobSpec:
        """What was asked for."""
        ...

    def fit(self, problem: Problem, settings: Json) -> Made:
        """Fit the winning settings for good, and calibrate."""
        ...

    def judge(self, made: Made, about: About) -> Evaluation:
        """Judge the model by what it has not learned from."""
        ...

    def rows(self, model: BaseModelAdapter) -> pa.Table:
        """Give input rows that the model has not learned from: for proofs, timings and as the monitor's reference."""
        ...

    @property
    def truth(self) -> npt.NDArray[Any] | None:
        """What is true of those rows: labels or values; None where that is not known."""
        ...

    @property
    def asked(self) -> Asked | None:
        """What callers would have sent for those rows, where a feature view makes the columns; else none."""
        ...


class TableMaker:
    """Makes versions that learned from rows."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.job = plan.job

    def fit(self, problem: Problem, settings: Json) -> Made:
        """Fit on all training rows, less a few that judge early stopping's rounds, and calibrate."""
        rows, rounds = self._plan.train, None
        encoder = Encoder.fit(rows.features, problem.folds[0].encoder.style)
        learn = rows
        if aside := self._plan.rounds(rows, self.job.seed):
            learn, rounds = rows.take(aside.train), part(rows.take(aside.judge), encoder, labels=True)
        model = fit(problem, settings, encoder, part(learn, encoder, labels=True), rounds)
        if model.task == "regression":
            return Made(model, self._interval(problem, settings))
        if model.task == "classification" and model.capabilities.probabilities and self.job.calibration != "none":
            truth, said, weights = self._held_out_answers(problem, settings)
            model.calibrator = Calibrator.fit(said, truth, self.job.calibration, weights=weights)
        return Made(model)

    def judge(self, made: Made, about: About) -> Evaluation:
        """Judge by the held-out rows."""
        return judge(made.model, self._plan.held_out, self._plan.metrics, about, made.interval)

    def rows(self, model: BaseModelAdapter) -> pa.Table:
        """Give the held-out rows."""
        return self._plan.held_out.features.select(list(model.schema.names))

    @property
    def truth(self) -> npt.NDArray[Any] | None:
        """Give the held-out rows' target, where they have one."""
        return self._plan.held_out.y if self._plan.held_out.labelled else None

    @property
    def asked(self) -> Asked | None:
        """What callers would have sent for the held-out rows."""
        return self._plan.held_out.asked

    def _interval(self, problem: Problem, settings: Json) -> PredictionInterval | None:
        truth, said, weights = self._held_out_answers(problem, settings)
        return prediction_interval(truth, said, weights=weights)

    def _held_out_answers(self, problem: Problem, settings: Json) -> tuple[Any, Any, Any]:
        """Give truth, answer and weight of the training rows, each answered by a model that had not seen it."""
        train = self._plan.train
        said = np.concatenate([fold_answers(problem, settings, fold) for fold in problem.once])
        places = np.concatenate([fold.places for fold in problem.once])
        truth = train.y if train.positions is None else train.positions
        return truth[places], said, None if train.weights is None else train.weights[places]
