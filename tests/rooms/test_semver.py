"""What a version number promises to those who call the model."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from contracts.errors import Incompatible
from contracts.records import Lineage, TrainedBundle
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.registry.semver import Number, next_version


def bundle(version: str | None = None, columns: str = "ab", **changes: Any) -> TrainedBundle:
    schema = InputSchema.of(pa.table({name: [1.0, 2.0] for name in columns}))
    facts: dict[str, Any] = {
        "model_key": "m",
        "version": version,
        "artifact_uri": "blobs:x",
        "validation_hash": "x",
        "created_at": "",
        "family": "lr",
        "task": "classification",
        "classes": (0, 1),
        "input_schema": schema.to_json(),
        "lineage": Lineage(dataset_id="d", version="1", dataset_digest="sha256:d"),
    }
    return TrainedBundle(**(facts | changes))


def test_three_models_of_the_demo_are_numbered_as_it_says() -> None:
    first = bundle("1.0.0")
    second = bundle("1.1.0", family="xgb")
    third = bundle(family="xgb", columns="abc")
    assert next_version(first, None) == ("1.0.0", "the first version")
    assert next_version(second, first)[0] == "1.1.0"
    number, why = next_version(third, second)
    assert number == "2.0.0"
    assert why == "major: column 'c' is new and required"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (bundle(columns="a"), "2.0.0"),
        (bundle(columns="ba"), "2.0.0"),
        (bundle(task="regression"), "2.0.0"),
        (bundle(classes=(0, 1, 2)), "2.0.0"),
        (bundle(input_schema={}), "2.0.0"),
        (bundle(family="xgb"), "1.5.0"),
        (bundle(lineage=Lineage(dataset_digest="sha256:other")), "1.5.0"),
        (bundle(lineage=Lineage(dataset_digest="sha256:d", feature_view="v2")), "1.5.0"),
        (bundle(hyperparams={"C": 2.0}), "1.4.3"),
        (bundle(validation_hash="y"), "1.4.3"),
    ],
)
def test_number_says_what_changes_for_callers(new: TrainedBundle, expected: str) -> None:
    assert next_version(new, bundle("1.4.2"))[0] == expected


def test_other_known_categories_are_a_minor_change() -> None:
    schemas = [InputSchema.of(pa.table({"sex": values})).to_json() for values in (["f", "m"], ["f", "x"])]
    new, old = bundle(input_schema=schemas[1]), bundle("1.0.0", input_schema=schemas[0])
    assert next_version(new, old) == ("1.1.0", "minor: its columns hold other known values")


def test_breaking_change_outranks_all_others_and_names_every_break() -> None:
    new = bundle(columns="c", family="xgb", classes=("no", "yes"))
    number, why = next_version(new, bundle("1.0.0", columns="a"))
    assert number == "2.0.0"
    assert "classes were [0, 1] and are [no, yes] now" in why
    assert "'c' is new" in why
    assert "'a' is no longer accepted" in why
    assert "family" not in why


def test_classes_that_nobody_stated_are_not_compared() -> None:
    assert next_version(bundle(classes=()), bundle("1.0.0"))[0] == "1.0.1"


def test_data_without_digest_is_told_apart_by_its_name() -> None:
    old = bundle("1.0.0", lineage=Lineage(dataset_id="d", version="1"))
    assert next_version(bundle(lineage=Lineage(dataset_id="d", version="1")), old)[0] == "1.0.1"
    assert next_version(bundle(lineage=Lineage(dataset_id="d", version="2")), old)[0] == "1.1.0"


@pytest.mark.parametrize(
    ("changes", "taken", "expected"),
    [
        ({}, ["1.0.0", "1.0.1", "1.0.2"], "1.0.3"),
        ({"family": "xgb"}, ["1.0.0", "1.1.0"], "1.2.0"),
        ({"columns": "abc"}, ["1.0.0", "2.0.0"], "3.0.0"),
    ],
)
def test_withdrawn_number_is_never_given_again(changes: dict[str, Any], taken: list[str], expected: str) -> None:
    assert next_version(bundle(**changes), bundle("1.0.0"), taken)[0] == expected


def test_first_version_avoids_numbers_that_were_withdrawn() -> None:
    assert next_version(bundle(), None, ["1.0.0"])[0] == "2.0.0"


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "", "latest", "1.0.0\n", "-1.0.0", "١.0.0"])
def test_text_that_is_no_version_number_is_refused(text: str) -> None:
    with pytest.raises(Incompatible, match="no version number"):
        Number.of(text)


def test_numbers_compare_by_value_and_not_as_text() -> None:
    assert sorted(["1.10.0", "1.9.0", "10.0.0", "2.0.0"], key=Number.of) == ["1.9.0", "1.10.0", "2.0.0", "10.0.0"]
