"""One run of a model for many callers: adaptive, without a timer, and only where the model's measured ``pace`` pays.

A caller who finds the model idle is answered at once. Callers who come while it runs wait in line, and the next run
takes them together. Each caller's inputs are checked alone, before the line, so nobody fails for another's row; when a
run fails, it is repeated caller by caller. A run leaves the event loop where it would hold up the others on it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from contracts.errors import Broken, MldlError, Unavailable
from mldl_ray.serving_form import Answer, ServingModel
from mldl_ray.serving_form.model import Encoded
from mldl_ray.serving_form.pace import Pace

INLINE_ROWS = 64
"""Requests of more rows run alone and off the event loop, so that small ones do not wait behind them."""
MOST_TOGETHER = 128
"""Rows of one run; more would only make the first of them wait."""
LONG_MS = 5.0
"""Runs that take longer leave the event loop; a thread costs some 0.1 ms."""
LONGEST_RUN_S = 30.0
"""A model that has not come back by then is taken to hang, and nobody joins its line any more."""


class Waiting(NamedTuple):
    """A caller in line."""

    encoded: Encoded
    answer: asyncio.Future[Answer]


class Runs:
    """Runs models for callers on one event loop, which alone uses it."""

    def __init__(self) -> None:
        self._lines: WeakKeyDictionary[ServingModel, Line] = WeakKeyDictionary()

    async def predict(self, model: ServingModel, inputs: list[Any]) -> Answer:
        """Answer one caller.

        Raises:
            Incompatible: The inputs are not what the model takes.
            Broken: The model fails on them, also alone.
            Unavailable: The model hangs.
        """
        rows, pace = len(inputs), model.pace
        if rows > INLINE_ROWS:
            return await asyncio.to_thread(model.predict, inputs)
        if pace is None:
            return model.predict(inputs)
        if pace.pays:
            return await self._line(model, pace).join(model, model.read(inputs))
        if pace.run_ms(rows) > LONG_MS:
            return await asyncio.to_thread(model.predict, inputs)
        return model.predict(inputs)

    def _line(self, model: ServingModel, pace: Pace) -> Line:
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = Line(pace)
        return line


class Line:
    """Who waits for one model, in the order in which they came. It holds the model only while it runs."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._waiting: deque[Waiting] = deque()
        self._running_since: float | None = None
        self._company = True  # whether the latest run had more than one caller; none has told otherwise yet
        self._answered_alone = False  # somebody, in this turn of the loop

    async def join(self, model: ServingModel, encoded: Encoded) -> Answer:
        """Wait for the answer; who goes away before a run begins is left out of it."""
        loop = asyncio.get_running_loop()
        if self._running_since is None and self._is_lonely(encoded):
            self._answered_alone = True
            loop.call_soon(self._turn_ended)
            return model.answer(encoded)
        if self._running_since is None:
            self._running_since = time.monotonic()
            # At the end of this turn of the loop, so that all whose requests it brought are in the first run.
            loop.call_soon(self._run, model)
        elif time.monotonic() - self._running_since > LONGEST_RUN_S:
            raise Unavailable(f"a run of {model.model_key} has not ended in {LONGEST_RUN_S:g} s; it hangs")
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append(Waiting(encoded, answer))
        return await answer

    def _is_lonely(self, encoded: Encoded) -> bool:
        """Say whether nobody is likely to share the run, so that waiting a turn for company would only cost time."""
        return not (self._company or self._answered_alone) and self._pace.run_ms(len(encoded.rows)) <= LONG_MS

    def _turn_ended(self) -> None:
        self._answered_alone = False

    def _run(self, model: ServingModel) -> None:
        batch, rows = self._next()
        self._company = len(batch) > 1
        if not batch:
            self._running_since = None
            return
        self._running_since = time.monotonic()
        if self._pace.run_ms(rows) > LONG_MS:
            aside = asyncio.get_running_loop().run_in_executor(None, answers, model, [one.encoded for one in batch])
            aside.add_done_callback(lambda done: self._ended(model, batch, done))
            return
        _give(batch, answers(model, [one.encoded for one in batch]))
        self._go_on(model)

    def _ended(self, model: ServingModel, batch: list[Waiting], run: asyncio.Future[list[Answer | MldlError]]) -> None:
        failed = None if run.cancelled() else run.exception()
        if run.cancelled() or failed is not None:
            _give(batch, [Unavailable(f"the replica is ending: {failed}")] * len(batch))
        else:
            _give(batch, run.result())
        self._go_on(model)

    def _go_on(self, model: ServingModel) -> None:
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._run, model)
        else:
            self._running_since = None

    def _next(self) -> tuple[list[Waiting], int]:
        """Take from the line who fits into one run; the first always does."""
        batch: list[Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + len(self._waiting[0].encoded.rows) <= MOST_TOGETHER):
            one = self._waiting.popleft()
            if not one.answer.done():  # else its caller went away
                batch.append(one)
                rows += len(one.encoded.rows)
        return batch, rows


def answers(model: ServingModel, many: Sequence[Encoded]) -> list[Answer | MldlError]:
    """Answer several callers in one run, or, when that fails, each in a run of its own."""
    try:
        return [*model.answer_each(many)]
    except Broken as error:
        return [error] if len(many) == 1 else [answers(model, [one])[0] for one in many]


def _give(batch: Sequence[Waiting], found: Sequence[Answer | MldlError]) -> None:
    for one, answer in zip(batch, found, strict=True):
        if one.answer.done():
            continue
        if isinstance(answer, Answer):
            one.answer.set_result(answer)
        else:
            one.answer.set_exception(answer)
