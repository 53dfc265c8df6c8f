"""Rows asked of a candidate's app, aside from all traffic: in threads of their own, in bounded time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import orjson
from ray import serve as ray_serve

from contracts.replays import ReplayAnswer
from contracts.specs import Json

AT_ONCE = 2
ROW_TIMEOUT_S = 2.0
REPLAY_TIMEOUT_S = 30.0
"""After that no more rows are asked; those that were are judged."""


class Replays:
    """One replay for each app, begun at the first call, its answers kept until the app is forgotten."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}

    def replay(self, app: str, inputs: Sequence[Json]) -> Sequence[ReplayAnswer] | None:
        """Begin to ask, or give the answers; None while there are more to come."""
        if app not in self._runs:
            self._runs[app] = _Run(app, inputs)
            self._runs[app].start()
        return self._runs[app].answers

    def forget(self, app: str) -> None:
        """Stop asking an app, and let go of its answers."""
        run = self._runs.pop(app, None)
        if run is not None:
            run.stopped.set()


class _Run(threading.Thread):
    """Ask all rows of one replay; a thread, because the deployment loop must not wait for it.

    It has an event loop of its own: Serve's handles may be set to work on the loop of their caller only.
    """

    def __init__(self, app: str, inputs: Sequence[Json]) -> None:
        super().__init__(name=f"replay-{app}", daemon=True)
        self._app, self._inputs = app, inputs
        self.stopped = threading.Event()
        self.answers: Sequence[ReplayAnswer] | None = None

    def run(self) -> None:
        """Ask, a few rows at once, until all are answered or time is up."""
        self.answers = asyncio.run(self._ask_all())

    async def _ask_all(self) -> list[ReplayAnswer]:
        handle = ray_serve.get_app_handle(self._app).options(stream=False)
        deadline_s = time.monotonic() + REPLAY_TIMEOUT_S
        answers: list[ReplayAnswer] = []
        for start in range(0, len(self._inputs), AT_ONCE):
            if self.stopped.is_set() or time.monotonic() > deadline_s:
                break
            some = self._inputs[start : start + AT_ONCE]
            answers += await asyncio.gather(*(_asked(handle, record) for record in some))
        return answers


async def _asked(handle: Any, record: Json) -> ReplayAnswer:
    try:
        asked = handle.predict.remote(orjson.dumps([record]))
        answer = orjson.loads(await asyncio.wait_for(asked, ROW_TIMEOUT_S))
    except TimeoutError:
        return ReplayAnswer(status=504, problem=f"no answer within {ROW_TIMEOUT_S:g} s")
    except Exception as error:  # noqa: BLE001  # whatever a candidate does wrong is the candidate's, and must not end the check
        return ReplayAnswer(status=500, problem=_words(error))
    if "refused" in answer:
        return ReplayAnswer(status=422, problem=str(answer["refused"])[:500])
    return ReplayAnswer(
        status=200,
        prediction=answer["predictions"][0],
        score=answer["scores"][0],
        took_ms=answer["took_ms"],
    )


def _words(error: Exception) -> str:
    """Say what went wrong in the last line of an error: that is where Ray's tell it."""
    return f"{type(error).__name__}: {str(error).strip().rpartition(chr(10))[2]}"[:500]
