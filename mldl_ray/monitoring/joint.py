"""Whether rows moved together although no column did alone: maximum mean discrepancy with a permutation test. Pure.

Rows are encoded column by column (numbers by their rank among both samples, categories one-hot), so that no unit and no
outlier decides. The kernel is Gaussian, its width the median distance. A permutation test is exact whatever the kernel.
It cannot say less than ``1 / (PERMUTATIONS + 1)``, so it runs when the budget saved for it since the last time allows
that much: seldom where windows are short. Where the model has a representation of its own (the last hidden layer of a
network), rows are compared in that too: embeddings move where no column does. Which columns moved is told by a
classifier that has to tell live rows from held-out ones, on rows that it did not learn from.

Sources: Gretton et al., *A kernel two-sample test* (JMLR 2012); Lopez-Paz & Oquab, *Revisiting classifier two-sample
tests* (ICLR 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from contracts.telemetry import FEATURE
from mldl_ray.monitoring.reference import Numbers, Reference, as_numbers, as_words, column_of

MOST_ROWS = 1_000
"""Of either sample; the cost is quadratic."""
LEAST_ROWS = 50
PERMUTATIONS = 499
LEAST_ALPHA = 0.025
"""The budget that must have been saved for a test: twenty a month at one false alarm a month."""
MOST_WORDS = 20
NAMED = 3
Represent = Callable[[pa.Table, pa.Table], Any]
"""From held-out and live rows in the telemetry's columns to one matrix, a line per row; None where it cannot."""


class Joint(NamedTuple):
    """How the rows compare as a whole.

    ``columns``: that tell live from held-out rows, the best first. ``width``: of the model's own representation of the
    rows; None where they were compared without one.
    """

    distance: float
    p: float
    columns: tuple[str, ...]
    rows: int
    width: int | None = None


def compare_jointly(
    reference: Reference, window: pa.Table, alpha: float, seed: int = 0, represent: Represent | None = None
) -> Joint | None:
    """Compare rows, each as a whole; None when there are too few, or no columns.

    Args:
        reference: The version's held-out rows.
        window: Live rows.
        alpha: The columns are named only when p reaches it, because that costs more than the test.
        seed: Of the rows drawn and the permutations.
        represent: Gives the model's own representation of rows; distances in it count as much as those of the columns.
    """
    random = np.random.default_rng(seed)
    then, now = _drawn(reference.sample, random), _drawn(window, random)
    names = [name for name in reference.columns if name.startswith(FEATURE)]
    if min(then.num_rows, now.num_rows) < LEAST_ROWS or not names:
        return None
    blocks = [_encoded(reference, name, then, now) for name in names]
    live = np.arange(then.num_rows + now.num_rows) >= then.num_rows
    kernel = _kernel(np.hstack(blocks))
    inner = None if represent is None else represent(then, now)
    if inner is not None:  # the mean of two kernels is one, and the permutation test is exact with any
        kernel = (kernel + _kernel(_standardised(inner))) / 2
    distance, p = _permuted(kernel, live, random)
    columns = _telling(names, blocks, live, random) if p <= alpha else ()
    return Joint(distance, p, columns, now.num_rows, None if inner is None else inner.shape[1])


def _drawn(table: pa.Table, random: np.random.Generator) -> pa.Table:
    return table if table.num_rows <= MOST_ROWS else table.take(random.permutation(table.num_rows)[:MOST_ROWS])


def _encoded(reference: Reference, name: str, then: pa.Table, now: pa.Table) -> Any:
    """Give the column of both samples as numbers, each about as important as another's. Both samples count alike."""
    columns = [column_of(table, name) for table in (then, now)]
    if isinstance(reference.columns[name], Numbers):
        values = np.concatenate([as_numbers(column) for column in columns])
        missing = np.isnan(values)
        ranks = rankdata(np.where(missing, np.inf, values)) / len(values)
        return np.column_stack([np.where(missing, 0.5, ranks), missing]).astype(np.float64)
    words = np.array([word or "" for column in columns for word in as_words(column)], dtype=object)
    known, counts = np.unique(words.astype(str), return_counts=True)
    frequent = known[np.argsort(-counts, kind="stable")[:MOST_WORDS]]
    return (words.astype(str)[:, None] == frequent[None, :]) / np.sqrt(2)


def _standardised(inner: Any) -> Any:
    """Scale by what both samples show, so that they count alike; what does not vary is left out by its zeros."""
    spread = inner.std(axis=0)
    return (inner - inner.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _kernel(X: Any) -> Any:
    squares = (X**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * X @ X.T, 0.0)
    width = float(np.median(distances)) or 1.0
    return np.exp(-distances / width)


def _permuted(K: Any, live: Any, random: np.random.Generator) -> tuple[float, float]:
    """Give the squared distance (biased, V-statistic) and the share of permutations that reach it, itself included."""
    sides = np.where(live, 1 / live.sum(), -1 / (~live).sum())
    draws = np.stack([sides, *(random.permutation(sides) for _ in range(PERMUTATIONS))], axis=1)
    found = np.einsum("ij,ij->j", draws, K @ draws)
    return float(found[0]), float((found >= found[0] - 1e-12).mean())


def _telling(names: list[str], blocks: list[Any], live: Any, random: np.random.Generator) -> tuple[str, ...]:
    """Name the columns without which a domain classifier is worse on rows that it has not seen."""
    taught = random.random(len(live)) < 0.5
    model = HistGradientBoostingClassifier(max_iter=40, max_depth=3, early_stopping=False, random_state=0)
    model.fit(np.hstack(blocks)[taught], live[taught])
    unseen = [block[~taught] for block in blocks]

    def auc(parts: list[Any]) -> float:
        return float(roc_auc_score(live[~taught], model.predict_proba(np.hstack(parts))[:, 1]))

    best, order = auc(unseen), random.permutation(int((~taught).sum()))
    lost = [best - auc([*unseen[:i], unseen[i][order], *unseen[i + 1 :]]) for i in range(len(unseen))]
    ranked = sorted(zip(lost, names, strict=True), reverse=True)[:NAMED]
    return tuple(name.removeprefix(FEATURE) for loss, name in ranked if loss > 0.01)
