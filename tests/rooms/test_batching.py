"""Callers of one model share its runs where that pays, and none of them notices but by the time it takes."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from contracts.errors import Broken, Incompatible
from contracts.records import ServingForm
from mldl_ray.adapters import create_adapter
from mldl_ray.serving_form import Answer, ServingModel
from mldl_ray.serving_form.form import Form
from mldl_ray.serving_form.pace import TOGETHER, Pace, measure_pace
from serve.batching import MOST_TOGETHER, Runs, answers

PAYS = Pace(alone_ms=1.0, together_ms=2.0)
LONG = Pace(alone_ms=50.0, together_ms=60.0)
POISON = 13.0


class Run:
    """The arithmetic of a model, which notes the rows of each run and can be held, and breaks on one value."""

    def __init__(self, raw: Any, poison: float) -> None:
        self._raw, self._poison = raw, poison
        self.rows: list[int] = []
        self.threads: set[int] = set()
        self.began, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, matrix: Any) -> Any:
        self.began.set()
        assert self.go.wait(10)
        self.rows.append(len(matrix))
        self.threads.add(threading.get_ident())
        if np.isclose(matrix[:, 0], self._poison).any():
            raise FloatingPointError("poison")
        return self._raw(matrix)


@pytest.fixture(scope="module")
def adapter() -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    table = pa.table({"a": x[:, 0], "b": x[:, 1]})
    return create_adapter("lr", model_key="m").fit(table, (x.sum(axis=1) > 0).astype(int))


@pytest.fixture
def run(adapter: Any) -> Run:
    return Run(adapter.raw_matrix, adapter.encoder.transform(pa.table({"a": [POISON], "b": [0.0]}))[0, 0])


@pytest.fixture
def model(adapter: Any, run: Run) -> ServingModel:
    made = ServingModel(Form.of(adapter, ServingForm(kind="native")), run)
    made.pace = PAYS
    return made


def inputs(number: float) -> list[Any]:
    return [{"a": number / 10, "b": -number / 20}]


async def all_of(model: ServingModel, bodies: list[list[Any]]) -> list[Answer | BaseException]:
    runs = Runs()
    return await asyncio.gather(*(runs.predict(model, body) for body in bodies), return_exceptions=True)


def test_callers_of_one_moment_share_a_run_and_each_gets_its_own_rows(model: ServingModel, run: Run) -> None:
    bodies = [inputs(i) * (1 + i % 3) for i in range(20)]
    alone = [model.predict(body) for body in bodies]
    run.rows.clear()
    together = asyncio.run(all_of(model, bodies))
    assert run.rows == [sum(map(len, bodies))]
    for one, other in zip(together, alone, strict=True):
        assert isinstance(one, Answer)
        assert (one.predictions, one.rows) == (other.predictions, other.rows)
        assert np.allclose(np.array(one.probabilities), np.array(other.probabilities), rtol=0, atol=1e-6)
        assert np.allclose(one.scores, other.scores, rtol=0, atol=1e-6)


def test_a_row_that_cannot_be_read_fails_its_own_caller_alone(model: ServingModel, run: Run) -> None:
    good, bad, other = asyncio.run(all_of(model, [inputs(1), [{"a": "x", "b": 0}], inputs(2)]))
    assert isinstance(bad, Incompatible)
    assert bad.facts["row"] == 0
    assert isinstance(good, Answer)
    assert isinstance(other, Answer)
    assert run.rows == [2]


def test_a_row_that_breaks_the_model_fails_its_own_caller_alone(model: ServingModel) -> None:
    found = asyncio.run(all_of(model, [inputs(1), [{"a": POISON, "b": 0.0}], inputs(2)]))
    assert [type(one) for one in found] == [Answer, Broken, Answer]


def test_who_comes_while_the_model_runs_is_in_the_next_run(model: ServingModel, run: Run) -> None:
    model.pace = LONG

    async def scene() -> list[Answer]:
        runs = Runs()
        run.go.clear()
        first = asyncio.create_task(runs.predict(model, inputs(0)))
        assert await asyncio.to_thread(run.began.wait, 10)
        rest = [asyncio.create_task(runs.predict(model, inputs(i))) for i in range(1, 9)]
        await asyncio.sleep(0)
        run.go.set()
        return await asyncio.gather(first, *rest)

    found = asyncio.run(scene())
    assert run.rows == [1, 8]
    assert [one.rows[0][0] for one in found] == [i / 10 for i in range(9)]


def test_who_always_comes_alone_waits_for_nobody_and_company_is_noticed_at_once(model: ServingModel, run: Run) -> None:
    async def scene() -> tuple[list[int], list[int]]:
        runs = Runs()
        await runs.predict(model, inputs(0))
        alone = runs.predict(model, inputs(1))
        with pytest.raises(StopIteration):  # answered without giving up its turn of the loop
            alone.send(None)
        before = list(run.rows)
        await asyncio.sleep(0)
        run.rows.clear()
        await asyncio.gather(*(runs.predict(model, inputs(i)) for i in range(9)))
        await asyncio.gather(*(runs.predict(model, inputs(i)) for i in range(9)))
        return before, list(run.rows)

    assert asyncio.run(scene()) == ([1, 1], [1, 8, 9])


def test_a_long_run_leaves_the_event_loop_and_a_short_one_does_not(model: ServingModel, run: Run) -> None:
    asyncio.run(all_of(model, [inputs(0)]))
    assert run.threads == {threading.get_ident()}
    model.pace = LONG
    run.threads.clear()
    asyncio.run(all_of(model, [inputs(0)]))
    assert threading.get_ident() not in run.threads


def test_a_run_takes_no_more_rows_than_it_should(model: ServingModel, run: Run) -> None:
    found = asyncio.run(all_of(model, [inputs(i) * 50 for i in range(5)]))
    assert all(isinstance(one, Answer) for one in found)
    assert run.rows == [100, 100, 50]
    assert max(run.rows) <= MOST_TOGETHER


def test_a_caller_that_goes_away_takes_nobody_with_it(model: ServingModel, run: Run) -> None:
    async def scene() -> list[Answer | BaseException]:
        runs = Runs()
        tasks = [asyncio.create_task(runs.predict(model, inputs(i))) for i in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, gone, last = asyncio.run(scene())
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert run.rows == [2]


def test_after_everybody_went_away_the_next_caller_is_answered(model: ServingModel) -> None:
    async def scene() -> Answer:
        runs = Runs()
        gone = asyncio.create_task(runs.predict(model, inputs(1)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        return await asyncio.wait_for(runs.predict(model, inputs(2)), 5)

    assert asyncio.run(scene()).rows == [[0.2, -0.1]]


def test_a_model_where_batching_does_not_pay_runs_alone(model: ServingModel, run: Run) -> None:
    model.pace = Pace(alone_ms=0.02, together_ms=0.4)
    asyncio.run(all_of(model, [inputs(i) for i in range(4)]))
    assert run.rows == [1, 1, 1, 1]


def test_a_line_does_not_keep_a_model_that_was_let_go(adapter: Any, run: Run) -> None:
    async def scene() -> None:
        runs = Runs()
        model = ServingModel(Form.of(adapter, ServingForm(kind="native")), run)
        model.pace = PAYS
        await runs.predict(model, inputs(1))
        gone = weakref.ref(model)
        del model
        await asyncio.sleep(0)
        gc.collect()
        assert gone() is None

    asyncio.run(scene())


def test_a_failed_run_is_repeated_caller_by_caller(model: ServingModel, run: Run) -> None:
    many = [model.read(body) for body in (inputs(1), [{"a": POISON, "b": 0.0}])]
    answers(model, many)
    assert run.rows == [2, 1, 1]


def test_warming_up_measures_what_company_saves(model: ServingModel, run: Run) -> None:
    model.pace = None
    model.warm_up([[0.1, 0.2], [0.3, 0.4]])
    assert model.pace is not None
    assert TOGETHER in run.rows
    assert model.pace.alone_ms > 0
    assert model.pace.together_ms > 0


def test_the_fastest_run_is_the_pace() -> None:
    asked: list[int] = []
    pace = measure_pace(asked.append)
    assert set(asked) == {1, TOGETHER}
    assert pace.alone_ms < 1
