"""Judging models that make rows: can made rows be told from real ones, and is nothing missing among them?

Both figures look at rows that training has not seen, and at as many made ones. Neither likes a model for repeating its
training rows; that is not measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.errors import Incompatible
from contracts.evaluations import Evaluation, Interval
from mldl_ray.adapters.table import to_table
from mldl_ray.evaluation._bootstrap import Resamples
from mldl_ray.evaluation._rows import Rows
from mldl_ray.evaluation.metrics import Metric, metrics_of, value_of

if TYPE_CHECKING:
    from mldl_ray.adapters.encoder import Encoder

Doubles = npt.NDArray[np.float64]

MODES = 10
"""Groups that the real rows are divided into, to see which of them are made too."""
MOST_ROWS = 5_000
_FOLDS = 3
LEAST_ROWS = 40


class Generator(Protocol):
    """What is judged here: a fitted model that makes rows."""

    task: Any

    @property
    def encoder(self) -> Encoder:
        """Its preprocessing, by which made and real rows are compared."""
        ...

    def sample(self, n: int, seed: int = 0) -> pa.Table:
        """Make rows."""
        ...


class Made(NamedTuple):
    """Real rows, then as many made ones, as numbers; ``real`` says which."""

    points: Doubles
    real: npt.NDArray[np.int64]

    @classmethod
    def of(cls, model: Generator, real: Any, seed: int) -> Made:
        """Take real encoded rows, make as many, and fill what is missing.

        Raises:
            Incompatible: Too few real rows to tell anything by.
        """
        if len(real) < LEAST_ROWS:
            raise Incompatible(f"{len(real)} rows are too few to judge made ones by; give at least {LEAST_ROWS}")
        real = real[:MOST_ROWS]
        made = model.encoder.transform(model.sample(len(real), seed))
        points = np.concatenate([real, made]).astype(np.float64)
        return cls(
            np.where(np.isnan(points), model.encoder.centre, points),
            np.repeat(np.array([1, 0]), [len(real), len(made)]),
        )


def evaluate_generated(
    model: Generator,
    table: Any,
    *,
    model_key: str,
    version: str | None = None,
    dataset_digest: str | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    created_at: str,
    evaluation_id: str,
) -> Evaluation:
    """Judge a fitted generator by real rows that it has not seen.

    Args:
        model: Makes rows.
        table: Real rows with the columns that it makes.
        model_key: Whose model this is.
        version: Of it, once registered.
        dataset_digest: Of the data that the rows come from.
        metrics: ``realism``, ``coverage``; both when none is named.
        seed: Of the made rows, the classifier that looks for them, and the bootstrap.
        created_at: When, ISO 8601.
        evaluation_id: Its name.

    Raises:
        Incompatible: Too few rows, columns that the model does not make, or an unknown metric.
    """
    given = to_table(table, model.encoder.schema.names)
    made = Made.of(model, model.encoder.transform(given), seed)
    found: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for metric in metrics_of("generation", tuple(metrics)):
        rows = _LOOKS[metric.name](made, seed)
        found[metric.name] = value_of(metric, rows)
        if interval := _interval(metric, rows, found[metric.name], seed):
            intervals[metric.name] = interval
    return Evaluation(
        evaluation_id=evaluation_id,
        model_key=model_key,
        version=version,
        dataset_digest=dataset_digest,
        rows=given.num_rows,
        metrics=found,
        intervals=intervals,
        left_out={f"{name} interval": "no resample moves it" for name in found if name not in intervals},
        created_at=created_at,
    )


def figure_of_generated(model: Generator, M: Any, metric: str, *, seed: int = 0) -> float:
    """Judge a fitted generator by one figure on real encoded rows, as a search does.

    Raises:
        Incompatible: Too few rows, or an unknown metric.
    """
    (known,) = metrics_of("generation", (metric,))
    return value_of(known, _LOOKS[known.name](Made.of(model, M, seed), seed))


def _told_apart(made: Made, seed: int) -> Rows:
    """Have a classifier guess, out of fold, which rows are real."""
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  # scikit-learn loads when first used
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415  # as above

    judge = RandomForestClassifier(100, min_samples_leaf=3, random_state=seed)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    said = cross_val_predict(judge, made.points, made.real, cv=folds, method="predict_proba")
    return Rows(made.real, said, np.ones(len(said)))


def _grouped(made: Made, seed: int) -> Rows:
    """Divide the real rows into groups, and say which of them each row, real or made, belongs to."""
    from sklearn.cluster import KMeans  # noqa: PLC0415  # as above

    real = made.points[made.real == 1]
    groups = KMeans(min(MODES, len(real) // 4), n_init=3, random_state=seed).fit(real)
    return Rows(made.real, np.asarray(groups.predict(made.points)), np.ones(len(made.real)))


_LOOKS = {"realism": _told_apart, "coverage": _grouped}


def _interval(metric: Metric, rows: Rows, value: float, seed: int) -> Interval | None:
    draws = Resamples.draw(rows.truth, seed)
    drawn = draws.figures(lambda kept, mass: metric.figure(rows.truth[kept], rows.said[kept], mass), rows.mass)
    return draws.interval(value, drawn, metric.low, metric.high)
