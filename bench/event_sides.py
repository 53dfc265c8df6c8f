"""The two sides of ``bench.events`` that are killed: the mesh's pump, and a webhook's receiver."""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from mldl_ray.bridges.brokers import brokers
from mldl_ray.bridges.mesh import Mesh
from mldl_ray.clock import SystemClock
from mldl_ray.journal import open_journal
from mldl_ray.settings import MeshDefaults, NatsBroker


def pump(journal_url: str, nats_url: str) -> None:
    """Deliver what the journal says, until killed."""
    clock = SystemClock()
    journal = open_journal(journal_url, clock)
    sinks = brokers(MeshDefaults(nats=NatsBroker(url=nats_url)), journal)
    mesh = Mesh(journal, clock, httpx.Client(trust_env=False), brokers=sinks)
    while True:
        mesh.pump()
        time.sleep(0.05)


def receive(port: int, file: Path) -> None:
    """Take events, until killed: what was answered for is in the file."""
    with file.open("ab", buffering=0) as kept:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                kept.write(f"{event['id']} {event['subject']}\n".encode())
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        _Server(("127.0.0.1", port), Handler).serve_forever()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Say nothing: whoever posted was killed."""


if __name__ == "__main__":
    if sys.argv[1] == "pump":
        pump(*sys.argv[2:])
    else:
        receive(int(sys.argv[2]), Path(sys.argv[3]))
