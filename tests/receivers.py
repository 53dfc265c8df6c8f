"""A webhook's other end for tests: answers what it is told to, and remembers what it was sent."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """A server on a port of this machine."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.always = 204
        self.refused: set[str] = set()
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.gate.wait(10)
                receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.status_for(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/events"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def status_for(self, event: dict[str, Any]) -> int:
        """Decide on an answer; what was taken is remembered."""
        if event["id"] in self.refused:
            return 400
        status = self.answers.pop(0) if self.answers else self.always
        if 200 <= status < 300:
            self.taken.append(event)
        return status

    @property
    def ids(self) -> list[str]:
        """Ids of everything that was posted, taken or not."""
        return [json.loads(body)["id"] for _, body in self.got]

    def close(self) -> None:
        """Stop listening."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
