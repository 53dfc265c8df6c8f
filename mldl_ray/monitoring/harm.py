"""How much performance a column's move costs, estimated without labels: so that harmless drift stays quiet. Pure.

Held-out rows have labels, so it is known how much each of them was lost by: 1 or 0 for a class, the distance for a
value. They are put into bins by the column that moved, and each bin is counted as often as live rows fall into it.
Assumption: within a bin, rows are lost as often as before, so only the column's mix changed; ``ASSUMPTION`` says it.
By the score the same is the estimate for all columns at once: answers of a certain confidence are right as often as
they were.

Live rows where no held-out row was (new categories, beyond the range) are estimated by their score alone, and the upper
bound takes all of them for lost as badly as can be: what was never seen is never called harmless.

Sources: Shimodaira, *Improving predictive inference under covariate shift by weighting the log-likelihood function*
(2000), for the weights; Guillory et al., *Predicting with confidence on unseen distributions* (ICCV 2021), for the
score.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from contracts.specs import Json
from mldl_ray.monitoring.estimate import Z
from mldl_ray.monitoring.reference import SCORE, Numbers, Reference, as_numbers, as_words, column_of

TOLERATED = 0.01
"""Loss of accuracy that is no harm."""
TOLERATED_SHARE = 0.05
"""Growth of the mean absolute error of values that is no harm."""
BINS = 20
LEAST_ROWS = 10
"""Held-out rows of a category that stands alone."""
ASSUMPTION = "rows with the same value of the column are lost as often as held-out ones, so that only its mix changed"
_UNSEEN, _MISSING, _RARE = -1, 0, 1


class Harm(NamedTuple):
    """Loss of performance by a move, with a 95% interval: in accuracy (0 to 1) for classes, in the target's unit else.

    ``unseen``: share of the live rows where no held-out row was.
    """

    loss: float
    low: float
    high: float
    unseen: float

    def evidence(self) -> Json:
        """Give it as JSON values."""
        return {
            "estimated_loss": self.loss,
            "loss_low": self.low,
            "loss_high": self.high,
            "unseen_share": self.unseen,
        }


def harm(reference: Reference, window: pa.Table, name: str) -> Harm | None:
    """Estimate what the move of one column costs; None when held-out rows came without labels.

    Args:
        reference: The version's held-out rows, with their losses.
        window: Live rows.
        name: The column as telemetry has it; ``score`` for all columns at once.
    """
    losses = reference.losses
    if losses is None or name not in reference.columns or not window.num_rows:
        return None
    then, now, bins = _binned(reference, window, name)
    known = np.isfinite(losses)
    then, losses = then[known], losses[known]
    held_out = np.bincount(then, minlength=bins).astype(float)
    means = np.bincount(then, weights=losses, minlength=bins) / np.maximum(held_out, 1)
    unseen = (now == _UNSEEN) | (held_out[now] == 0)
    live = np.bincount(now[~unseen], minlength=bins) / len(now)
    share = float(unseen.mean())
    guessed = _by_score(reference, window, losses, known)[unseen] if share else np.zeros(0)
    loss = float(live @ means + guessed.sum() / len(now) - losses.mean())
    moved = live - held_out / len(losses)
    of_bins = float((moved**2 / np.maximum(held_out, 1)).sum() * losses.var())
    of_rows = float(live @ (means - live @ means) ** 2) / len(now)
    half = Z * math.sqrt(of_bins + of_rows)
    worst = share * float(losses.max()) - guessed.sum() / len(now)
    return Harm(loss, loss - half, loss + half + max(0.0, float(worst)), share)


def tolerated(reference: Reference) -> float:
    """Give the loss that is no harm, in the unit of the losses."""
    if not reference.values or reference.losses is None:
        return TOLERATED
    return TOLERATED_SHARE * float(np.nanmean(reference.losses))


def _binned(reference: Reference, window: pa.Table, name: str) -> tuple[Any, Any, int]:
    """Give the bins of held-out and of live rows, and how many bins there are."""
    live = column_of(window, name)
    column = reference.columns[name]
    if isinstance(column, Numbers):
        edges = _edges(column.values)
        return _of_numbers(as_numbers(reference.table[name]), edges), _of_numbers(as_numbers(live), edges), BINS + 2
    frequent = [word for word, count in column.counts.items() if count >= LEAST_ROWS]
    place = dict.fromkeys(column.counts, _RARE) | {word: i + 2 for i, word in enumerate(sorted(frequent))}
    then, now = (_of_words(as_words(one), place) for one in (reference.table[name], live))
    return then, now, len(frequent) + 2


def _edges(values: Any) -> Any:
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1), method="lower")) if len(values) else values


def _of_numbers(values: Any, edges: Any) -> Any:
    if not len(edges):
        return np.where(np.isnan(values), _MISSING, _UNSEEN)
    bins = np.clip(np.searchsorted(edges, values, side="right"), 1, max(1, len(edges) - 1))
    inside = (values >= edges[0]) & (values <= edges[-1])
    return np.where(np.isnan(values), _MISSING, np.where(inside, bins, _UNSEEN)).astype(np.int64)


def _of_words(words: list[str | None], place: dict[str, int]) -> Any:
    return np.array([_MISSING if word is None else place.get(word, _UNSEEN) for word in words], dtype=np.int64)


def _by_score(reference: Reference, window: pa.Table, losses: Any, known: Any) -> Any:
    """Guess the loss of each live row by how much held-out rows of about its score were lost by."""
    mean = float(losses.mean())
    if SCORE not in reference.columns:
        return np.full(window.num_rows, mean)
    then, now, bins = _binned(reference, window, SCORE)
    rows = np.bincount(then[known], minlength=bins)
    means = np.where(rows > 0, np.bincount(then[known], weights=losses, minlength=bins) / np.maximum(rows, 1), mean)
    return np.where(now == _UNSEEN, mean, means[now])
