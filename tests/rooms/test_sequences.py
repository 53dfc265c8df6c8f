"""Series in a row: what the encoder makes of them, that padding reaches no answer, and who takes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import Broken, Incompatible
from mldl_ray.adapters import create_adapter
from mldl_ray.adapters.base import BaseModelAdapter
from mldl_ray.adapters.encoder import Encoder, table_of
from mldl_ray.adapters.schema import InputSchema
from mldl_ray.adapters.sequences import FARTHEST, series_table
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.reference import Reference
from mldl_ray.serving_form import ServingModel, compile_form
from mldl_ray.serving_form.record import RecordEncoder
from serve.recorder import Group, Recorder, Seen

VOWELS = Path(__file__).parents[2] / "examples" / "data" / "japanese_vowels.parquet"
FAMILIES = ("rnn", "lstm", "transformer")
SMALL: dict[str, dict[str, Any]] = {
    "rnn": {"hidden": 8, "epochs": 15, "learning_rate": 0.02},
    "lstm": {"hidden": 8, "epochs": 15, "learning_rate": 0.02},
    "transformer": {"heads": 2, "head_width": 4, "layers": 1, "epochs": 15, "learning_rate": 0.02},
}
TABLE = pa.table(
    {
        "a": [[1.0, 2.0, 3.0], [4.0, None], None, []],
        "b": pa.array([[10, 20, 30], [40, 50], [60], None], pa.list_(pa.int64())),
        "age": [20.0, 30.0, None, 40.0],
        "sex": ["f", "m", "f", "m"],
    }
)


def steps(encoder: Encoder, table: Any) -> Any:
    return encoder.transform(table).reshape(table.num_rows, -1, encoder.step_width)


# From lists to a matrix


def test_a_block_per_step_of_the_longest_series_and_nothing_after_a_series_ends() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    block = steps(encoder, TABLE)
    assert block.dtype == np.float32
    assert block.shape == (4, 3, 5)  # a, b, age, f, m
    assert np.isnan(block).all(axis=2).sum(axis=1).tolist() == [0, 1, 2, 2]
    assert np.isnan(block).any(axis=2).sum() == 5


def test_each_series_is_centred_and_scaled_by_all_its_training_values_and_missing_steps_are_its_mean() -> None:
    block = steps(Encoder.fit(TABLE, "sequence"), TABLE)
    a, b = np.array([1, 2, 3, 4]), np.array([10, 20, 30, 40, 50, 60])
    assert np.allclose(block[0, :, 0], (a[:3] - a.mean()) / a.std())
    assert np.allclose(block[1, :2, 1], (b[3:5] - b.mean()) / b.std())
    assert block[1, 1, 0] == 0
    assert block[2, 0, 0] == 0


def test_other_columns_are_the_same_at_each_step() -> None:
    encoder, scaled = Encoder.fit(TABLE, "sequence"), Encoder.fit(TABLE.select(["age", "sex"]), "scaled")
    block = steps(encoder, TABLE)
    expected = scaled.transform(TABLE.select(["age", "sex"]))
    assert np.allclose(block[0, :, 2:], expected[0])
    assert np.allclose(block[1, :2, 2:], expected[1])


def test_a_row_without_any_series_is_one_step_of_missing_values() -> None:
    block = steps(Encoder.fit(TABLE, "sequence"), TABLE)
    assert block[3, 0, :2].tolist() == [0, 0]
    assert np.isnan(block[3, 1:]).all()


def test_of_a_series_longer_than_those_of_training_the_latest_steps_count() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    long = pa.table({"a": [[9.0, 9.0, 1.0, 2.0, 3.0]], "b": [[9, 9, 10, 20, 30]], "age": [20.0], "sex": ["f"]})
    assert np.array_equal(encoder.transform(long), encoder.transform(TABLE.slice(0, 1)))


def test_values_beyond_all_reason_are_cut() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    odd = pa.table({"a": [[1e300, -1e300]], "b": [[1, 2]], "age": [1e300], "sex": ["f"]})
    assert steps(encoder, odd)[0, :2, 0].tolist() == [FARTHEST, -FARTHEST]
    assert steps(encoder, odd)[0, 0, 2] == FARTHEST


def test_every_kind_of_arrow_list_gives_the_same() -> None:
    encoder = Encoder.fit(TABLE.select(["a", "b"]), "sequence")
    rows = {"a": [[1.0, 2.0], None], "b": [[3.0, 4.0], [5.0, 6.0]]}
    found = [
        encoder.transform(pa.table({name: pa.array(values, kind) for name, values in rows.items()}))
        for kind in (pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int16(), 2))
    ]
    assert np.array_equal(found[0], found[1], equal_nan=True)
    assert np.array_equal(found[0], found[2], equal_nan=True)


def test_slices_and_chunks_give_the_same() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    whole = encoder.transform(TABLE)
    assert np.array_equal(encoder.transform(TABLE.slice(1, 2)), whole[1:3], equal_nan=True)
    chunked = pa.concat_tables([TABLE.slice(3), TABLE.slice(0, 2)])
    assert np.array_equal(encoder.transform(chunked), whole[[3, 0, 1]], equal_nan=True)


def test_pandas_frames_of_lists_are_taken() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    assert np.array_equal(encoder.transform(TABLE.to_pandas()), encoder.transform(TABLE), equal_nan=True)


def test_series_of_one_row_must_have_one_length() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    odd = pa.table({"a": [[1.0], [1.0, 2.0]], "b": [[1], [1, 2, 3]], "age": [1.0, 1.0], "sex": ["f", "f"]})
    with pytest.raises(Incompatible, match="row 1: column 'a' has 2 steps and column 'b' has 3"):
        encoder.transform(odd)


def test_an_infinite_step_is_refused_with_its_row_and_step() -> None:
    encoder = Encoder.fit(TABLE.select(["a"]), "sequence")
    with pytest.raises(Incompatible, match="'a' is infinite in row 2, step 1"):
        encoder.transform(pa.table({"a": [[1.0], None, [1.0, float("inf")]]}))


def test_lists_of_anything_but_numbers_are_refused() -> None:
    with pytest.raises(Incompatible, match="'words' has type list"):
        Encoder.fit(pa.table({"words": [["a", "b"]]}), "sequence")


def test_an_encoder_of_series_survives_json_exactly() -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert np.array_equal(again.transform(TABLE), encoder.transform(TABLE), equal_nan=True)


@pytest.mark.parametrize(
    "damage", [{"steps": 0}, {"steps": 10**9}, {"shift": [0.0]}, {"scale": [1.0, 0.0]}, {"scale": None}]
)
def test_a_damaged_encoder_of_series_is_refused(damage: dict[str, Any]) -> None:
    document = Encoder.fit(TABLE, "sequence").to_json()
    document["series"] |= damage
    with pytest.raises(Broken):
        Encoder.from_json(document)


def test_a_new_kind_of_column_breaks_the_schema_of_callers() -> None:
    old, new = (InputSchema.of(pa.table({"a": values})) for values in ([1.0], [[1.0]]))
    assert new.breaks(old) == ["column 'a' was numeric and is sequence now"]


# Records


@st.composite
def _rows(draw: st.DrawFn) -> list[list[Any]]:
    number = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**70), 2**70))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(0, 6))
        series: st.SearchStrategy[Any] = st.one_of(
            st.none(), st.just([]), st.lists(number, min_size=length, max_size=length)
        )
        other = draw(st.one_of(st.none(), st.floats(-1e6, 1e6)))
        rows.append([draw(series), draw(series), other, draw(st.sampled_from([None, "f", "m", "?"]))])
    return rows


@settings(max_examples=60, deadline=None)
@given(_rows())
def test_records_and_tables_give_the_same_matrix_bit_for_bit(rows: list[list[Any]]) -> None:
    encoder = Encoder.fit(TABLE, "sequence")
    found = RecordEncoder(encoder).matrix(rows)
    assert np.array_equal(found, encoder.transform(table_of(encoder.schema, rows)), equal_nan=True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.5, "row 0: column 'a' is 1.5 .* expected a list of finite numbers"),
        ("1,2", "row 0: column 'a' is '1,2' "),
        ([1.0, "2"], "row 0: column 'a' is '2' .str. in step 1;"),
        ([1.0, float("nan")], "in step 1"),
        ([True, 1.0], "in step 0"),
        ([[1.0], [2.0]], "in step 0"),
        ([1.0, 2.0, 3.0], "row 0: column 'b' has 2 steps and column 'a' has 3"),
    ],
)
def test_a_record_with_a_wrong_series_is_refused_by_name(value: Any, said: str) -> None:
    records = RecordEncoder(Encoder.fit(TABLE, "sequence"))
    with pytest.raises(Incompatible, match=said):
        records.matrix(records.rows([{"a": value, "b": [1, 2], "age": 1.0, "sex": "f"}]))


# Who takes series


@pytest.mark.parametrize("family", ["lr", "xgb", "mlp"])
def test_a_family_of_single_values_refuses_series_and_says_which_take_them(family: str) -> None:
    with pytest.raises(Incompatible, match=r"column 'a' holds a series.*lstm"):
        create_adapter(family).fit(TABLE, [0, 1, 0, 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_of_series_refuses_a_table_without_any(family: str) -> None:
    with pytest.raises(Incompatible, match="learns from series"):
        create_adapter(family).fit(TABLE.select(["age", "sex"]), [0, 1, 0, 1])


# Padding


def ramps(rows: int = 120, seed: int = 0) -> tuple[pa.Table, Any]:
    """Make noisy series that rise or fall, of 2 to 12 steps; nothing but the order of the steps tells which."""
    random = np.random.default_rng(seed)
    rising = random.random(rows) < 0.5
    lines = [np.linspace(-1, 1, n) * (1 if up else -1) for n, up in zip(random.integers(2, 13, rows), rising)]  # noqa: B905  # one length
    noise = [random.normal(0, 0.2, len(line)) for line in lines]
    other = [random.normal(0, 1, len(line)).tolist() for line in lines]
    table = pa.table(
        {"ramp": [(line + wind).tolist() for line, wind in zip(lines, noise, strict=True)], "noise": other}
    )
    return table, np.where(rising, "up", "down")


@cache
def fitted(family: str) -> BaseModelAdapter:
    return create_adapter(family, **SMALL[family]).fit(*ramps())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_order_of_steps_is_learned(family: str) -> None:
    table, truth = ramps(seed=1)
    assert (fitted(family).predict(table) == truth).mean() > 0.95


@pytest.mark.parametrize("family", FAMILIES)
def test_a_series_gets_the_same_scores_alone_and_beside_longer_ones(family: str) -> None:
    table, _ = ramps(seed=1)
    order = np.argsort(pc.list_value_length(table["ramp"]).to_numpy())
    together = fitted(family).predict_proba(table.take(order))
    alone = np.concatenate([fitted(family).predict_proba(table.slice(i, 1)) for i in order.tolist()])
    assert np.abs(together - alone).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_more_padding_changes_nothing(family: str) -> None:
    table, _ = ramps(seed=1)
    adapter = create_adapter(family, **SMALL[family]).fit(*ramps(60))
    before = adapter.predict_proba(table)
    scale = adapter.encoder.series
    assert scale is not None
    adapter.use_encoder(replace(adapter.encoder, series=replace(scale, steps=50)))
    assert adapter.encoder.transform(table).shape[1] == 100
    assert np.abs(adapter.predict_proba(table) - before).max() < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_of_a_score_with_respect_to_padding_is_zero(family: str) -> None:
    import torch

    adapter: Any = fitted(family)
    matrix = torch.tensor(adapter.encoder.transform(ramps(seed=1)[0]), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(adapter._model(matrix).sum(), matrix)
    padding = torch.isnan(matrix)
    assert padding.any()
    assert (slope[padding] == 0).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_column_that_tells_gets_the_credit(family: str) -> None:
    shares = np.abs(fitted(family).explain(ramps(seed=1)[0]).values).mean(axis=(0, 2))
    assert shares[0] > 3 * shares[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_records_with_lists_are_answered_as_tables_are(family: str, tmp_path: Path) -> None:
    table, _ = ramps(seed=1)
    fitted(family).save(tmp_path)
    form = compile_form(fitted(family), tmp_path, table)
    assert form.kind == "onnx"
    assert form.largest_difference is not None
    assert form.largest_difference < 1e-9
    answer = ServingModel.load(tmp_path).predict(json.loads(json.dumps(table.to_pylist())))
    assert answer.probabilities is not None
    assert np.allclose(answer.probabilities, fitted(family).predict_proba(table), atol=1e-9)


@pytest.mark.parametrize(
    ("family", "hyperparams", "task"),
    [
        ("rnn", {"hidden": 3, "layers": 3, "bidirectional": False}, "classification"),
        ("lstm", {"hidden": 5, "layers": 2}, "regression"),
        ("transformer", {"heads": 3, "head_width": 2, "layers": 3}, "regression"),
    ],
)
def test_deeper_networks_have_an_equal_graph_too(
    family: str, hyperparams: dict[str, Any], task: Any, tmp_path: Path
) -> None:
    table, names = ramps(60)
    target = names if task == "classification" else np.where(names == "up", 1e4, -1e4)
    adapter = create_adapter(family, task=task, epochs=2, **hyperparams).fit(table, target)
    adapter.save(tmp_path)
    form = compile_form(adapter, tmp_path, table)
    assert form.kind == "onnx"
    assert form.largest_difference is not None
    assert form.largest_difference < 1e-9


# Long tables


LONG = pa.table({"id": [2, 1, 1, 2], "t": [0, 1, 0, 1], "x": [5, 2, 1, 6], "who": ["b", "a", "a", "b"]})


def test_a_long_table_becomes_one_row_per_series_in_the_order_of_its_steps() -> None:
    found = series_table(LONG, "id", "t", ["x"], "who", keep=["id"])
    assert found.to_pylist() == [{"x": [1.0, 2.0], "id": 1, "who": "a"}, {"x": [5.0, 6.0], "id": 2, "who": "b"}]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("t", [0, 0, 0, 1], "series 1 has t 0 twice"),
        ("who", ["b", "a", "b", "b"], "column 'who' is .* in series 1"),
        ("t", [0, None, 0, 1], "column 't' is missing in 1 rows"),
        ("x", ["5", "2", "1", "6"], "column 'x' has type string"),
    ],
)
def test_a_long_table_that_says_two_things_is_refused(column: str, values: list[Any], said: str) -> None:
    odd = LONG.set_column(LONG.column_names.index(column), column, pa.array(values))
    with pytest.raises(Incompatible, match=said):
        series_table(odd, "id", "t", ["x"], "who")


def test_a_long_table_without_a_column_is_refused_by_name() -> None:
    with pytest.raises(Incompatible, match="no column 'y'"):
        series_table(LONG, "id", "t", ["y"], "who")


# Telemetry


def test_telemetry_leaves_series_out_and_keeps_the_rest() -> None:
    batches: list[bytes] = []

    async def take(tables: Sequence[bytes]) -> None:
        batches.extend(tables)

    recorder = Recorder("m", take, flush_s=1, most_rows=10)
    recorder.describe("1.0.0", InputSchema.of(TABLE))
    row = [[1.0, 2.0], [1, 2], 30.0, "f"]
    recorder.add(Group("1.0.0", "stable", 1, 0.0, ""), Seen("r", "k", 1.0, 2.0, 200, "yes", 0.9, row))
    asyncio.run(recorder.flush())
    table = Batch.parse(batches[0]).table
    assert [name for name in table.column_names if name.startswith("f.")] == ["f.age", "f.sex"]
    assert table["f.age"].to_pylist() == [30.0]
    assert row[0] == [1.0, 2.0]


def test_drift_watches_the_score_and_the_columns_beside_the_series() -> None:
    held_out = pa.table({f"f.{name}": TABLE[name] for name in TABLE.column_names} | {"score": [0.1, 0.2, 0.3, 0.4]})
    assert sorted(Reference.of(held_out).columns) == ["f.age", "f.sex", "score"]


# Real series


def vowels(split: str) -> tuple[pa.Table, Any]:
    long = pq.read_table(VOWELS)
    rows = long.filter(pc.equal(long["split"], split))
    table = series_table(rows, "series", "t", [f"lpc_{i}" for i in range(12)], "speaker")
    return table.drop_columns(["speaker"]), table["speaker"].to_numpy()


@pytest.mark.parametrize(
    ("family", "hyperparams", "floor"),
    [
        ("rnn", {"hidden": 32, "epochs": 15}, 0.93),
        ("lstm", {"hidden": 32, "epochs": 20}, 0.96),
        ("transformer", {"heads": 2, "epochs": 12}, 0.96),
    ],
)
def test_speakers_are_told_apart_by_their_vowels(family: str, hyperparams: dict[str, Any], floor: float) -> None:
    adapter = create_adapter(family, **hyperparams).fit(*vowels("train"))
    table, speakers = vowels("test")
    assert len(speakers) == 370
    assert (adapter.predict(table) == speakers).mean() >= floor
