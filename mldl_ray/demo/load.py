"""People who use the service while the story unfolds: steady prediction requests over HTTP, each outcome counted."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from contracts.specs import Json

Rows = Sequence[Json]


class LiveLoad:
    """Send one-row predictions from a few users at a steady pace until stopped; labels follow each answer.

    Args:
        host: Of the service.
        port: Of the service.
        model_key: The endpoint.
        rows: Records to send, in turn.
        labels: What each record turned out to be; sent back as feedback in batches.
        per_second: Requests a second, all users together.
        users: Connections.
    """

    def __init__(
        self, host: str, port: int, model_key: str, rows: Rows, labels: Sequence[Any], *, per_second: float, users: int
    ) -> None:
        self._address = (host, port)
        self._path = f"/api/mldl/v1/predict/{model_key}"
        self._rows, self._labels = rows, labels
        self._pause_s = users / per_second
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._change: Callable[[Json], Json] = dict
        self._feedback: list[Json] = []
        self.by_version: Counter[str] = Counter()
        self.failures: list[str] = []
        self._threads = [
            threading.Thread(target=self._user, args=(number, users), name=f"user-{number}", daemon=True)
            for number in range(users)
        ]

    def __enter__(self) -> LiveLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    @property
    def served(self) -> int:
        """Count the answers so far."""
        with self._lock:
            return sum(self.by_version.values())

    def shift(self, change: Callable[[Json], Json]) -> None:
        """Have every record pass through ``change`` from now on."""
        self._change = change

    def take_feedback(self) -> list[Json]:
        """Take the labels that became known since the last call, as the items of ``POST /feedback``."""
        with self._lock:
            items, self._feedback = self._feedback, []
        return items

    def _user(self, number: int, users: int) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        index, due = number, time.monotonic()
        while not self._stop.is_set():
            self._ask(connection, index % len(self._rows), f"person-{index % len(self._rows)}")
            index, due = index + users, due + self._pause_s
            self._stop.wait(max(0.0, due - time.monotonic()))
        connection.close()

    def _exchange(
        self, connection: http.client.HTTPConnection, body: str, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Send and read; on a kept connection that was closed meanwhile, once more on a new one (RFC 9112, 9.3.1)."""
        reused = connection.sock is not None
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not reused:
                raise
            connection.close()
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
        return response, response.read()

    def _ask(self, connection: http.client.HTTPConnection, index: int, person: str) -> None:
        body = json.dumps({"inputs": [self._change(self._rows[index])]})
        headers = {"content-type": "application/json", "x-mldl-key": person}
        try:
            response, answer = self._exchange(connection, body, headers)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with self._lock:
                self.failures.append(f"{type(error).__name__}: {error}")
            return
        with self._lock:
            if response.status != http.client.OK:
                self.failures.append(f"{response.status}: {answer[:300].decode(errors='replace')}")
                return
            facts = json.loads(answer)
            self.by_version[facts["model_version"]] += 1
            self._feedback.append({"request_id": facts["request_id"], "label": self._labels[index]})
