"""How much worse a model gets when its inputs are disturbed, with the clean figure always beside it.

Two disturbances that happen in production: numbers measured with noise, and values that do not arrive. Not here:
attacks by someone who knows the model (``adversarial``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from contracts.evaluations import Robustness
from mldl_ray.adapters.schema import plain
from mldl_ray.adapters.table import numbers, to_table
from mldl_ray.evaluation import _figures
from mldl_ray.evaluation._reach import deviation
from mldl_ray.evaluation._rows import Rows, rows_of, said_of, truth_of
from mldl_ray.evaluation.metrics import metrics_of, score

if TYPE_CHECKING:
    from mldl_ray.adapters.base import BaseModelAdapter

Doubles = npt.NDArray[np.float64]

SIGMAS = (0.1, 0.25, 0.5)
SENSITIVITY_SIGMA = 0.25
KNOCKED_OUT = (0.1, 0.3)
"""Shares of all values that are made missing."""

_NOISE, _HOLES = 2, 3
"""Streams apart from the bootstrap's and from a caller's own ``default_rng(seed)``, which [seed, 0] would repeat."""


def noise_robustness(
    adapter: BaseModelAdapter,
    table: Any,
    y: Any,
    metric: str,
    sigmas: Sequence[float] = SIGMAS,
    seed: int = 0,
    *,
    weights: Any = None,
) -> Robustness:
    """Judge a model on disturbed rows.

    Gaussian noise is added to the numeric columns, scaled by each column's deviation in training; a family that does
    not keep those (trees leave numbers as they are) gets the deviation of the judged rows, which estimates them. The
    same draws serve every sigma and every share, so that the scores differ by the size of the disturbance alone.

    Args:
        adapter: A fitted model.
        table: Rows to judge by, with the columns it takes.
        y: One label or value per row.
        metric: What to score by.
        sigmas: Sizes of the noise, in deviations.
        seed: Of the disturbances.
        weights: One weight per row.

    Returns:
        Scores by sigma and by share of values knocked out. ``noise_sensitivity`` is what the score loses at sigma 0.25:
        clean − noisy where higher is better, noisy − clean where lower is, so above 0 is always worse. It is None, and
        ``noise`` empty, without a numeric column; None also when 0.25 is not among the sigmas.
        Beside the score, how often noise changes the answer (``flips``), and what that does to accuracy; for values,
        how far they move.

    Raises:
        Incompatible: Rows, labels or the metric do not fit the model, or the metric is undefined on these rows.
    """
    (measure,) = metrics_of(adapter.task, (metric,))
    table = to_table(table, adapter.schema.names)
    truth = truth_of(adapter, y, table.num_rows)
    calm = rows_of(adapter.task, truth, said_of(adapter, table), weights)
    noisy = {
        f"{sigma:g}": rows_of(adapter.task, truth, said_of(adapter, changed), weights)
        for sigma, changed in _noisy(adapter, table, sigmas, seed)
    }

    def judged(rows: Rows) -> float:
        return score(metric, rows.truth, rows.said, rows.mass)

    clean, noise = judged(calm), {sigma: judged(rows) for sigma, rows in noisy.items()}
    loss = None
    if (at := f"{SENSITIVITY_SIGMA:g}") in noise:
        loss = clean - noise[at] if measure.higher_is_better else noise[at] - clean
    classes = adapter.task == "classification"
    return Robustness(
        noise_sensitivity=loss,
        noise=noise,
        clean=clean,
        metric=metric,
        missing={
            f"{share:g}": score(metric, truth, said_of(adapter, holed), weights) for share, holed in _holed(table, seed)
        },
        accuracy={sigma: _accuracy(rows) for sigma, rows in ({"0": calm} | noisy).items()} if classes and noisy else {},
        flips={sigma: _flipped(calm, rows) for sigma, rows in noisy.items()} if classes else {},
        moved={sigma: _moved(calm, rows) for sigma, rows in noisy.items()} if adapter.task == "regression" else {},
    )


def _accuracy(rows: Rows) -> float:
    return float(_figures.accuracy(rows.truth, rows.said, rows.mass[None])[0])


def _flipped(calm: Rows, noisy: Rows) -> float:
    return float(np.average(calm.said.argmax(axis=1) != noisy.said.argmax(axis=1), weights=calm.mass))


def _moved(calm: Rows, noisy: Rows) -> float:
    """Give how far answers move, in deviations of the target; in its own unit where it has one value only."""
    mean = np.average(calm.truth, weights=calm.mass)
    unit = float(np.sqrt(np.average((calm.truth - mean) ** 2, weights=calm.mass))) or 1.0
    return float(np.average(np.abs(calm.said - noisy.said), weights=calm.mass)) / unit


def _noisy(
    adapter: BaseModelAdapter, table: pa.Table, sigmas: Sequence[float], seed: int
) -> list[tuple[float, pa.Table]]:
    columns = [column for column in adapter.encoder.numbers if column.kind == "numeric"]
    series = {} if adapter.encoder.series is None else dict(
        zip((column.name for column in adapter.encoder.sequences), adapter.encoder.series.scale.tolist(), strict=True)
    )  # fmt: skip
    if not columns and not series:
        return []
    values = {column.name: numbers(column, table.column(column.name)) for column in columns}
    random = np.random.default_rng([seed, _NOISE])
    steps = {
        column.name: deviation(adapter, column, values[column.name]) * random.standard_normal(table.num_rows)
        for column in columns
    }
    lists = {name: table.column(name).combine_chunks() for name in series}
    shakes = {name: scale * random.standard_normal(len(lists[name].flatten())) for name, scale in series.items()}
    return [
        (
            sigma,
            _shaken(
                _replaced(table, {name: values[name] + sigma * step for name, step in steps.items()}),
                {name: (lists[name], sigma * shake) for name, shake in shakes.items()},
            ),
        )
        for sigma in sigmas
    ]


def _shaken(table: pa.Table, series: dict[str, tuple[pa.Array, Doubles]]) -> pa.Table:
    """Add noise to every step of columns that hold series; missing ones stay missing."""
    for name, (lists, shake) in series.items():
        moved = pc.add(lists.flatten().cast(pa.float64()), pa.array(shake))
        ends = np.append(0, np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)))
        column = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), moved, mask=lists.is_null())
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _replaced(table: pa.Table, values: dict[str, Doubles]) -> pa.Table:
    for name, column in values.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(column, pa.float64(), from_pandas=True))
    return table


def _holed(table: pa.Table, seed: int) -> list[tuple[float, pa.Table]]:
    luck = np.random.default_rng([seed, _HOLES]).random((table.num_columns, table.num_rows))
    return [
        (
            share,
            pa.table(
                {
                    name: _without(plain(table.column(name)), luck[i] < share)
                    for i, name in enumerate(table.column_names)
                }
            ),
        )
        for share in KNOCKED_OUT
    ]


def _without(column: pa.ChunkedArray, gone: npt.NDArray[np.bool_]) -> pa.ChunkedArray:
    return pc.if_else(pa.array(gone), pa.scalar(None, column.type), column)
