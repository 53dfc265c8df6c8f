"""A feature view as a function from the columns that callers send to those that a model learns from."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from contracts.errors import Incompatible
from contracts.features import FeatureKind, FeatureView, Join
from mldl_ray.features.history import History
from mldl_ray.features.kinds import canonical, kinds_of
from mldl_ray.features.steps import AnyStep, applied, kinds_after


class Transformer:
    """Applies a view: the same to a table of training rows and to a request's.

    Args:
        view: The document.
        history: The joined rows; none where the view joins nothing.
    """

    def __init__(self, view: FeatureView, history: History | None = None) -> None:
        self.view, self.history = view, history

    def inputs(self, table: pa.Table) -> pa.Table:
        """Take what callers send of a table, in the types of its kinds.

        Raises:
            Incompatible: A column is not there, or of another kind.
        """
        return canonical(table, self.view.kinds)

    def apply(self, inputs: pa.Table) -> pa.Table:
        """Make features of ``inputs``, row by row."""
        table = inputs if self.history is None else self.history.joined(inputs)
        for step in self.view.steps:
            table = applied(table, step)
        return table


def checked(
    inputs: dict[str, FeatureKind], steps: Iterable[AnyStep], join: Join | None, history: History | None
) -> dict[str, FeatureKind]:
    """Follow the kinds through a view that is to be; give those of its outputs.

    Raises:
        Incompatible: A step or the join does not fit; the message names it.
    """
    kinds = dict(inputs)
    if join is not None and history is not None:
        for name in (join.key, join.time):
            if name not in kinds:
                raise Incompatible(f"join: callers send no column {name!r}; put it among columns", {"column": name})
            if kinds[name] != history.kind(name):
                raise Incompatible(
                    f"join: column {name!r} is {kinds[name]} here and {history.kind(name)} in {join.dataset_id}",
                    {"column": name},
                )
        for name, kind in history.kinds.items():
            if name in kinds:
                raise Incompatible(f"join: there is a column {name!r} already; give a prefix", {"column": name})
            kinds[name] = kind
    for step in steps:
        kinds = kinds_after(kinds, step)
    if not kinds:
        raise Incompatible("the view leaves no column")
    return kinds


def kinds_of_columns(table: pa.Table, columns: Iterable[str], dataset_id: str) -> dict[str, FeatureKind]:
    """Give the kinds of some of a dataset's columns.

    Raises:
        Incompatible: One is not there, or is no kind of a view.
    """
    wanted = list(dict.fromkeys(columns))
    for name in wanted:
        if name not in table.column_names:
            raise Incompatible(
                f"dataset {dataset_id} has no column {name!r}; it has: {', '.join(table.column_names[:20])}",
                {"column": name, "dataset_id": dataset_id},
            )
    return kinds_of(table.select(wanted))
