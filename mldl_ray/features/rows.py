"""Training rows made by a view: features from what callers would send, everything else from the data as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from contracts.errors import Incompatible
from contracts.specs import DataRef, Task
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.features.view import Transformer
from mldl_ray.training.rows import Asked, TrainingRows


def rows_of(
    table: pa.Table,
    ref: DataRef,
    task: Task,
    view: Transformer | None = None,
    *,
    default_sensitive: Sequence[str] = (),
) -> TrainingRows:
    """Take a table apart by its columns' roles, its features made by a view where there is one.

    ``ref.features`` and ``ref.exclude`` name columns that the view makes; the other roles name columns of the data.

    Raises:
        Incompatible: As ``TrainingRows.of``; the target is among what callers would send.
    """
    if view is None:
        return TrainingRows.of(table, ref, task, default_sensitive=default_sensitive)
    if ref.target is not None and ref.target in view.view.kinds:
        raise Incompatible(
            f"target {ref.target!r} is an input of feature view {view.view.reference}, and nobody can send it",
            {"field": "target", "feature_view": view.view.reference},
        )
    inputs = view.inputs(table)
    made = view.apply(inputs)
    if ref.target in made.column_names:
        raise Incompatible(
            f"feature view {view.view.reference} makes a column {ref.target!r}, which is the target; name it otherwise",
            {"field": "target", "feature_view": view.view.reference},
        )
    features = tuple(n for n in ref.features or made.column_names if n not in ref.exclude)
    for name in features:
        if name not in made.column_names:
            raise Incompatible(
                f"features names {name!r}, which view {view.view.reference} does not make; it makes: "
                f"{', '.join(made.column_names[:20])}",
                {"field": "features", "column": name},
            )
    groups = ref.sensitive or tuple(name for name in default_sensitive if name in table.column_names)
    for role in dict.fromkeys((ref.target, ref.time_column, ref.group_column, ref.weight_column, *groups)):
        if role is not None and role in table.column_names and role not in made.column_names:
            made = made.append_column(role, table.column(role))
    roles = ref.model_copy(update={"features": features, "exclude": (), "sensitive": groups})
    return replace(TrainingRows.of(made, roles, task), asked=Asked(inputs, view, InputSchema.of(inputs)))
