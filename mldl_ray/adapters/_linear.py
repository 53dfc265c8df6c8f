"""Logistic regression (``lr``), two classes or more."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.arrays import read_arrays, write_arrays
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.graphs import linear_graph
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles

log = logging.getLogger(__name__)

FILE = "model.npz"
_NEWTON_WIDTH = 200  # Newton solves a width² system per step: far fewer steps than lbfgs, but cubic in the width


class LogisticRegressionAdapter(BaseModelAdapter):
    """Linear margins on scaled columns; probabilities by the logistic function."""

    family: ClassVar[str] = "lr"
    capabilities: ClassVar[Capabilities] = Capabilities(tasks=frozenset({"classification"}), style="scaled")
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "C",
            "float",
            1.0,
            low=0.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-4, high=1e2, log=True),
            grid=(0.001, 0.01, 0.1, 1.0, 10.0),
        ),
        Hyperparam("class_weight", "choice", None, choices=(None, "balanced")),
        Hyperparam("fit_intercept", "bool", True),
        Hyperparam("l1_ratio", "float", 0.0, low=0.0, high=1.0),
        Hyperparam("solver", "choice", "auto", choices=("auto", "lbfgs", "newton-cholesky", "saga")),
        Hyperparam("max_iter", "int", 1000, low=1),
        Hyperparam("tol", "float", 1e-4, low=0.0, above=True),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from scipy.linalg import LinAlgWarning  # noqa: PLC0415  # scikit-learn and scipy load when first used
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        settings = self.hyperparams | {"solver": self._solver(M.shape[1])}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            for category in (ConvergenceWarning, LinAlgWarning):
                warnings.simplefilter("always", category)
            model = LogisticRegression(**settings, random_state=self.seed).fit(M, answers, sample_weight=weights)
        for warning in caught:
            log.warning("lr of %s: %s", self.model_key, str(warning.message).splitlines()[0])
        intercept = np.zeros(self.outputs) + model.intercept_  # a plain 0.0 when none is fitted
        self._coef, self._intercept = np.asarray(model.coef_, dtype=np.float64), intercept

    def _solver(self, width: int) -> str:
        """Choose by penalty and width: only saga knows l1, and Newton is the fastest while its system is small."""
        if self.hyperparams["solver"] != "auto":
            return str(self.hyperparams["solver"])
        if self.hyperparams["l1_ratio"] > 0:
            return "saga"
        return "newton-cholesky" if width * self.outputs <= _NEWTON_WIDTH else "lbfgs"

    def _raw(self, M: Matrix) -> Doubles:
        return np.asarray(M @ self._coef.T + self._intercept)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact: a linear margin is a sum; each term is taken against its mean in training."""
        coef, centre = self._coef, self.encoder.centre
        return (M - centre)[:, :, None] * coef.T[None], coef @ centre + self._intercept

    def _save(self, folder: Path) -> None:
        write_arrays(folder / FILE, coef=self._coef, intercept=self._intercept)

    def _load(self, folder: Path) -> None:
        shapes = {"coef": (self.outputs, self.encoder.width), "intercept": (self.outputs,)}
        found = read_arrays(folder / FILE, {name: (np.float64, shape) for name, shape in shapes.items()})
        self._coef, self._intercept = found["coef"], found["intercept"]

    def graph(self) -> bytes:
        """Write the margins as a graph in double precision."""
        return linear_graph(self._coef, self._intercept)
