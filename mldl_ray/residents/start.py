"""Starting the residents and HTTP on a connected cluster: all at once, then waiting for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import httpx
import ray

from actors.directory import NAMESPACE, Remote, handle
from actors.journal import RemoteJournal
from contracts.errors import Unavailable
from mldl_ray.access import ApiKeys
from mldl_ray.clock import SystemClock
from mldl_ray.compose import CODE_VERSION
from mldl_ray.settings import Settings
from serve.api import Actors, build_app
from serve.control_plane import control_plane_running, run_control_plane, start_http

READY_TIMEOUT_S = 60.0
HTTP_TIMEOUT_S = 60.0
POLL_S = 0.1


class Resident(NamedTuple):
    """A name, the class that runs under it (in the module of that name), and how many calls it takes at once."""

    name: str
    build: str
    concurrency: int


RESIDENTS = (
    Resident("journal", "JournalResident", 16),
    Resident("deployments", "DeploymentsResident", 1000),
    Resident("registry", "RegistryResident", 8),
    Resident("monitor", "MonitorResident", 4),
    Resident("jobs", "JobsResident", 8),
    Resident("snapshots", "SnapshotsResident", 4),
    Resident("bridges", "BridgesResident", 4),
)
Begun = tuple[Resident, Any]


def begin(settings: Settings) -> list[Begun]:
    """Start each resident that is missing or of another release, without waiting for any."""
    return [(resident, _start(resident, settings)) for resident in RESIDENTS if not _current(resident)]


def wait(begun: Sequence[Begun]) -> Iterator[str]:
    """Wait for residents to answer; yield their names as they do."""
    for resident, actor in begun:
        ray.get(actor.code_version.remote(), timeout=READY_TIMEOUT_S)
        yield resident.name


def begin_http(settings: Settings) -> bool:
    """Have Serve listen and the control plane start, without waiting; say whether it had to be started."""
    if control_plane_running():
        return False
    start_http(settings)
    run_control_plane(lambda: build_app(remote_actors(), settings))
    return True


def wait_http(settings: Settings) -> None:
    """Wait until the control plane answers.

    Raises:
        Unavailable: It did not in time.
    """
    deadline = time.monotonic() + HTTP_TIMEOUT_S
    while not _answers(settings):
        if time.monotonic() > deadline:
            raise Unavailable(f"nothing answered at {settings.url} within {HTTP_TIMEOUT_S:g} s; is the port free?")
        time.sleep(POLL_S)


def ensure_first_key(settings: Settings) -> str | None:
    """Make an admin key where keys are required and there is none yet; give its secret, this once."""
    keys = ApiKeys(RemoteJournal(), SystemClock())
    if not settings.keys_required or keys.roles():
        return None
    _, secret = keys.create("admin", "admin", by="mldl up")
    Remote("deployments").keys_changed()
    return secret


def remote_actors() -> Actors:
    """Give every resident as a plain object to call; the journal as its port."""
    others = {resident.name: Remote(resident.name) for resident in RESIDENTS if resident.name != "journal"}
    return Actors(journal=RemoteJournal(), **others)


def _answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.url}/api/mldl/v1/health", timeout=10).is_success
    except httpx.TransportError:
        return False


def _current(resident: Resident) -> bool:
    try:
        found = handle(resident.name)
    except Unavailable:
        return False
    if ray.get(found.code_version.remote(), timeout=READY_TIMEOUT_S) == CODE_VERSION:
        return True
    ray.kill(found, no_restart=True)
    return False


def _start(resident: Resident, settings: Settings) -> Any:
    build = getattr(import_module(f"mldl_ray.residents.{resident.name}"), resident.build)
    make: Callable[..., Any] = ray.remote(build).options
    return make(
        name=f"mldl.{resident.name}",
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        num_cpus=0,
        resources={"node:__internal_head__": 0.001},
        max_concurrency=resident.concurrency,
    ).remote(settings)
