"""Whether a model treats groups of people alike: rates per group, and the largest differences between groups.

Measured with fairlearn's ``MetricFrame``; uncertainty is in ``_groups``. A group, and a rate, needs ``LEAST_ROWS`` rows
beneath it: smaller ones are named as insufficient, because a rate over a dozen rows says nothing, and never count as
passed. What difference is tolerable is not decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from contracts.evaluations import Fairness, Interval
from mldl_ray.adapters import target
from mldl_ray.evaluation._groups import class_differences, mean_intervals, share_intervals, target_unit
from mldl_ray.evaluation._rows import Rows

Doubles = npt.NDArray[np.float64]
Groups = npt.NDArray[np.str_]
Delta = Callable[[npt.NDArray[np.int64], Doubles], Doubles]

LEAST_ROWS = 30
MISSING = "(missing)"
CROSSED = 4
"""Of so many first sensitive columns every intersection is looked at too; of more also that of all of them."""
_AS_THEY_ARE = 12  # a numeric column with more values than this is cut at its quartiles


class Column(NamedTuple):
    """One sensitive column, or an intersection of them: the group of each row, and which groups have rows enough."""

    name: str
    group: Groups
    judged: tuple[str, ...]
    small: dict[str, int]


def fairness_of(
    rows: Rows, sensitive: Mapping[str, Any], *, selected: str | None = None, classes: Sequence[str] = ()
) -> Fairness:
    """Compare the groups of every sensitive column.

    Classification: a row is *selected* when the last class is its most probable one. ``delta`` is the largest
    difference in selection rate between two groups of one column (demographic parity); ``equalized_odds`` the largest
    in true or false positive rate. With more than two classes each is looked at as the selected one in turn
    (``by_class``), and both figures are of the worst; the rates of ``by_group`` and ``by_column`` stay the last's.
    Regression: ``delta`` is the largest difference in mean prediction, in standard deviations of the target; there are
    no odds. ``error_delta`` is the largest difference in error rate, or in mean absolute error in the same unit.

    Intersections are in ``by_group`` and ``by_column`` as ``sex × race``; ``delta`` is over single columns and
    ``intersectional_delta`` over the others.

    Args:
        rows: Judged rows of a classification or regression task; weights count.
        sensitive: Column name → group of each row; missing values are a group of their own.
        selected: Name of the last class.
        classes: Names of all classes, in order; their positions when absent.

    Raises:
        Incompatible: A column does not have one entry per row.
    """
    columns = [_sized(name, group) for name, group in named_groups(sensitive, len(rows.mass)).items()]
    classify = rows.said.ndim == 2
    compare = _compare_classes if classify else _compare_values
    by_group, by_column, left_out, intervals = {}, {}, {}, {}
    for column in columns:
        notes = [_too_small(column)] if column.small else []
        if len(column.judged) < 2:
            notes.append(f"fewer than two groups of {LEAST_ROWS} rows or more: nothing to compare")
        else:
            by_group[column.name], by_column[column.name] = compare(rows, column, notes)
            intervals[column.name] = _sure(rows, column, by_group[column.name])
        if notes:
            left_out[column.name] = "; ".join(notes)
    single = [name for name in sensitive if name in by_column]
    rate, error = ("selection_rate", "error_rate") if classify else ("mean_prediction", "mean_absolute_error")
    found = Fairness(
        delta=_largest(by_column, single, rate),
        equalized_odds=_largest(by_column, single, "true_positive_rate", "false_positive_rate"),
        error_delta=_largest(by_column, single, error),
        intersectional_delta=_largest(by_column, [name for name in by_column if name not in single], rate),
        groups=tuple(single),
        by_group=by_group,
        by_column=by_column,
        selected=selected,
        left_out=left_out,
        intervals=intervals,
        insufficient={column.name: column.small for column in columns if column.small},
    )
    if not classify or rows.said.shape[1] == 2 or not single:
        return found
    return _worst_of(rows, [column for column in columns if column.name in single], found, classes)


def _worst_of(rows: Rows, columns: Sequence[Column], found: Fairness, classes: Sequence[str]) -> Fairness:
    names = list(classes) or [str(place) for place in range(rows.said.shape[1])]
    sides = [(column.group, column.judged) for column in columns]
    by_class = {name: class_differences(rows, sides, place, LEAST_ROWS) for place, name in enumerate(names)}
    worst = max(by_class, key=lambda name: by_class[name]["selection_rate"])
    odds = [v for facts in by_class.values() for rate, v in facts.items() if rate.endswith("positive_rate")]
    return found.model_copy(
        update={
            "by_class": by_class,
            "worst_class": worst,
            "delta": by_class[worst]["selection_rate"],
            "equalized_odds": max(odds, default=None),
        }
    )


def _sure(rows: Rows, column: Column, groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Interval]]:
    measured = {label: [rate for rate in facts if rate != "rows"] for label, facts in groups.items()}
    give = share_intervals if rows.said.ndim == 2 else mean_intervals
    return {label: give(rows, column.group == label, rates) for label, rates in measured.items()}


def delta_over(rows: Rows, sensitive: Mapping[str, Any], measured: Sequence[str]) -> Delta:
    """Make ``delta`` a figure of many weightings at once, for the bootstrap: of rows and their mass, ``(b,)``."""
    sides = _sides(rows, sensitive, measured)
    if rows.said.ndim == 1:
        shown = [rows.said / target_unit(rows)]
    else:
        k = rows.said.shape[1]
        shown = [rows.said.argmax(axis=1) == place for place in (range(k) if k > 2 else [k - 1])]

    def delta(kept: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
        whole = [mass @ side[kept] for side in sides]
        gaps = [
            np.ptp(mass @ (values[kept, None] * side[kept]) / size, axis=1)
            for values in shown
            for side, size in zip(sides, whole, strict=True)
        ]
        return np.asarray(np.max(gaps, axis=0))

    return delta


def odds_over(rows: Rows, sensitive: Mapping[str, Any], measured: Sequence[str]) -> Delta:
    """Make ``equalized_odds`` a figure of many weightings at once; groups with rows enough beneath a rate count."""
    sides, k = _sides(rows, sensitive, measured), rows.said.shape[1]
    said, cells = rows.said.argmax(axis=1), []
    for place in range(k) if k > 2 else [k - 1]:
        for beneath in (rows.truth == place, rows.truth != place):
            for side in sides:
                within = side & beneath[:, None]
                within = within[:, within.sum(axis=0) >= LEAST_ROWS]
                if within.shape[1] > 1:
                    cells.append((within, said == place))

    def odds(kept: npt.NDArray[np.int64], mass: Doubles) -> Doubles:
        gaps = [np.zeros(len(mass))]
        for within, chosen in cells:
            with np.errstate(invalid="ignore"):  # a resample without a group's rows: NaN, which is not counted
                rates = mass @ (within[kept] & chosen[kept, None]) / (mass @ within[kept])
            gaps.append(np.ptp(rates, axis=1))
        return np.asarray(np.max(gaps, axis=0))

    return odds


def _sides(rows: Rows, sensitive: Mapping[str, Any], measured: Sequence[str]) -> list[npt.NDArray[np.bool_]]:
    groups = named_groups({name: sensitive[name] for name in measured}, len(rows.mass), pairs=False)
    return [group[:, None] == np.array(_sized(name, group).judged) for name, group in groups.items()]


def named_groups(sensitive: Mapping[str, Any], rows: int, *, pairs: bool = True) -> dict[str, Groups]:
    """Name the group of every row, per column and per intersection of the first ``CROSSED`` columns (``pairs``).

    Numbers with many values are cut at their quartiles.

    Raises:
        Incompatible: A column does not have one entry per row.

    >>> named_groups({"sex": ["f", None], "old": [True, False]}, 2)["sex × old"].tolist()
    ['f × True', '(missing) × False']
    """
    named = {name: _named(name, values, rows) for name, values in sensitive.items()}
    if not pairs:
        return named
    first = list(named)[:CROSSED]
    sets = [each for size in range(2, len(first) + 1) for each in combinations(first, size)]
    if len(named) > CROSSED:
        sets.append(tuple(named))
    return named | {
        " × ".join(each): np.array([" × ".join(row) for row in zip(*(named[name] for name in each), strict=True)])
        for each in sets
    }


def _named(name: str, values: Any, rows: int) -> Groups:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.to_pylist()
    series = pd.Series(list(values), dtype=object)
    target.same_length(rows, len(series), f"sensitive column {name!r}")
    missing = series.isna().to_numpy()
    known = series[~missing].infer_objects()
    is_number = pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known)
    labels = np.full(len(series), MISSING, dtype=object)
    cut = is_number and known.nunique() > _AS_THEY_ARE
    labels[~missing] = _quartiles(known.to_numpy(dtype=np.float64)) if cut else known.map(str).to_numpy()
    return labels.astype(str)


def _quartiles(values: Doubles) -> list[str]:
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    names = [f"{low:g} to {'' if i == len(edges) - 2 else '<'}{edges[i + 1]:g}" for i, low in enumerate(edges[:-1])]
    return [names[i] for i in place]


def _sized(name: str, group: Groups) -> Column:
    found, sizes = np.unique(group, return_counts=True)
    size = dict(zip(found.tolist(), sizes.tolist(), strict=True))
    judged = tuple(label for label, rows in size.items() if rows >= LEAST_ROWS)
    return Column(name, group, judged, {label: rows for label, rows in size.items() if rows < LEAST_ROWS})


def _too_small(column: Column) -> str:
    ranked = sorted(column.small.items(), key=lambda entry: (-entry[1], entry[0]))
    shown = ", ".join(f"{label} ({rows})" for label, rows in ranked[:20])
    more = f" and {len(ranked) - 20} more" if len(ranked) > 20 else ""
    return f"groups of fewer than {LEAST_ROWS} rows: {shown}{more}"


def _compare_classes(rows: Rows, column: Column, notes: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    from fairlearn.metrics import false_positive_rate, selection_rate, true_positive_rate  # noqa: PLC0415  # slow, late
    from sklearn.metrics import zero_one_loss  # noqa: PLC0415  # as above

    last = rows.said.shape[1] - 1
    cells = _counted(rows, column)
    real, chosen = (cells["truth"] == last).to_numpy(), (cells["said"] == last).to_numpy()
    rates = {
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
    }
    table = _by_group(rates, cells.assign(truth=real.astype(int), said=chosen.astype(int)))
    table["error_rate"] = _by_group({"error_rate": zero_one_loss}, cells)["error_rate"]
    for rate, beneath in {"true_positive_rate": real, "false_positive_rate": ~real}.items():
        sizes = cells[beneath].groupby("group")["rows"].sum().reindex(list(column.judged), fill_value=0)
        thin = sizes[sizes < LEAST_ROWS]
        table.loc[thin.index, rate] = np.nan
        if len(thin):
            notes.append(f"{rate} over too few rows: {', '.join(f'{label} ({n})' for label, n in thin.items())}")
    return _described(table, column), _differences(table)


def _counted(rows: Rows, column: Column) -> pd.DataFrame:
    """Sum rows that are alike: rates only need their mass, and fairlearn goes through rows slowly."""
    facts = {"group": column.group, "truth": rows.truth, "said": rows.said.argmax(axis=1), "mass": rows.mass, "rows": 1}
    frame = pd.DataFrame(facts)
    frame = frame[frame["group"].isin(column.judged)]
    return frame.groupby(["group", "truth", "said"], as_index=False).sum()


def _compare_values(rows: Rows, column: Column, notes: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    from fairlearn.metrics import mean_prediction  # noqa: PLC0415  # slow, loads late
    from sklearn.metrics import mean_absolute_error  # noqa: PLC0415  # as above

    frame = pd.DataFrame({"group": column.group, "truth": rows.truth, "said": rows.said, "mass": rows.mass})
    frame = frame[frame["group"].isin(column.judged)]
    table = _by_group({"mean_prediction": mean_prediction, "mean_absolute_error": mean_absolute_error}, frame)
    errors = frame.assign(said=frame["said"] - frame["truth"])
    table["mean_error"] = _by_group({"mean_error": mean_prediction}, errors)["mean_error"]
    unit = target_unit(rows)
    if unit == 0:
        notes.append("the target has one value only, so differences have no unit")
        return _described(table, column), {}
    return _described(table, column), _differences(table / unit)


def _by_group(metrics: dict[str, Callable[..., float]], frame: pd.DataFrame) -> pd.DataFrame:
    from fairlearn.metrics import MetricFrame  # noqa: PLC0415  # slow, loads late

    measured: pd.DataFrame = MetricFrame(
        metrics=metrics,
        y_true=frame["truth"],
        y_pred=frame["said"],
        sensitive_features=frame["group"],
        sample_params={name: {"sample_weight": frame["mass"]} for name in metrics},
    ).by_group
    return measured


def _described(table: pd.DataFrame, column: Column) -> dict[str, Any]:
    values = dict(zip(table.index, table.to_numpy(dtype=np.float64).tolist(), strict=True))
    return {
        label: {"rows": int((column.group == label).sum())}
        | {str(rate): value for rate, value in zip(table.columns, values[label], strict=True) if np.isfinite(value)}
        for label in column.judged
    }


def _differences(table: pd.DataFrame) -> dict[str, float]:
    """Give the largest difference between groups of every rate that two groups have."""
    return {
        str(rate): float(np.nanmax(values) - np.nanmin(values))
        for rate, values in zip(table.columns, table.to_numpy(dtype=np.float64).T, strict=True)
        if np.isfinite(values).sum() >= 2
    }


def _largest(by_column: dict[str, dict[str, float]], columns: Sequence[str], *rates: str) -> float | None:
    found = [by_column[name][rate] for name in columns for rate in rates if rate in by_column[name]]
    return max(found) if found else None
