"""The composition root: the one place that chooses implementations and starts the parts. No rules live here.

``up`` is level-triggered and idempotent: it looks at what runs and starts what is missing. On a running system it
changes nothing; on an empty machine with an old journal it brings everything back as the journal says.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

from contracts.errors import Forbidden, Unavailable
from contracts.ports import Blobs
from mldl_ray import cluster
from mldl_ray.settings import Settings, load_settings

CODE_VERSION = version("mldl-ray")


class Report(NamedTuple):
    """What ``up`` found and did."""

    url: str
    started: tuple[str, ...]
    admin_key: str | None = None


def connect(settings: Settings) -> None:
    """Connect this process to the cluster that the settings mean; already connected is fine.

    Raises:
        Unavailable: It is not running.
    """
    import ray  # noqa: PLC0415  # Ray reads its environment at import

    if ray.is_initialized():
        return
    target = settings.ray_address or os.environ.get("RAY_ADDRESS") or cluster.address(settings)
    if target is None:
        raise Unavailable("the system is not running; start it with: mldl up")
    ray.init(address=target, namespace="mldl", log_to_driver=False, logging_level=logging.WARNING)
    serve_context: Any = sys.modules.get("ray.serve.context")
    if serve_context is not None:
        serve_context._set_global_client(None)  # it still means the cluster that this process was connected to before


def up(settings: Settings | None = None, *, say: Callable[[str], None] = lambda _: None) -> Report:
    """Start whatever is missing: the head, the actors, Serve, the control plane, every endpoint.

    Args:
        settings: Where the system lives; read from the environment when absent.
        say: Hears one line per thing that had to be started.

    Raises:
        Forbidden: The host is not loopback and the first key could not be made.
        Unavailable: Something did not start in time.
    """
    settings = settings or load_settings()
    started: list[str] = []

    def note(what: str) -> None:
        started.append(what)
        say(what)

    with cluster.exclusive(settings):
        cluster.prepare_environment(settings)
        if not (settings.ray_address or os.environ.get("RAY_ADDRESS") or cluster.address(settings)):
            cluster.start_head(settings)
            note("Ray head")
        connect(settings)
        from mldl_ray.residents import start  # noqa: PLC0415  # imports Ray

        begun = start.begin(settings)
        http = start.begin_http(settings)
        for name in start.wait(begun):
            note(f"{name} actor")
        if http:
            start.wait_http(settings)
            note("HTTP")
        key = start.ensure_first_key(settings)
    return Report(settings.url, tuple(started), key)


def down(settings: Settings | None = None) -> int:
    """Stop our own head and everything on it; give how many processes that were. The journal and artifacts stay.

    Raises:
        Forbidden: The cluster is not ours to stop.
    """
    settings = settings or load_settings()
    if settings.ray_address:
        raise Forbidden(
            f"the cluster at {settings.ray_address} was not started by mldl up; stop it where it was started",
            {"ray_address": settings.ray_address},
        )
    with cluster.exclusive(settings):
        _disconnect()
        return cluster.stop_head(settings)


def blobs(settings: Settings) -> Blobs:
    """Open the artifact store of the settings."""
    from mldl_ray.blobs import open_blobs  # noqa: PLC0415

    return open_blobs(settings.artifact_uri)


def _disconnect() -> None:
    """Let go of the cluster. A process that never imported Ray must not do so now: it reads its environment then."""
    ray: Any = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        ray.shutdown()
