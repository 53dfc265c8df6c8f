"""What every family must keep, as tests that a family runs by subclassing, here or in another package.

    from mldl_ray.adapters.conformance import AdapterConformance

    class TestForest(AdapterConformance):
        family = ForestAdapter

Needs pytest only to be run; nothing here imports it.
"""
# ruff: noqa: D102  # a test's name is its docstring

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import Conflict, Incompatible, MldlError
from contracts.specs import Task
from mldl_ray.adapters.base import UNSUPERVISED, BaseModelAdapter
from mldl_ray.adapters.table import Floats
from mldl_ray.serving_form import ServingModel, compile_form

ROWS = 240
LEARNED: frozenset[Task] = frozenset({"classification", "regression", "clustering", "dimension_reduction"})
"""Tasks that are learned from a table and answer rows: those that this kit fits by itself."""

_FRESH = """
import sys, importlib, numpy, pyarrow.parquet
from mldl_ray.adapters.conformance import scores
module, name, *folders = sys.argv[1:]
for folder in folders:
    adapter = getattr(importlib.import_module(module), name).load(folder)
    table = pyarrow.parquet.read_table(folder + "/rows.parquet")
    numpy.save(folder + "/scores.npy", scores(adapter, table))
"""


def mixed_table(rows: int = ROWS, seed: int = 0) -> pa.Table:
    """Make rows with every kind of column: numbers, integers, strings, booleans, times; some values missing."""
    rng = np.random.default_rng(seed)
    gaps = rng.random((5, rows)) < 0.1
    return pa.table(
        {
            "length": pa.array(rng.normal(10, 3, rows), mask=gaps[0]),
            "count": pa.array(rng.integers(0, 50, rows), mask=gaps[1]),
            "colour": pa.array(rng.choice(["red", "green", "blue", ""], rows), pa.string(), mask=gaps[2]),
            "grade": pa.array(rng.choice(["a", "b"], rows)).dictionary_encode(),
            "active": pa.array(rng.random(rows) < 0.5, mask=gaps[3]),
            "seen": pa.array(
                rng.integers(1_700_000_000, 1_720_000_000, rows) * 10**6, pa.timestamp("us"), mask=gaps[4]
            ),
        }
    )


def with_series(table: pa.Table, seed: int = 2) -> pa.Table:
    """Put two columns of series beside others: one to seven steps, some steps and some whole series missing."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, table.num_rows)
    for name in ("pulse", "tone"):
        series = [[float(step) if rng.random() > 0.1 else None for step in rng.normal(0, 1, n)] for n in lengths]
        gaps = rng.random(table.num_rows) < 0.1
        lists = [None if gap else steps for steps, gap in zip(series, gaps.tolist(), strict=True)]
        table = table.append_column(name, pa.array(lists, pa.list_(pa.float64())))
    return table


def grouped_table(rows: int = ROWS, groups: int = 3, seed: int = 0) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Make rows of some groups that lie well apart in every column, and say which group each row is of."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, rows)
    names = np.array([f"kind {i}" for i in range(groups)])
    made = {
        "length": rng.normal(group * 20, 1),
        "count": (group * 7) % (groups * 5) + rng.integers(0, 2, rows),
        "colour": names[group],
    }
    return pa.table(made), group


def answers(table: pa.Table, task: Task, classes: int = 2) -> Any:
    """Make labels or values that follow from a table's columns, with a little noise; None where no task has any."""
    if task in UNSUPERVISED:
        return None
    length = np.nan_to_num(table["length"].to_numpy(), nan=10.0)
    red = np.array([value == "red" for value in table["colour"].to_pylist()])
    signal = (length - 10) / 3 + red + np.random.default_rng(1).normal(0, 0.3, len(length))
    if task == "regression":
        return signal * 100
    names = np.array(["low", "high"] if classes == 2 else [f"c{i}" for i in range(classes)])
    return names[np.searchsorted(np.quantile(signal, np.linspace(0, 1, classes + 1)[1:-1]), signal)]


