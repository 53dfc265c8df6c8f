"""Linear regression (``linear``): ridge, lasso, elastic net, or no penalty."""

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
PENALTIES = ("ridge", "lasso", "elastic_net", "none")


class LinearAdapter(BaseModelAdapter):
    """A line through scaled columns: the mean squared error, halved, plus ``alpha`` times the penalty, is least.

    The target is centred and scaled while learning, so one ``alpha`` means the same for any number of rows and any unit
    of the target. ``l1_ratio`` is the elastic net's share of the lasso; the others ignore it.
    """

    family: ClassVar[str] = "linear"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"regression"}), style="scaled", probabilities=False
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "penalty",
            "choice",
            "ridge",
            choices=PENALTIES,
            search=SearchDimension(kind="categorical", choices=("ridge", "lasso", "elastic_net")),
            grid=("ridge", "lasso"),
        ),
        Hyperparam(
            "alpha",
            "float",
            0.03,
            low=0.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-5, high=1.0, log=True),
            grid=(0.0001, 0.001, 0.01, 0.03, 0.1, 0.3),
        ),
        Hyperparam(
            "l1_ratio",
            "float",
            0.5,
            low=0.0,
            high=1.0,
            search=SearchDimension(kind="float", low=0.05, high=0.95, when={"penalty": ("elastic_net",)}),
        ),
        Hyperparam("max_iter", "int", 5000, low=1),
        Hyperparam("tol", "float", 1e-5, low=0.0, above=True),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from scipy.linalg import LinAlgWarning  # noqa: PLC0415  # scikit-learn and scipy load when first used
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415

        values, mean, deviation = standardised(answers, weights)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            for category in (ConvergenceWarning, LinAlgWarning):
                warnings.simplefilter("always", category)
            model = self._estimator(len(M) if weights is None else float(weights.sum()))
            model.fit(M, values, sample_weight=weights)
        for warning in caught:
            log.warning("linear of %s: %s", self.model_key, str(warning.message).splitlines()[0])
        self._coef = np.asarray(model.coef_, dtype=np.float64).reshape(1, -1) * deviation
        self._intercept = np.array([float(model.intercept_) * deviation + mean])

    def _estimator(self, mass: float) -> Any:
        """Choose by penalty; scikit-learn's ridge counts its penalty once for all rows, the others once per row."""
        from sklearn.linear_model import ElasticNet, LinearRegression, Ridge  # noqa: PLC0415  # as above

        chosen = self.hyperparams
        if chosen["penalty"] == "none":
            return LinearRegression()
        if chosen["penalty"] == "ridge":
            return Ridge(alpha=chosen["alpha"] * mass)
        ratio = 1.0 if chosen["penalty"] == "lasso" else chosen["l1_ratio"]
        return ElasticNet(alpha=chosen["alpha"], l1_ratio=ratio, max_iter=chosen["max_iter"], tol=chosen["tol"])

    def _raw(self, M: Matrix) -> Doubles:
        return np.asarray(M @ self._coef.T + self._intercept)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact: the value is a sum; each term is taken against its mean in training."""
        coef, centre = self._coef, self.encoder.centre
        return (M - centre)[:, :, None] * coef.T[None], coef @ centre + self._intercept

    def _save(self, folder: Path) -> None:
        write_arrays(folder / FILE, coef=self._coef, intercept=self._intercept)

    def _load(self, folder: Path) -> None:
        shapes = {"coef": (1, self.encoder.width), "intercept": (1,)}
        found = read_arrays(folder / FILE, {name: (np.float64, shape) for name, shape in shapes.items()})
        self._coef, self._intercept = found["coef"], found["intercept"]

    def graph(self) -> bytes:
        """Write the line as a graph in double precision."""
        return linear_graph(self._coef, self._intercept)


def standardised(values: Doubles, weights: Doubles | None) -> tuple[Doubles, float, float]:
    """Centre and scale a target; give it with the mean and the deviation that it had (1 where it does not vary).

    >>> values, mean, deviation = standardised(np.array([1.0, 3.0]), None)
    >>> values.tolist(), mean, deviation
    ([-1.0, 1.0], 2.0, 1.0)
    """
    mean = float(np.average(values, weights=weights))
    deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
    return (values - mean) / (deviation or 1.0), mean, deviation or 1.0
