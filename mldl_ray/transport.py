"""One HTTP call of the client: sent, repeated where that is safe, its problem raised as our error. Not here: verbs."""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
from pydantic import ValidationError

from contracts import errors
from contracts.errors import Broken, MldlError, Refused, Unavailable
from contracts.events import Event
from contracts.http import Problem
from contracts.specs import Json, Words

BASE = "/api/mldl/v1"
TIMEOUT = httpx.Timeout(90.0, connect=5.0)
"""Seconds; longer than the service waits for an actor."""
STREAM_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Seconds; longer than the pause between two heartbeats."""
CONNECT_PATIENCE_S = 2.0
AWAY_PATIENCE_S = 20.0
PAUSE_S = 0.2
_AWAY = frozenset({502, 503, 504})


class Transport:
    """Carry calls to one service, as one caller."""

    def __init__(
        self, url: str, key: str | None, acting_as: str | None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = _checked_url(url)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if acting_as:
            headers["x-mldl-actor"] = acting_as
        self._http = httpx.Client(base_url=self.url + BASE, headers=headers, timeout=TIMEOUT, transport=transport)
        self.close = weakref.finalize(self, self._http.close)
        """Close the connections; happens by itself when nobody holds the client any more."""

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Words | Json | None = None,
        query: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a call, again while the service is away: a mutation carries an idempotency key, so that this is safe.

        Raises:
            MldlError: What the service said, as it was raised there; ``Unavailable`` when nobody answers.
        """
        sent = dict(headers or {})
        if method != "GET":
            sent.setdefault("Idempotency-Key", uuid.uuid4().hex)
        query = {name: value for name, value in (query or {}).items() if value is not None}
        request = self._http.build_request(method, path, json=_plain(body), params=query, headers=sent)
        began_s = time.monotonic()
        while True:
            response = self._send(request, began_s)
            if response is not None:
                return response

    def _send(self, request: httpx.Request, began_s: float) -> httpx.Response | None:
        try:
            response = self._http.send(request)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
            raise Unavailable(f"{self.url} did not answer within {TIMEOUT.read:g} s; the call may still run") from error
        except httpx.TransportError as error:
            if time.monotonic() - began_s > CONNECT_PATIENCE_S:
                raise self._nobody(error) from error
            time.sleep(PAUSE_S)
            return None
        if response.is_success:
            return response
        problem = error_of(response)
        pause_s = float(problem.facts.get("retry_after_s", PAUSE_S))
        if response.status_code not in _AWAY or time.monotonic() + pause_s - began_s > AWAY_PATIENCE_S:
            raise problem
        time.sleep(pause_s)
        return None

    def _nobody(self, error: httpx.TransportError) -> Unavailable:
        return Unavailable(f"nobody answers at {self.url} ({error}); start the system with: mldl up")

    def events(self, after: int, query: Json) -> Iterator[Event]:
        """Follow the event stream, from after a position, through interruptions, each event once.

        Raises:
            Unavailable: The service stayed away.
        """
        seen: set[str] = set()
        lost_s = time.monotonic()
        while True:
            try:
                for event_id, event in self._stream(after, query):
                    lost_s = time.monotonic()
                    if event is not None and event.id not in seen:
                        seen.add(event.id)
                        yield event
                    if event_id is not None:
                        after, seen = event_id, set()
            except httpx.TransportError as error:
                if time.monotonic() - lost_s > AWAY_PATIENCE_S:
                    raise self._nobody(error) from error
            time.sleep(PAUSE_S)

    def lines(self, path: str, query: Json) -> Iterator[str]:
        """Give a long answer line by line, with their ends.

        Raises:
            MldlError: What the service said; ``Unavailable`` when it broke off or nobody answers.
        """
        try:
            with self._http.stream("GET", path, params=query, timeout=TIMEOUT) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                yield from _lines(response)
        except httpx.TransportError as error:
            raise self._nobody(error) from error

    def pieces(self, path: str, query: Json) -> Iterator[bytes]:
        """Give a long answer in pieces, as they come.

        Raises:
            MldlError: What the service said; ``Unavailable`` when it broke off or nobody answers.
        """
        try:
            with self._http.stream("GET", path, params=query, timeout=TIMEOUT) as response:
                if not response.is_success:
                    response.read()
                    raise error_of(response)
                yield from response.iter_bytes()
        except httpx.TransportError as error:
            raise self._nobody(error) from error

    def _stream(self, after: int, query: Json) -> Iterator[tuple[int | None, Event | None]]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._http.stream("GET", "/events", params=query, headers=headers, timeout=STREAM_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise error_of(response)
            event_id: int | None = None
            for line in map(str.rstrip, _lines(response)):
                name, _, value = line.partition(": ")
                if name == "id":
                    event_id = int(value)
                elif name == "data":
                    yield event_id, Event.model_validate_json(value)
                    event_id = None
                else:
                    yield None, None


def _lines(response: httpx.Response) -> Iterator[str]:
    """Split at line feeds and nowhere else: a JSON text may hold other characters that end lines."""
    rest = b""
    for part in response.iter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode() + "\n"
    if rest:
        yield rest.decode()


def error_of(response: httpx.Response) -> MldlError:
    """Give the error that an answer stands for: of the class that has its ``code``, with the same message and facts.

    >>> error_of(httpx.Response(404, json={"type": "", "title": "", "status": 404, "detail": "no job j",
    ...     "code": "not_found", "facts": {"job_id": "j"}}))
    NotFound('no job j', {'job_id': 'j'})
    """
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        text = " ".join(response.text.split())[:200] or "nothing"
        message = f"{response.status_code} from something that is not MLDL's control plane, or not yet: {text}"
        return Unavailable(message) if response.status_code in _AWAY | {404} else Broken(message)
    kind = _KINDS.get(problem.code) or (Refused if problem.status < 500 else Broken)
    return kind(problem.detail, problem.facts)


def _kinds(root: type[MldlError]) -> dict[str, type[MldlError]]:
    found = {root.code: root}
    for kind in root.__subclasses__():
        found |= _kinds(kind)
    return found


_KINDS = {code: kind for code, kind in _kinds(MldlError).items() if kind.__module__ == errors.__name__}


def _plain(body: Words | Json | None) -> Any:
    return body.model_dump(mode="json", exclude_unset=True) if isinstance(body, Words) else body


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"{url!r} is no URL ({error}); give one such as http://127.0.0.1:8080") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise Refused(f"{url!r} is no URL of a service; give one such as http://127.0.0.1:8080")
    return url.rstrip("/").removesuffix(BASE)
