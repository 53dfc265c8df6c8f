"""A service over real HTTP, on actors in this process; a file that needs another one makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mldl_ray.settings import load_settings

if TYPE_CHECKING:
    from tests.rooms.test_api import World


@pytest.fixture
def world(tmp_path: Path, free_port: int) -> Iterator[World]:
    from tests.rooms.test_api import World  # all of the service: only those who ask for one pay for it

    with World(load_settings({}, home=tmp_path, port=free_port)) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path, free_port: int) -> Iterator[World]:
    """A service that needs a key."""
    from tests.rooms.test_api import World  # as above

    with World(load_settings({}, home=tmp_path, port=free_port, require_keys=True)) as found:
        yield found
