"""How a model stands changes made on purpose, with the clean figure on the same rows beside it.

The attack fits the model: exact for linear ones, projected gradient descent where the adapter gives a ``gradient``, and
a search by answers alone for the rest and as a check on the gradient. What may be moved is in ``_reach``.

Two optional methods of an adapter are used where they are there: ``linear_margin() -> (n, width) weights | None`` of
raw scores that are linear in the matrix, and ``gradient(M, answers) -> dLoss/dM``, with ``answers`` as in ``_fit``.

Sources: Carlini et al., *On Evaluating Adversarial Robustness* (2019), and Athalye, Carlini & Wagner (ICML 2018), for
the checks that an attack must pass before its figure is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from contracts.errors import Broken
from contracts.evaluations import Adversarial
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation import _attacks
from mldl_ray.evaluation._reach import Reach
from mldl_ray.evaluation._rows import truth_of
from mldl_ray.evaluation.intervals import effective_rows, of_mean, of_share

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter
    from mldl_ray.adapters.encoder import Matrix

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

EPSILONS = (0.1, 0.25, 0.5)
MOST_ROWS = 300
GRADIENT_ROWS = 150
"""Judged at most where a gradient is followed, which costs many times an answer."""
SECONDS = 3.0
"""Of each search: a family that answers slowly is attacked less, and the record says so."""
LINEAR = frozenset({"lr", "linear"})
"""Families whose raw scores are linear; proven on the rows before it is used."""
SLACK = 0.02
"""Share of rows by which a check on the gradient may differ before it means something."""
_STREAM = 4  # apart from the bootstrap's and the disturbances'


def attack(
    adapter: BaseModelAdapter,
    table: Any,
    y: Any,
    *,
    epsilons: Sequence[float] = EPSILONS,
    sensitive: Collection[str] = (),
    weights: Any = None,
    seed: int = 0,
    rows: int | None = None,
    seconds: float = SECONDS,
    now: Callable[[], float] = time.process_time,
) -> Adversarial | None:
    """Attack a fitted classifier or regression.

    Args:
        adapter: The model.
        table: Rows to judge by, with the columns it takes.
        y: One label or value per row.
        epsilons: Sizes of the largest change of any number, in training deviations.
        sensitive: Columns that are never touched.
        weights: One weight per row, none of them 0.
        seed: Of the sample and the search.
        rows: Judged at most; a larger table is sampled. ``GRADIENT_ROWS`` or ``MOST_ROWS`` by default.
        seconds: Of each search at most.
        now: What ``seconds`` are read from: the processor's time by default, so that a busy machine finds the same.

    Returns:
        None when no column may be moved, or the task has no right answers.

    Raises:
        Incompatible: Rows or labels do not fit the model.
        Broken: The figure under attack is better than the clean one, which no sound attack gives.
    """
    if adapter.task not in ("classification", "regression"):
        return None
    given = to_table(table, adapter.schema.names)
    truth = truth_of(adapter, y, given.num_rows)
    random = np.random.default_rng([seed, _STREAM])
    rows = rows or (GRADIENT_ROWS if _slopes(adapter) else MOST_ROWS)
    kept = np.sort(random.permutation(given.num_rows)[:rows])
    reach = Reach.of(adapter, given, kept, sensitive)
    if not len(reach.movable):
        return None
    mass = np.ones(len(kept)) if weights is None else np.asarray(weights, dtype=np.float64)[kept]
    case = _Case(adapter, reach, truth[kept], mass, tuple(sorted(epsilons)), random, now, seconds)
    return case.judged()


@dataclass
class _Case:
    """One attack: what is attacked, and what was found so far."""

    adapter: BaseModelAdapter
    reach: Reach
    truth: npt.NDArray[Any]
    mass: Doubles
    epsilons: tuple[float, ...]
    random: np.random.Generator
    now: Callable[[], float]
    seconds: float
    deadline: float = 0.0
    queries: int = 0
    stopped: str | None = None
    why: list[str] = field(default_factory=list)

    @property
    def _classes(self) -> bool:
        return self.adapter.task == "classification"

    def judged(self) -> Adversarial:
        """Choose the attack, run it, and check what it says."""
        clean = self._harm(self.reach.at(np.zeros(self.reach.step.shape)), np.arange(len(self.truth)))
        method, exact, worst = self._worst(clean)
        metric = "accuracy" if self._classes else "mae"
        if exact:  # a worst case holds the undisturbed row, so it is worse by itself or the arithmetic is wrong
            check(self._figure(clean), self._figures(worst), higher_is_better=self._classes)
        worst = np.maximum.accumulate(np.maximum(worst, clean), axis=0)  # a larger box holds the smaller one
        figures = self._figures(worst)
        check(self._figure(clean), figures, higher_is_better=self._classes)
        keep = effective_rows(self.mass)
        intervals = {
            f"{eps:g}": of_share(self._figure(harm), keep) if self._classes else of_mean(harm, self.mass)
            for eps, harm in zip(self.epsilons, worst, strict=True)
        }
        return Adversarial(
            method=method,
            exact=exact,
            metric=metric,
            rows=len(self.truth),
            clean=self._figure(clean),
            robust=figures,
            intervals=intervals if len(self.truth) > 1 else {},
            columns=self.reach.columns,
            queries=self.queries,
            gradient_masking=bool(self.why),
            why="; ".join(self.why) or None,
            stopped=self.stopped,
        )

    def _worst(self, clean: Doubles) -> tuple[Literal["closed_form", "pgd", "decision_based"], bool, Doubles]:
        weights = linear_weights(self.adapter, self.reach.start)
        if weights is not None:
            worst = _attacks.closed_form(self.reach, self.truth, weights, self.epsilons, self._harm)
            calibrator = self.adapter.calibrator
            exact = len(weights) == 1 or calibrator is None or calibrator.method in ("none", "temperature")
            return "closed_form", exact, worst
        if not _slopes(self.adapter):
            return "decision_based", False, self._by_answers(clean)
        climbed, cut = self._by_gradient(), self.stopped
        by_answers = self._by_answers(clean)
        if cut is None:  # half a search proves nothing about the gradient
            self.why += masking(self._shares(climbed), self._shares(by_answers), self.epsilons, self._flat())
        return "pgd", False, np.maximum(climbed, by_answers)

    def _by_gradient(self) -> Doubles:
        """Follow the gradient for every size on its own, within the time there is."""
        self.deadline = self.now() + self.seconds
        worst = np.zeros((len(self.epsilons), len(self.truth)))
        enough = 1.0 if self._classes else np.inf
        for place, eps in enumerate(self.epsilons):
            for found in _attacks.projected_gradient(
                self.reach, eps, self._gradient, self._harm, self.random, enough=enough
            ):
                worst[place] = found
                if self._late():
                    return worst
        return worst

    def _flat(self) -> float:
        """Give the share of undisturbed rows where the gradient is exactly 0 on everything that may move."""
        rows = np.arange(len(self.truth))
        slope = self._gradient(self.reach.at(np.zeros(self.reach.step.shape)), rows) * (self.reach.step > 0)
        return float((~slope.any(axis=1)).mean())

    def _by_answers(self, clean: Doubles) -> Doubles:
        """Search without looking inside the model, within the time there is."""
        self.deadline = self.now() + self.seconds
        worst = np.tile(clean, (len(self.epsilons), 1))
        rows = np.flatnonzero(clean == 0) if self._classes else np.arange(len(clean))
        if not len(rows):
            return worst
        for at, place, harm in _attacks.sprinkled(self.reach, rows, self.epsilons, self._harm, self.random):
            worst[place, at] = np.maximum(worst[place, at], harm)
            if self._late():
                return worst
        if self._classes:
            return self._by_rays(rows, worst)
        for place, eps in enumerate(self.epsilons):
            for harm in _attacks.climbed(self.reach, rows, eps, self._harm, self.random):
                worst[place, rows] = np.maximum(worst[place, rows], harm)
                if self._late():
                    return worst
        return worst

    def _by_rays(self, rows: Places, worst: Doubles) -> Doubles:
        nearest = np.full(len(rows), np.inf)
        for found in _attacks.rays(self.reach, rows, self._harm, self.random):
            nearest = found
            if self._late():
                break
        for place, eps in enumerate(self.epsilons):
            worst[place, rows] = np.maximum(worst[place, rows], nearest <= eps)
        return worst

    def _harm(self, matrix: Matrix, rows: Places) -> Doubles:
        self.queries += len(rows)
        if self._classes:
            said = self.adapter.predict_proba_matrix(matrix).argmax(axis=1)
            return np.asarray(said != self.truth[rows], dtype=np.float64)
        return np.asarray(np.abs(self.adapter.predict_matrix(matrix).astype(np.float64) - self.truth[rows]))

    def _gradient(self, matrix: Matrix, rows: Places) -> Doubles:
        self.queries += len(rows)
        return np.asarray(self.adapter.gradient(matrix, self.truth[rows]), dtype=np.float64)  # type: ignore[attr-defined]  # optional; looked for by the caller

    def _figure(self, harm: Doubles) -> float:
        mean = float(np.average(harm, weights=self.mass))
        return 1.0 - mean if self._classes else mean

    def _figures(self, worst: Doubles) -> dict[str, float]:
        return {f"{eps:g}": self._figure(harm) for eps, harm in zip(self.epsilons, worst, strict=True)}

    def _shares(self, worst: Doubles) -> list[float]:
        """Give the figure by eps so that less is a stronger attack; errors in deviations of the target."""
        figures = [self._figure(harm) for harm in worst]
        unit = 1.0 if self._classes else -(float(self.truth.std()) or 1.0)
        return [figure / unit for figure in figures]

    def _late(self) -> bool:
        if self.now() < self.deadline:
            return False
        self.stopped = f"its time was up after {self.queries:,} answers; a longer search may find more"
        return True


def _slopes(adapter: BaseModelAdapter) -> bool:
    return callable(getattr(adapter, "gradient", None))


def linear_weights(adapter: BaseModelAdapter, matrix: Matrix) -> Doubles | None:
    """Give the weights of raw scores that are linear in the matrix, ``(outputs, width)``; None for other models.

    An adapter says so by ``linear_margin()``; the linear families are asked what each column adds, and believed only
    where that explains their scores of these rows.
    """
    told = getattr(adapter, "linear_margin", None)
    if callable(told):
        weights = told()
        return None if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if adapter.family not in LINEAR:
        return None
    units = np.vstack([np.zeros((1, matrix.shape[1])), np.eye(matrix.shape[1])]).astype(matrix.dtype)
    raw = adapter.raw_matrix(units)
    weights = (raw[1:] - raw[0]).T
    real = adapter.raw_matrix(matrix)
    return weights if np.allclose(matrix @ weights.T + raw[0], real, rtol=1e-6, atol=1e-6) else None


def check(clean: float, robust: dict[str, float], *, higher_is_better: bool) -> None:
    """Refuse figures under attack that are better than the clean one.

    Raises:
        Broken: One is.

    >>> check(0.9, {"0.1": 0.8}, higher_is_better=True)
    """
    for eps, figure in robust.items():
        if (figure > clean + 1e-9) if higher_is_better else (figure < clean - 1e-9):
            raise Broken(
                f"under attack of {eps} the figure is {figure:.4f}, better than the clean {clean:.4f}: the attack is "
                "wrong; please report this",
                {"eps": eps, "robust": figure, "clean": clean},
            )


def masking(
    by_gradient: Sequence[float], by_answers: Sequence[float], epsilons: Sequence[float], flat: float
) -> list[str]:
    """Say what makes one doubt the gradient; empty when it passes.

    Args:
        by_gradient: Figure that the gradient's attack leaves, by eps, each attacked on its own; lower is stronger.
        by_answers: The same of the attack by answers alone.
        epsilons: Sizes, rising.
        flat: Share of rows where the gradient is exactly 0 on everything that may move.

    >>> masking([0.9, 0.9], [0.9, 0.4], (0.1, 0.5), 0.0)
    ['at eps 0.5 the search by answers alone reaches 0.400, the gradient only 0.900']
    >>> masking([0.6, 0.2], [0.6, 0.3], (0.1, 0.5), 0.0)
    []
    """
    reasons = []
    for eps, mine, other in zip(epsilons, by_gradient, by_answers, strict=True):
        if other < mine - SLACK:
            reasons.append(
                f"at eps {eps:g} the search by answers alone reaches {abs(other):.3f}, "
                f"the gradient only {abs(mine):.3f}"
            )
    for (small, before), (large, after) in pairwise(zip(epsilons, by_gradient, strict=True)):
        if after > before + SLACK:
            reasons.append(
                f"the gradient reaches {abs(before):.3f} at eps {small:g} and only {abs(after):.3f} at {large:g}"
            )
    if flat > 0.5:
        reasons.append(f"the gradient is exactly 0 at {flat:.0%} of the rows")
    return reasons
