"""A kernel on another machine, asked over HTTP. Not here: what to do while it is down, which is its caller's to say.

Every attempt has a deadline for the whole answer, however slowly it drips in. What may pass is tried again, a little
later each time. A kernel that fails several times in a row is left alone for a while (``_breaker``): then asking costs
nothing, until one attempt finds it well again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

import httpx

from contracts.bridges import CallCounts
from contracts.errors import Unavailable
from contracts.specs import Json
from mldl_ray.bridges._breaker import Breaker
from mldl_ray.bridges.calls import Calls
from mldl_ray.settings import RemoteBridge

TIMEOUT_S = 5.0
LARGEST_ANSWER_BYTES = 2**20
FIRST_PAUSE_S = 0.1
"""Before the first repetition; twice as long before each next one, and up to half of it more, by chance."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone a moment later; any other refusal stays one, and says nothing about the kernel's health."""


class _Refusal(Unavailable):
    """The kernel is well and does not want this question."""


class RemoteKernel:
    """Put questions as JSON to ``<url>/<verb>``.

    Args:
        url: Of the kernel, without the verb.
        needed: What every answer must hold.
        client: Posts; one with its defaults when absent.
        timeout_s: Of one attempt, for the whole answer; ``TIMEOUT_S`` when absent.
        retries: Attempts after the first.
        open_after: Failed attempts in a row after which the kernel is left alone.
        rest_s: Seconds that it then is.
        now_s: A clock that never goes back, seconds.
        pause: Waits some seconds.
    """

    def __init__(
        self,
        url: str,
        needed: frozenset[str] = frozenset(),
        client: httpx.Client | None = None,
        *,
        timeout_s: float | None = None,
        retries: int = 0,
        open_after: int = 3,
        rest_s: float = 30.0,
        now_s: Callable[[], float] = time.monotonic,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.url, self._needed = url.rstrip("/"), needed
        self._client = client or httpx.Client()
        self._timeout_s, self._retries, self._pause = timeout_s, retries, pause
        self._breaker = Breaker(now_s, open_after=open_after, rest_s=rest_s)
        self._calls = Calls(now_s)

    @classmethod
    def of(cls, remote: RemoteBridge, needed: frozenset[str] = frozenset()) -> Self:
        """Make one as it is configured."""
        return cls(
            remote.url,
            needed,
            timeout_s=remote.timeout_s,
            retries=remote.retries,
            open_after=remote.open_after,
            rest_s=remote.rest_s,
        )

    def ask(self, verb: str, question: Json) -> Json:
        """Ask, and again as often as is configured while what fails may pass.

        Raises:
            Unavailable: No answer in time, not a success, not what was asked for, or the kernel is left alone now.
        """
        if not self._breaker.admits():
            raise Unavailable(self.trouble or f"{self.url} is left alone", {"retry_after_s": self._breaker.rest_left_s})
        with self._calls.timed():
            return self._asked(verb, question)

    def probe(self) -> None:
        """Look whether a kernel that was left alone is back, without a question: any answer but a 5xx says so."""
        if self._breaker.state != "half_open" or not self._breaker.admits():
            return
        try:
            status = self._client.get(f"{self.url}/health", timeout=self._timeout_s or TIMEOUT_S).status_code
        except (httpx.HTTPError, httpx.InvalidURL):
            status = 503
        if status >= 500:
            self._breaker.failed()
        else:
            self._breaker.succeeded()
            self._calls.recovered()

    @property
    def counts(self) -> CallCounts:
        """How often it was asked, how often in vain, and how long that took."""
        return self._calls.counts

    @property
    def circuit(self) -> str:
        """``closed`` (asked), ``open`` (left alone) or ``half_open`` (the next question tells)."""
        return self._breaker.state

    @property
    def trouble(self) -> str | None:
        """Say what is wrong; None when the last question was answered, or the kernel was found well since."""
        error = self._calls.error
        if self._breaker.state != "closed":
            wait_s = self._breaker.rest_left_s
            told = f"is asked again in {wait_s:.0f} s" if wait_s else "is asked again with the next question"
            return f"{error or self.url + ' does not answer'}; it {told}"
        return error

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _asked(self, verb: str, question: Json) -> Json:
        for attempt in range(self._retries + 1):
            try:
                found = self._in_time(f"{self.url}/{verb}", question)
            except _Refusal:
                self._breaker.succeeded()  # it is there, and well enough to say no
                raise
            except Unavailable:
                self._breaker.failed()
                if attempt == self._retries or not self._breaker.admits():
                    raise
                self._pause(FIRST_PAUSE_S * 2**attempt * random.uniform(1, 1.5))
            else:
                self._breaker.succeeded()
                return found
        raise AssertionError("the last attempt returns or raises")

    def _in_time(self, where: str, question: Json) -> Json:
        """Make one attempt; who drips is not waited for."""
        told: Future[Json] = Future()
        timeout_s = self._timeout_s or TIMEOUT_S

        def wait() -> None:
            try:
                told.set_result(self._once(where, question, timeout_s))
            except Unavailable as error:
                told.set_exception(error)

        threading.Thread(target=wait, name="remote-kernel", daemon=True).start()
        try:
            return told.result(timeout_s + 0.05)  # httpx's own timeout says more, so it comes first
        except TimeoutError as error:
            raise Unavailable(f"{where} does not answer: no whole answer within {timeout_s:g} s") from error

    def _once(self, where: str, question: Json, timeout_s: float) -> Json:
        try:
            with self._client.stream("POST", where, json=question, timeout=timeout_s) as answer:
                if not answer.is_success:
                    kind = Unavailable if answer.status_code in PASSING else _Refusal
                    raise kind(f"{where} answered {answer.status_code}")
                body = self._limited(answer, where, time.monotonic() + timeout_s)
            found = httpx.Response(200, content=body).json()
        except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # the last: its client was closed meanwhile
            raise Unavailable(f"{where} does not answer: {type(error).__name__}: {error}") from error
        except ValueError as error:
            raise Unavailable(f"{where} answered no JSON: {error}") from error
        if not isinstance(found, dict) or not self._needed <= set(found):
            raise Unavailable(f"{where} did not answer with {', '.join(sorted(self._needed)) or 'an object'}")
        return found

    @staticmethod
    def _limited(answer: httpx.Response, where: str, until_s: float) -> bytes:
        body = b""
        for chunk in answer.iter_bytes():
            body += chunk
            if time.monotonic() > until_s:
                raise Unavailable(f"{where} drips its answer")  # nobody waits for it any more
            if len(body) > LARGEST_ANSWER_BYTES:
                raise Unavailable(f"{where} answered with more than {LARGEST_ANSWER_BYTES} bytes")
        return body
