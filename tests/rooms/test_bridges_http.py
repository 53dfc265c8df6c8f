"""The bridges over HTTP, in Python and as typed; on actors in this process and a kernel in a second one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mldl_ray.cli import app
from mldl_ray.client import MLDLClient
from mldl_ray.settings import load_defaults, load_settings
from tests.conftest import unused_port
from tests.kernels import Kernel
from tests.plain import PlainSystem


class Scene:
    """A system with a kernel for ingress and mlt, and a client of it."""

    def __init__(self, home: Path, kernel: Kernel) -> None:
        remote = f"{{url: '{kernel.url}', timeout_s: 1, retries: 0, open_after: 1, rest_s: 3600}}"
        defaults = load_defaults(f"mldl: {{bridges: {{ingress: {remote}, mlt: {remote}}}}}")
        self.kernel = kernel
        self.system = PlainSystem(load_settings({}, home=home, port=unused_port(), mldl=defaults))
        self.system.serve()
        self.client = MLDLClient(self.system.settings.url, acting_as="ann")

    def typed(self, line: str) -> Any:
        found = CliRunner().invoke(app, [*shlex.split(line), "--url", self.system.settings.url, "--json"])
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    kernel = Kernel(tmp_path / "kernel")
    made = Scene(tmp_path / "home", kernel)
    yield made
    made.client.close()
    made.system.close()
    kernel.stop()


def test_every_bridge_is_shown_with_its_kernel_and_counts(scene: Scene) -> None:
    shown = {view.bridge: view for view in scene.client.bridges()}
    assert set(shown) == {"governance", "mlt", "intelligence", "memory", "ingress", "mesh"}
    assert shown["memory"].remote is None
    remote = shown["mlt"].remote
    assert remote is not None
    assert (remote.url, remote.circuit, remote.waiting) == (scene.kernel.url, "closed", 0)
    assert [view["bridge"] for view in scene.typed("bridges")] == list(shown)


def test_a_kernel_that_fails_is_seen_in_health_in_the_metrics_and_on_the_page_of_bridges(scene: Scene) -> None:
    scene.kernel.say("fail")
    scene.system.bridges.rounds.once()
    assert "mlt: " in scene.client.health()["components"]["bridges"]["detail"]
    lines = scene.client.metrics().splitlines()
    assert 'mldl_bridge_up{bridge="mlt"} 0' in lines
    assert 'mldl_bridge_up{bridge="ingress"} 1' in lines
    assert 'mldl_bridge_circuit_open{bridge="mlt"} 1' in lines
    assert 'mldl_bridge_failures_total{bridge="mlt",side="remote"} 1' in lines
    [mlt] = [view for view in scene.client.bridges() if view.bridge == "mlt"]
    assert mlt.remote is not None
    assert (mlt.remote.circuit, mlt.remote.counts.failures) == ("open", 1)
    assert "answered 503" in mlt.status