class AdapterConformance:
    """The promises of ``BaseModelAdapter``, each as a test. A subclass sets ``family`` (the class)."""

    family: ClassVar[type[BaseModelAdapter]]
    hyperparams: ClassVar[dict[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-9
    _learned: ClassVar[list[tuple[BaseModelAdapter, pa.Table]]]

    def make(self, task: Task, **hyperparams: Any) -> BaseModelAdapter:
        """Make an unfitted adapter."""
        return self.family("kit", task=task, seed=7, **(self.hyperparams | hyperparams))

    def table(self) -> pa.Table:
        """Make the rows that the family is tried on: every kind of column, and series where it reads them."""
        return with_series(mixed_table()) if self.family.capabilities.sequence else mixed_table()

    def fitted(self) -> Iterator[tuple[BaseModelAdapter, pa.Table]]:
        """Fit one adapter per task, and one with three classes."""
        table = self.table()
        capabilities = self.family.capabilities
        for task in sorted(capabilities.tasks & LEARNED):
            yield self.make(task).fit(table, answers(table, task)), table
        if "classification" in capabilities.tasks and capabilities.multiclass:
            yield self.make("classification").fit(table, answers(table, "classification", 3)), table

    def learned(self) -> list[tuple[BaseModelAdapter, pa.Table]]:
        """Give what ``fitted`` makes, fitted once for all tests of a class: they read it and never change it."""
        own = type(self)
        if "_learned" not in vars(own):
            own._learned = list(self.fitted())
        return own._learned

    def test_it_learns_something(self) -> None:
        for adapter, table in self.learned():
            if adapter.task in UNSUPERVISED:
                self.learns_groups(adapter.task)
                continue
            truth = answers(table, adapter.task, max(2, len(adapter.classes)))
            found = adapter.predict(table)
            if adapter.task == "classification":
                assert (found == truth).mean() > 0.7
            else:
                assert np.corrcoef(found, truth)[0, 1] > 0.7

    def learns_groups(self, task: Task) -> None:
        """Check that rows of groups that lie far apart are told apart."""
        table, group = grouped_table()
        adapter = self.make(task).fit(table)
        if task == "clustering":
            found = adapter.predict(table)
            assert set(found.tolist()) <= set(adapter.classes)
            assert len(set(found.tolist())) >= 2
            largest = sum(np.bincount(group[found == cluster]).max() for cluster in np.unique(found))
            assert largest / len(group) > 0.8
        elif task == "dimension_reduction":
            places = adapter.predict(table)
            within = sum(places[group == g].var(axis=0) * (group == g).mean() for g in np.unique(group))
            assert np.sum(within) < 0.2 * places.var(axis=0).sum()

    def test_a_new_process_loads_it_and_predicts_the_same(self) -> None:
        with tempfile.TemporaryDirectory() as root:
            expected = {}
            for number, (adapter, table) in enumerate(self.learned()):
                folder = f"{root}/{number}"
                adapter.save(folder)
                pq.write_table(table, f"{folder}/rows.parquet")
                expected[folder] = scores(adapter, table)
            command = [sys.executable, "-c", _FRESH, self.family.__module__, self.family.__name__, *expected]
            ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240)
            assert ended.returncode == 0, ended.stderr
            for folder, said in expected.items():
                assert np.array_equal(np.load(f"{folder}/scores.npy"), said)

    def test_what_was_saved_is_known_again(self) -> None:
        for adapter, _ in self.learned():
            with tempfile.TemporaryDirectory() as folder:
                adapter.save(folder)
                again = self.family.load(folder)
            for name in ("model_key", "task", "seed", "classes", "hyperparams", "schema"):
                assert getattr(again, name) == getattr(adapter, name), name

    def test_row_order_and_batch_size_do_not_matter(self) -> None:
        for adapter, table in self.learned():
            whole = scores(adapter, table)
            order = np.random.default_rng(3).permutation(table.num_rows)
            assert close(scores(adapter, table.take(order)), whole[order], self.tolerance)
            alone = np.concatenate([scores(adapter, table.slice(i, 1)) for i in range(20)])
            assert close(alone, whole[:20], self.tolerance)

    def test_a_representation_has_a_line_per_row_that_depends_on_it_alone(self) -> None:
        for adapter, table in self.learned():
            whole = adapter.representation(table)
            if whole is not None:
                assert whole.ndim == 2
                assert np.isfinite(whole).all()
                part = adapter.representation(table.slice(5, 7))
                assert part is not None
                assert close(part, whole[5:12], self.tolerance)

    def test_column_order_does_not_matter(self) -> None:
        for adapter, table in self.learned():
            turned = table.select(table.column_names[::-1])
            assert np.array_equal(scores(adapter, turned), scores(adapter, table))

    def test_pandas_and_arrow_give_the_same(self) -> None:
        for adapter, table in self.learned():
            assert np.array_equal(scores(adapter, table.to_pandas()), scores(adapter, table))

    def test_probabilities_are_probabilities(self) -> None:
        for adapter, table in self.learned():
            if adapter.task == "classification":
                proba = adapter.predict_proba(table)
                assert proba.shape == (table.num_rows, len(adapter.classes))
                assert (proba >= 0).all()
                assert np.allclose(proba.sum(axis=1), 1)

    def test_missing_unseen_and_extreme_values_are_answered(self) -> None:
        for adapter, table in self.learned():
            nothing = pa.table({name: pa.nulls(1) for name in table.column_names})
            assert np.isfinite(scores(adapter, nothing)).all()
            odd = table.slice(0, 3).set_column(0, "length", pa.array([1e300, -1e300, -0.0]))
            odd = odd.set_column(2, "colour", pa.array(["mauve", "", "x" * 10_000]))
            assert np.isfinite(scores(adapter, odd)).all()

    def test_a_missing_or_unknown_column_is_refused_by_name(self) -> None:
        for adapter, table in self.learned():
            assert "'length' is missing" in refusal(adapter.predict, table.drop_columns(["length"]))
            extra = table.append_column("lenght", table["length"])
            assert "'lenght' is unknown" in refusal(adapter.predict, extra)

    def test_a_column_of_another_kind_is_refused_by_name(self) -> None:
        for adapter, table in self.learned():
            wrong = table.set_column(0, "length", pa.array(["long"] * table.num_rows))
            assert "'length'" in refusal(adapter.predict, wrong)

    def test_an_infinite_value_is_refused_with_its_row(self) -> None:
        for adapter, table in self.learned():
            wrong = table.slice(0, 2).set_column(0, "length", pa.array([1.0, float("inf")]))
            assert "row 1" in refusal(adapter.predict, wrong)

    def test_rows_that_teach_nothing_are_refused(self) -> None:
        table = self.table()
        for task in sorted(self.family.capabilities.tasks & LEARNED):
            target = answers(table, task)
            assert "no rows" in refusal(self.make(task).fit, table.slice(0, 0), None if target is None else target[:0])
            if target is None:
                continue
            assert "239" in refusal(self.make(task).fit, table, target[1:])
            gone = np.full(table.num_rows, np.nan)
            assert "missing in all" in refusal(self.make(task).fit, table, gone)
            if task == "classification":
                assert "one class" in refusal(self.make(task).fit, table, np.full(table.num_rows, "a"))

    def test_an_empty_column_has_no_effect_and_makes_no_noise(self) -> None:
        table = self.table()
        wider = table.append_column("void", pa.nulls(table.num_rows)).append_column(
            "blank", pa.array([None] * table.num_rows, pa.string())
        )
        for adapter, _ in self.learned():
            target = answers(table, adapter.task, max(2, len(adapter.classes)))
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                other = self.make(adapter.task).fit(wider, target)
            assert np.array_equal(scores(other, wider), scores(adapter, table))

    def test_an_unknown_task_or_setting_is_refused_and_those_known_are_listed(self) -> None:
        task = min(self.family.capabilities.tasks)
        assert "reinforcement" in refusal(lambda: self.make("reinforcement"))
        message = refusal(lambda: self.make(task, no_such_setting=1))
        assert "no_such_setting" in message
        assert all(setting.name in message for setting in self.family.settings)

    def test_a_setting_of_the_wrong_type_is_refused_by_name(self) -> None:
        task = min(self.family.capabilities.tasks)
        for setting in self.family.settings:
            for wrong in ("a lot", float("nan"), [1]):
                assert setting.name in refusal(partial(self.make, task, **{setting.name: wrong}))

    def test_the_search_space_and_the_grid_hold_settings_that_exist(self) -> None:
        names = {setting.name for setting in self.family.settings}
        assert set(self.family.search_space()) <= names
        for name, values in self.family.grid().items():
            for value in values:
                self.make(min(self.family.capabilities.tasks), **{name: value})

    def test_the_same_seed_learns_the_same_model(self) -> None:
        for (first, table), (second, _) in zip(self.learned(), self.fitted(), strict=True):
            assert np.array_equal(scores(first, table), scores(second, table))

    def test_two_identical_fits_save_identical_bytes(self) -> None:
        for (first, _), (second, _) in zip(self.learned(), self.fitted(), strict=True):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                first.save(one)
                second.save(other)
                assert contents(one) == contents(other)

    def test_a_shared_encoder_and_its_matrix_give_the_same_model(self) -> None:
        for adapter, table in self.learned():
            matrix = adapter.encoder.transform(table)
            target = answers(table, adapter.task, max(2, len(adapter.classes)))
            for _ in range(2):
                other = self.make(adapter.task)
                other.use_encoder(adapter.encoder)
                other.fit_matrix(matrix, target)
                assert np.array_equal(other.predict_matrix(matrix), adapter.predict(table))

    def test_sample_weights_count(self) -> None:
        if not self.family.capabilities.sample_weight:
            return
        table = self.table()
        task = min(self.family.capabilities.tasks & LEARNED)
        target = answers(table, task)
        weights = np.where(np.arange(table.num_rows) < 60, 10.0, 0.1)
        weighted = self.make(task).fit(table, target, sample_weight=weights)
        unseen = table.set_column(0, "length", table["length"].take(np.arange(table.num_rows)[::-1]))
        assert not np.array_equal(scores(weighted, unseen), scores(self.make(task).fit(table, target), unseen))
        assert "negative" in refusal(lambda: self.make(task).fit(table, target, sample_weight=-weights))

    def test_attributions_add_up_to_the_raw_scores(self) -> None:
        for adapter, table in self.learned():
            explained = adapter.explain(table)
            assert explained.columns == tuple(table.column_names)
            raw = adapter.raw_matrix(adapter.encoder.transform(table))
            assert close(explained.base + explained.values.sum(axis=1), raw, 1e-4)

    def test_many_threads_get_the_same_answers(self) -> None:
        for adapter, table in self.learned():
            parts = [table.slice(i % 8 * 30, 30) for i in range(64)]
            alone = [scores(adapter, part) for part in parts]
            with ThreadPoolExecutor(8) as pool:
                together = list(pool.map(partial(scores, adapter), parts))
            assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))

    def test_it_has_a_serving_form_or_says_why_not(self) -> None:
        for adapter, table in self.learned():
            with tempfile.TemporaryDirectory() as folder:
                adapter.save(folder)
                form = compile_form(adapter, folder, table)
                assert (form.kind == "onnx") == (form.why_native is None)
                records = table.to_pylist()
                answer = ServingModel.load(folder).predict(records)
            expected = scores(adapter, table)
            if adapter.task not in {"regression", "dimension_reduction"}:
                assert answer.predictions == adapter.predict(table).tolist()
            if adapter.task == "clustering":
                assert close(np.array(answer.scores), expected.max(axis=1), 1e-6)
                continue
            found = answer.probabilities if answer.probabilities is not None else answer.predictions
            assert close(np.array(found), expected, 1e-6)

    def test_before_it_learned_it_says_so(self) -> None:
        adapter = self.make(min(self.family.capabilities.tasks))
        for act, argument in ((adapter.predict, mixed_table()), (adapter.save, tempfile.gettempdir() + "/never")):
            assert "not fitted" in refusal(act, argument, expected=Conflict)


def contents(folder: str) -> dict[str, bytes]:
    """Give every file of a folder by its name within it."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def scores(adapter: BaseModelAdapter, rows: Any) -> Floats:
    """Give probabilities; the raw score of every cluster; or values, where there are neither."""
    if adapter.task == "clustering":
        return adapter.raw_matrix(adapter.encoder.transform(rows))
    return adapter.predict_proba(rows) if adapter.task == "classification" else adapter.predict(rows)


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """Compare scores, relative to their size above 1."""
    return bool((np.abs(found - expected) <= tolerance * np.maximum(1, np.abs(expected))).all())


def refusal(act: Callable[..., Any], *arguments: Any, expected: type[MldlError] = Incompatible) -> str:
    """Give the message with which an act is refused; fail when it is not."""
    try:
        act(*arguments)
    except expected as error:
        return error.message
    raise AssertionError(f"expected {expected.__name__}, but it was taken")
