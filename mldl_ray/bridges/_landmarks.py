"""How far the simplest of models gets on some of the rows: what a table is like to learn, in two cheap figures.

Source:
    Pfahringer, Bensusan & Giraud-Carrier, "Meta-learning by landmarking various learning algorithms" (ICML 2000).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mldl_ray.bridges._statistics import kind_of

ROWS, COLUMNS = 1000, 100
"""Of each at most, spread evenly over the table: a landmark costs milliseconds, whatever the data."""
LEAST_ROWS = 20


def landmarks(table: pa.Table, y: Sequence[Any], *, classes: bool) -> dict[str, float]:
    """Fit a decision stump and a whole tree on half of some rows, and judge them on the other half.

    Args:
        table: The features; columns of series are left out.
        y: The target: labels when ``classes``, else numbers.
        classes: Whether the target is a class.

    Returns:
        ``stump`` and ``tree``, 0 (no better than always the same answer) to 1 (always right): balanced accuracy above
        chance, or R². Empty where there are too few rows or no column for it.

    >>> table = pa.table({"a": [float(i) for i in range(100)]})
    >>> landmarks(table, [i > 50 for i in range(100)], classes=True)
    {'stump': 0.9444, 'tree': 0.9444}
    """
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # noqa: PLC0415  # slow to load

    rows = np.unique(np.linspace(0, table.num_rows - 1, min(ROWS, table.num_rows)).astype(np.int64))
    X = _numbers(table.take(rows))
    if len(rows) < LEAST_ROWS or X.shape[1] == 0:
        return {}
    answers = np.asarray(y, dtype=object)[rows]
    known = np.unique(answers.astype(str), return_inverse=True)[1] if classes else answers.astype(np.float64)
    mixed = np.random.default_rng(0).permutation(len(rows))
    learn, judge = mixed[::2], mixed[1::2]
    family = DecisionTreeClassifier if classes else DecisionTreeRegressor
    figure = _above_chance if classes else _explained
    found = {}
    for name, depth in (("stump", 1), ("tree", None)):
        model = family(max_depth=depth, random_state=0).fit(X[learn], known[learn])
        found[name] = round(min(1.0, max(0.0, figure(known[judge], model.predict(X[judge])))), 4)
    return found


def _numbers(table: pa.Table) -> npt.NDArray[np.float64]:
    """Give numbers as they are and categories as codes; what is missing is NaN, which trees take."""
    usable = [i for i, field in enumerate(table.schema) if kind_of(field.type) != "other"]
    if not usable:
        return np.empty((table.num_rows, 0))
    places = np.unique(np.linspace(0, len(usable) - 1, min(COLUMNS, len(usable))).astype(np.int64))
    return np.column_stack([_column(table.column(usable[place])) for place in places])


def _column(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    if kind_of(column.type) == "categorical":
        column = pc.rank(column, tiebreaker="min")
    elif kind_of(column.type) == "datetime":
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    values = np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    values[~np.isfinite(values) | (np.abs(values) > np.finfo(np.float32).max)] = np.nan
    return values


def _above_chance(truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
    present = np.unique(truth)
    if len(present) < 2:
        return 0.0
    right = float(np.mean([np.mean(said[truth == label] == label) for label in present]))
    return (right - 1 / len(present)) / (1 - 1 / len(present))


def _explained(truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
    spread = float(np.var(truth))
    return 0.0 if spread == 0.0 else 1 - float(np.mean((truth - said) ** 2)) / spread
