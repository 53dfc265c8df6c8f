"""Histogram gradient boosting by scikit-learn (``gbm``): two classes or more, and regression.

It predicts from arrays (``trees``), as scikit-learn would to 1e-9, and its graph gives the same numbers bit for bit
(measured: no difference on 824 rows, hostile ones among them). Measured on Adult's official split, one core of a busy
machine: AUROC 0.9275; one row 1.4 ms natively from an Arrow table, 0.04 ms by the graph from a record; 64 rows 6.3 and
0.55 ms; explaining a row 8 ms; files 0.7 MB; the fit 13 s, where ``xgb`` takes 1.6 s for the same number of trees.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.grown import sum_of_trees
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.tree_family import TreesAdapter


class GBMAdapter(TreesAdapter):
    """Trees on columns left as they are; a missing number goes the way that training found best.

    Early stopping judges by the rows that it is given, never by a part of the training rows, and what is kept ends at
    the round that was best on them. Without such rows all rounds are run.
    """

    family: ClassVar[str] = "gbm"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="plain",
        early_stopping=True,
        resource="n_estimators",
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "n_estimators",
            "int",
            200,
            low=1,
            high=5000,
            aliases=("max_iter", "num_boost_round"),
            search=SearchDimension(kind="int", low=50, high=300),
            grid=(100, 200),
        ),
        Hyperparam(
            "learning_rate",
            "float",
            0.1,
            low=0.0,
            high=1.0,
            above=True,
            aliases=("eta",),
            search=SearchDimension(kind="float", low=0.02, high=0.3, log=True),
            grid=(0.05, 0.1, 0.2),
        ),
        Hyperparam(
            "max_leaf_nodes",
            "int",
            31,
            low=2,
            high=4096,
            aliases=("max_leaves", "num_leaves"),
            search=SearchDimension(kind="int", low=7, high=127, log=True),
            grid=(15, 31, 63),
        ),
        Hyperparam("max_depth", "int", 0, low=0, high=500),  # 0: no limit but that of the leaves
        Hyperparam(
            "min_samples_leaf",
            "int",
            20,
            low=1,
            search=SearchDimension(kind="int", low=5, high=100, log=True),
        ),
        Hyperparam(
            "l2_regularization",
            "float",
            0.0,
            low=0.0,
            aliases=("reg_lambda", "lambda"),
            search=SearchDimension(kind="float", low=1e-3, high=10, log=True),
        ),
        Hyperparam(
            "max_features",  # share of the encoded columns that a split looks at
            "float",
            1.0,
            low=0.0,
            high=1.0,
            above=True,
            search=SearchDimension(kind="float", low=0.3, high=1.0),
        ),
        Hyperparam("max_bins", "int", 255, low=2, high=255, aliases=("max_bin",)),
        Hyperparam("class_weight", "choice", None, choices=(None, "balanced")),
        Hyperparam("n_jobs", "int", 1, low=1, high=1024, aliases=("nthread",)),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        # It comes with scikit-learn, loads slowly, and ships no types.
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

        model, judged = self._model(stopping), {}
        if valid is not None:
            judged = {"X_val": valid[0], "y_val": valid[1]}
        with threadpool_limits(self.hyperparams["n_jobs"], user_api="openmp"):
            model.fit(_without_empty(M), answers, sample_weight=weights, **judged)
        rounds = model._predictors  # scikit-learn has no public name for the trees
        if stopping is not None:
            rounds = rounds[: max(1, int(np.argmax(model.validation_score_)))]
        self._trees = sum_of_trees(rounds, model._baseline_prediction.reshape(-1))

    def _model(self, stopping: EarlyStopping | None) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # noqa: PLC0415

        given = dict(self.hyperparams)
        del given["n_jobs"]
        settings = {"max_iter": given.pop("n_estimators"), "max_depth": given.pop("max_depth") or None} | given
        settings |= {"early_stopping": stopping is not None, "random_state": self.seed}
        if stopping is not None:
            settings |= {"n_iter_no_change": stopping.patience, "tol": stopping.min_delta, "scoring": "loss"}
        if self.task == "classification":
            return HistGradientBoostingClassifier(**settings)
        if settings.pop("class_weight") is not None:
            raise Incompatible(
                "hyperparameter class_weight of gbm is for classes; leave it out for regression",
                {"hyperparam": "class_weight", "family": "gbm"},
            )
        return HistGradientBoostingRegressor(**settings)


def _without_empty(M: Matrix) -> Matrix:
    """Make columns that are missing in every row constant: scikit-learn 1.9 cannot bin them, and neither are split.

    >>> _without_empty(np.array([[1.0, np.nan]])).tolist()
    [[1.0, 0.0]]
    """
    empty = np.isnan(M).all(axis=0)
    return np.where(empty, 0, M).astype(M.dtype) if empty.any() else M
