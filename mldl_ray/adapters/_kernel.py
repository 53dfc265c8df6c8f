"""Support vector machines: classification (``svm``) and regression (``svr``), by scikit-learn's libsvm.

What they learn is a sum over support vectors (``kernel_sum``), which is all that is kept.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters._regression import standardised
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.kernel_sum import KernelSum, LinearSum
from mldl_ray.adapters.links import Doubles

log = logging.getLogger(__name__)

FILE = "model.npz"
_CACHE_MB = 200


def _shared(c: float, gamma: float) -> tuple[Hyperparam, ...]:
    """Give the settings of both families, with their defaults of ``C`` and ``gamma``."""
    return (
        Hyperparam(
            "C",
            "float",
            c,
            low=0.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-2, high=1e3, log=True),
            grid=(0.1, 1.0, 10.0, 100.0),
        ),
        Hyperparam(
            "gamma",
            "float",
            gamma,
            low=0.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-2, high=1e1, log=True, when={"kernel": ("rbf",)}),
            grid=(0.1, 0.3, 1.0, 3.0),
        ),
        Hyperparam("kernel", "choice", "rbf", choices=("rbf", "linear")),
        Hyperparam("tol", "float", 1e-3, low=0.0, above=True),
        Hyperparam("max_iter", "int", 1_000_000, low=1),
        Hyperparam("max_rows", "int", 10_000, low=2, high=100_000),
    )


class KernelAdapter(BaseModelAdapter):
    """A family that learns a kernel sum. ``gamma`` is in units of 1 / (the total variance of the encoded columns)."""

    _sum: KernelSum | LinearSum

    def _raw(self, M: Matrix) -> Doubles:
        return self._sum.raw(M)

    def _save(self, folder: Path) -> None:
        self._sum.write(folder / FILE)

    def _load(self, folder: Path) -> None:
        kind = LinearSum if self.hyperparams["kernel"] == "linear" else KernelSum
        self._sum = kind.read(folder / FILE, self.encoder.width, self.outputs)

    def graph(self) -> bytes:
        """Write the sum as a graph in double precision."""
        return self._sum.graph()

    def _machine(self, M: Matrix) -> dict[str, Any]:
        chosen, variance = self.hyperparams, float(M.var(axis=0).sum())
        return {
            "C": chosen["C"],
            "kernel": chosen["kernel"],
            "gamma": chosen["gamma"] / (variance if variance > 0 else 1.0),
            "tol": chosen["tol"],
            "max_iter": chosen["max_iter"],
            "cache_size": _CACHE_MB,
        }

    def _combine(self, machines: list[Any], M: Matrix, scale: float = 1.0, shift: float = 0.0) -> KernelSum | LinearSum:
        """Fold the machines, one per output, into one sum over all rows that any of them keeps."""
        intercept = np.array([float(machine.intercept_[0]) * scale + shift for machine in machines])
        dual = np.zeros((len(M), len(machines)))
        for output, machine in enumerate(machines):
            dual[machine.support_, output] = machine.dual_coef_[0] * scale
        kept = np.flatnonzero(dual.any(axis=1))
        if self.hyperparams["kernel"] == "linear":
            return LinearSum(np.ascontiguousarray(dual[kept].T @ M[kept]), intercept)
        if len(kept) == 0:  # every row lies within epsilon: a constant
            kept = np.array([0])
        return KernelSum(np.asarray(M[kept], dtype=np.float64), dual[kept], intercept, np.array([machines[0].gamma]))

    def _drawn(self, answers: npt.NDArray[Any], weights: Doubles | None) -> npt.NDArray[np.int64]:
        """Choose the rows to learn from: those with weight, at most ``max_rows``, and some of every class."""
        rows = np.arange(len(answers)) if weights is None else np.flatnonzero(weights > 0)
        if self.task == "classification" and len(np.unique(answers[rows])) < len(self.classes):
            raise Incompatible("sample_weight is 0 in every row of a class; give each class a row with weight")
        most = self.hyperparams["max_rows"]
        if len(rows) <= most:
            return rows
        log.warning("%s of %s learns from %d of %d rows, drawn with seed %d: its time grows with their square; "
                    "raise max_rows for more", self.family, self.model_key, most, len(rows), self.seed)  # fmt: skip
        rows = np.random.default_rng(self.seed).permutation(rows)
        if self.task == "classification":
            firsts = np.unique(answers[rows], return_index=True)[1]
            rows = np.concatenate([rows[firsts], np.delete(rows, firsts)])
        return np.sort(rows[: max(most, len(self.classes))])

    @contextmanager
    def _logged(self) -> Iterator[None]:
        """Say in the log, once, when a machine stopped before it converged."""
        from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415  # scikit-learn loads when first used

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            yield
        if caught:
            log.warning("%s of %s: %s", self.family, self.model_key, str(caught[0].message).splitlines()[0])


class SVMAdapter(KernelAdapter):
    """Margins by support vector machines; several classes: one machine each, against the rest.

    A margin is no log-odds: its probabilities rank rows well and say little more before a calibrator has learned what
    they are worth, which training does by default.
    """

    family: ClassVar[str] = "svm"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification"}), style="scaled", explain="sampled"
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        *_shared(3.0, 1.0),
        Hyperparam("class_weight", "choice", None, choices=(None, "balanced")),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from sklearn.svm import SVC  # noqa: PLC0415  # as above

        rows = self._drawn(answers, weights)
        M, answers, weights = M[rows], answers[rows], None if weights is None else weights[rows]
        settings = self._machine(M) | {"class_weight": self.hyperparams["class_weight"]}
        positives = [1] if len(self.classes) == 2 else range(len(self.classes))
        with self._logged():
            machines = [SVC(**settings).fit(M, answers == c, sample_weight=weights) for c in positives]
        self._sum = self._combine(machines, M)


class SVRAdapter(KernelAdapter):
    """Values within ``epsilon`` deviations of the target cost nothing. The target is centred and scaled to learn."""

    family: ClassVar[str] = "svr"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"regression"}), style="scaled", probabilities=False, explain="sampled"
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        *_shared(1.0, 0.1),
        Hyperparam(
            "epsilon",
            "float",
            0.1,
            low=0.0,
            search=SearchDimension(kind="float", low=1e-2, high=1.0, log=True),
        ),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        from sklearn.svm import SVR  # noqa: PLC0415  # as above

        rows = self._drawn(answers, weights)
        M, answers, weights = M[rows], answers[rows], None if weights is None else weights[rows]
        values, mean, deviation = standardised(answers, weights)
        settings = self._machine(M) | {"epsilon": self.hyperparams["epsilon"]}
        with self._logged():
            machine = SVR(**settings).fit(M, values, sample_weight=weights)
        self._sum = self._combine([machine], M, deviation, mean)
