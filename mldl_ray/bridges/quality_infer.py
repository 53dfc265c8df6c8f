"""Quality rules read off rows that are known to be good: a beginning, for a person to edit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from contracts.quality import (
    CategoriesRule,
    DuplicatesRule,
    FreshnessRule,
    MissingRule,
    QualityRule,
    QualityRules,
    RangeRule,
    SchemaRule,
    VolumeRule,
)
from contracts.records import Dataset
from contracts.specs import Json
from mldl_ray.bridges._statistics import MOST_CATEGORIES
from mldl_ray.bridges.ingress import STALE_S
from mldl_ray.bridges.quality_check import copies

BEYOND = 0.01
"""Share of values that may lie outside what was seen: no sample holds all that there is."""
MORE_MISSING = 0.05
"""How much larger the share of missing values may be than it was."""
MORE_COPIES = 2.0
LEAST_ROWS = 0.5
"""Of the rows there were."""
OLDER = 2.0


def inferred(dataset: Dataset, table: pa.Table) -> QualityRules:
    """Read rules off a dataset: columns are critical, all else is worth a warning.

    A column of texts gets its categories where they are few and come again; a time column, how old its rows were when
    they were registered.
    """
    rules: list[QualityRule] = [VolumeRule(min_rows=max(1, int(table.num_rows * LEAST_ROWS)))]
    if (found := copies(table)) is not None:
        share = found / table.num_rows if table.num_rows else 0.0
        rules.append(DuplicatesRule(max_share=_rounded(min(1.0, max(BEYOND, MORE_COPIES * share)))))
    for name in table.column_names:
        rules += _of_column(name, dataset.statistics.get(name, {}))
    rules += _freshness(dataset.time_column, dataset.statistics, dataset.created_at_s)
    return QualityRules(rules=tuple(rules), inferred_from=f"{dataset.dataset_id}@{dataset.version}")


def _of_column(name: str, facts: Json) -> Iterator[QualityRule]:
    kind, count = facts.get("kind"), facts.get("count", 0)
    if kind is None or not count:
        return  # a column without a value says nothing of what it should hold
    yield SchemaRule(column=name, kind=kind)
    share = facts.get("missing", 0) / (count + facts.get("missing", 0))
    if share + MORE_MISSING < 1:
        yield MissingRule(column=name, max_share=_rounded(share + MORE_MISSING))
    if kind == "numeric" and "min" in facts:
        yield RangeRule(column=name, low=facts["min"], high=facts["max"], max_share=BEYOND)
    if kind == "categorical" and facts["distinct"] <= min(MOST_CATEGORIES, count - 1):
        yield CategoriesRule(column=name, values=tuple(sorted(facts["top"])), max_share=BEYOND)


def _freshness(name: str | None, statistics: Mapping[str, Json], registered_s: float) -> Iterator[QualityRule]:
    newest_s = statistics.get(name or "", {}).get("max_s")
    if name is not None and newest_s is not None:
        yield FreshnessRule(column=name, max_age_s=max(STALE_S, OLDER * (registered_s - newest_s)))


def _rounded(share: float) -> float:
    """Give a share that a person would write.

    >>> _rounded(0.05 + 1 / 3)
    0.3833
    """
    return round(share, 4)
