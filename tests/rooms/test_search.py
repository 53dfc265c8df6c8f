"""Versions found by what they are and how good they are."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.errors import Incompatible
from contracts.records import Lineage, TrainedBundle
from mldl_ray.registry.search import Query, after_key, check_limit


def bundle(version: str = "1.0.0", model_key: str = "income", **changes: Any) -> TrainedBundle:
    facts: dict[str, Any] = {
        "model_key": model_key,
        "version": version,
        "artifact_uri": "blobs:x",
        "validation_hash": "x",
        "created_at": "",
        "family": "xgb",
        "task": "classification",
        "metrics": {"auroc": 0.92, "logloss": 0.28},
        "tags": ("demo", "Baseline"),
        "lineage": Lineage(dataset_id="adult"),
    }
    return TrainedBundle(**(facts | changes))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), True),
        (Query(task="classification", family="xgb", tags=("demo",)), True),
        (Query(task="regression"), False),
        (Query(family="lr"), False),
        (Query(tags=("demo", "prod")), False),
        (Query(min_metrics={"auroc": 0.92}), True),
        (Query(min_metrics={"auroc": 0.93}), False),
        (Query(min_metrics={"auroc": 0.9, "f1": 0.0}), False),
        (Query(text="income baseline ADULT"), True),
        (Query(text="income churn"), False),
        (Query(text="   "), True),
    ],
)
def test_version_is_meant_when_every_filter_holds(query: Query, found: bool) -> None:
    assert query.matches(bundle()) is found


def test_metric_whose_lower_values_are_better_is_bounded_from_above() -> None:
    assert Query(min_metrics={"logloss": 0.3}).matches(bundle())
    assert not Query(min_metrics={"logloss": 0.2}).matches(bundle())


def test_unknown_metric_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(Incompatible, match=r"auroch; there are: .*auroc"):
        Query(min_metrics={"auroch": 0.9})


def test_page_begins_after_the_last_version_seen_in_order_of_numbers() -> None:
    bundles = [bundle("1.0.0", "churn"), bundle("1.9.0"), bundle("1.10.0"), bundle("1.0.0", "risk")]
    rest = after_key(bundles, "income@1.9.0")
    assert [(b.model_key, b.version) for b in rest] == [("income", "1.10.0"), ("risk", "1.0.0")]


def test_page_after_a_version_that_is_gone_goes_on_behind_its_place() -> None:
    assert [b.version for b in after_key([bundle("1.0.0"), bundle("1.2.0")], "income@1.1.0")] == ["1.2.0"]


def test_no_after_gives_everything() -> None:
    assert [b.version for b in after_key([bundle("1.0.0")], "")] == ["1.0.0"]


@pytest.mark.parametrize("after", ["income", "@1.0.0", "income@", "income@latest"])
def test_after_of_another_form_is_refused(after: str) -> None:
    with pytest.raises(Incompatible):
        after_key([], after)


@pytest.mark.parametrize("limit", [0, -1, 501])
def test_page_of_no_rows_or_of_too_many_is_refused(limit: int) -> None:
    with pytest.raises(Incompatible, match="between 1 and 500"):
        check_limit(limit)
