"""Naive Bayes (``naive_bayes``) on mixed columns: each column speaks for itself, and what they say is added up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import BaseModelAdapter, Capabilities
from mldl_ray.adapters.bayes_graph import bayes_graph
from mldl_ray.adapters.bayes_terms import Bins, Curve, Term, term_from_json
from mldl_ray.adapters.encoder import Matrix, block_width
from mldl_ray.adapters.files import read_json, write_json
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles

FILE = "model.json"


class NaiveBayesAdapter(BaseModelAdapter):
    """Log-odds (several classes: log-probabilities) as a sum of one term per column.

    Categories and booleans: how often each class has the value. Numbers: ``binned``, how often each class falls into a
    bin that holds about as many training rows as any other, a value that is frequent of its own being a bin of its own;
    or ``gaussian``, a normal density per class, held beyond the training range at its value there. A missing number is
    a bin too when it was missing in training; otherwise it says nothing, like a category never seen.

    Columns that say the same are counted twice, so the probabilities are too sure of themselves before a calibrator
    has learned what they are worth, which training does by default.

    Source:
        Bins against normal densities: Dougherty, Kohavi & Sahami (ICML 1995).
    """

    family: ClassVar[str] = "naive_bayes"
    capabilities: ClassVar[Capabilities] = Capabilities(tasks=frozenset({"classification"}), style="plain")
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "numbers",
            "choice",
            "binned",
            choices=("binned", "gaussian"),
            search=SearchDimension(kind="categorical", choices=("binned", "gaussian")),
            grid=("binned", "gaussian"),
        ),
        Hyperparam(
            "bins",
            "int",
            20,
            low=2,
            high=256,
            search=SearchDimension(kind="int", low=4, high=64, log=True),
            grid=(5, 10, 20, 40),
        ),
        Hyperparam(
            "alpha",
            "float",
            1.0,
            low=0.0,
            above=True,
            search=SearchDimension(kind="float", low=1e-2, high=1e2, log=True),
        ),
        Hyperparam("var_smoothing", "float", 1e-3, low=1e-12),
    )

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        alpha, k, left = self.hyperparams["alpha"], len(self.classes), len(self.encoder.numbers)
        member = np.zeros((len(M), k))
        member[np.arange(len(M)), answers] = 1.0 if weights is None else weights
        self._prior = self._against(_log_shares(member.sum(axis=0), alpha))
        kinds = [column.kind for column in self.encoder.numbers]
        columns = np.asarray(M[:, :left], dtype=np.float64).T
        self._terms = [self._term(kind, x, member) for kind, x in zip(kinds, columns, strict=True)]
        means = [term.of(x).mean(axis=0) for term, x in zip(self._terms, columns, strict=True)]
        self._means = np.array(means).reshape(left, self.outputs)
        self._blocks = np.zeros((self.encoder.width - left, self.outputs))
        for column, start in self.encoder.blocks:
            block = slice(start, start + block_width(column))
            counts = M[:, block].astype(np.float64).T @ member
            self._blocks[start - left : block.stop - left] = self._against(_log_shares(counts, alpha))

    def _term(self, kind: str, x: Doubles, member: Doubles) -> Term:
        if self.hyperparams["numbers"] == "gaussian" and kind != "boolean":
            return Curve.fit(x, member, self.hyperparams["var_smoothing"], self._against)
        alpha = self.hyperparams["alpha"]
        return Bins.fit(x, member, self.hyperparams["bins"], lambda counts: self._against(_log_shares(counts, alpha)))

    def _against(self, logs: Doubles) -> Doubles:
        """Give what is added to the raw scores: of two classes, the second's against the first's."""
        return np.asarray(logs[..., 1:] - logs[..., :1] if len(self.classes) == 2 else logs)

    def _by_column(self, M: Matrix) -> Doubles:
        """Give each number column's term for each row; shape ``(n, numbers, outputs)``."""
        by_column = np.empty((len(M), len(self._terms), self.outputs))
        for j, term in enumerate(self._terms):
            by_column[:, j] = term.of(M[:, j].astype(np.float64))
        return by_column

    def _raw(self, M: Matrix) -> Doubles:
        blocks = M[:, len(self._terms) :].astype(np.float64)
        return np.asarray(self._by_column(M).sum(axis=1) + blocks @ self._blocks + self._prior)

    def _contributions(self, M: Matrix) -> tuple[Doubles, Doubles]:
        """Exact: the score is a sum; each term is taken against its mean in training."""
        left = len(self._terms)
        centre = self.encoder.centre[left:]
        values = np.empty((*M.shape, self.outputs))
        values[:, :left] = self._by_column(M) - self._means
        values[:, left:] = (M[:, left:].astype(np.float64) - centre)[:, :, None] * self._blocks
        return values, self._prior + self._means.sum(axis=0) + centre @ self._blocks

    def _save(self, folder: Path) -> None:
        document = {
            "prior": self._prior.tolist(),
            "terms": [term.to_json() for term in self._terms],
            "means": self._means.tolist(),
            "blocks": self._blocks.tolist(),
        }
        write_json(folder / FILE, document)

    def _load(self, folder: Path) -> None:
        path, left, outputs = folder / FILE, len(self.encoder.numbers), self.outputs
        document = read_json(path)
        try:
            self._terms = [term_from_json(term, outputs) for term in document["terms"]]
            self._prior = np.array(document["prior"], dtype=np.float64)
            self._means = np.array(document["means"], dtype=np.float64).reshape(left, outputs)
            self._blocks = np.array(document["blocks"], dtype=np.float64).reshape(self.encoder.width - left, outputs)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise Broken(f"{path} is damaged: {type(error).__name__}: {error}") from error
        finite = all(np.isfinite(array).all() for array in (self._prior, self._means, self._blocks))
        if len(self._terms) != left or self._prior.shape != (outputs,) or not finite:
            raise Broken(f"{path} does not fit the adapter's columns and classes")

    def graph(self) -> bytes:
        """Write the sum as a graph in double precision."""
        return bayes_graph(self._terms, self._blocks, self._prior)


def _log_shares(counts: Doubles, alpha: float) -> Doubles:
    """Give the logarithm of each value's share in each class, ``alpha`` rows of every value being imagined.

    Args:
        counts: Rows by value and class, ``(values, classes)``, or by class alone.
        alpha: Above 0, so that nothing is impossible.
    """
    smoothed = counts + alpha
    return np.asarray(np.log(smoothed) - np.log(smoothed.sum(axis=0)))
