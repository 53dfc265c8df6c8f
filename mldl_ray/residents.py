"""The long-lived actors: which plain class each name runs, and how they are started on a connected cluster.

Each resident is detached (it outlives the driver that made it), restarts for ever, takes no CPU from trials, and
lives on the head, where the embedded journal and artifacts are. Each says its code version, so that a new release never
talks to last month's actor unknowingly.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import ray

from actors.bridges import Bridges
from actors.deployment_manager import DeploymentManager
from actors.directory import NAMESPACE, Remote, handle
from actors.jobs import Jobs
from actors.journal import JournalActor, RemoteJournal
from actors.monitor import Monitor
from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.errors import Unavailable
from mldl_ray.access import ApiKeys
from mldl_ray.blobs import open_blobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.clock import SystemClock
from mldl_ray.compose import CODE_VERSION
from mldl_ray.settings import Settings
from serve.api import Actors, build_app
from serve.backend import RayServeBackend
from serve.control_plane import control_plane_running, run_control_plane, start_http

READY_TIMEOUT_S = 60.0
HTTP_TIMEOUT_S = 60.0
POLL_S = 0.1


class _Versioned:
    def code_version(self) -> str:
        """Say which release this actor runs."""
        return CODE_VERSION

    def pid(self) -> int:
        """Give the process that runs this actor now."""
        return os.getpid()


class JournalResident(_Versioned, JournalActor):
    """The only opener of the embedded store."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.journal_url)


class RegistryResident(_Versioned, Registry):
    """Versions, approvals, policies."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        super().__init__(journal, open_blobs(settings.artifact_uri), EmbeddedGovernance(journal, clock), clock)


class JobsResident(_Versioned, Jobs):
    """Training jobs, each in a process of its own."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())


class MonitorResident(_Versioned, Monitor):
    """Live figures, drift, alerts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())


class SnapshotsResident(_Versioned, SnapshotStore):
    """Moments to go back to."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(RemoteJournal(), open_blobs(settings.artifact_uri), SystemClock())


class BridgesResident(_Versioned, Bridges):
    """The six bridges, with the mesh's pump running."""

    def __init__(self, settings: Settings) -> None:
        blobs = open_blobs(settings.artifact_uri)
        super().__init__(settings, RemoteJournal(), blobs, SystemClock(), autostart=True)


class DeploymentsResident(DeploymentManager):
    """Desired traffic made actual, with the reconcile loop running."""

    def __init__(self, settings: Settings) -> None:
        journal, clock = RemoteJournal(), SystemClock()
        governance = EmbeddedGovernance(journal, clock)
        backend = RayServeBackend(settings)
        super().__init__(settings, journal, backend, Remote("monitor"), governance, clock, autostart=True)

    async def code_version(self) -> str:
        """Say which release this actor runs."""
        return CODE_VERSION

    async def pid(self) -> int:
        """Give the process that runs this actor now."""
        return os.getpid()


class Resident(NamedTuple):
    """A name, what runs under it, and how many calls it takes at once."""

    name: str
    build: type
    concurrency: int


RESIDENTS = (
    Resident("journal", JournalResident, 16),
    Resident("bridges", BridgesResident, 4),
    Resident("registry", RegistryResident, 8),
    Resident("snapshots", SnapshotsResident, 4),
    Resident("monitor", MonitorResident, 4),
    Resident("jobs", JobsResident, 8),
    Resident("deployments", DeploymentsResident, 1000),
)


def ensure(settings: Settings) -> Iterator[str]:
    """Start each resident that is missing or of another release; yield the names started, when they answer."""
    for resident in RESIDENTS:
        if _current(resident):
            continue
        actor = _start(resident, settings)
        ray.get(actor.code_version.remote(), timeout=READY_TIMEOUT_S)
        yield resident.name


def ensure_http(settings: Settings) -> bool:
    """Have Serve listen and the control plane answer; say whether anything had to be started.

    Raises:
        Unavailable: It did not answer in time.
    """
    if control_plane_running():
        return False
    start_http(settings)
    run_control_plane(lambda: build_app(remote_actors(), settings))
    deadline = time.monotonic() + HTTP_TIMEOUT_S
    while not _answers(settings):
        if time.monotonic() > deadline:
            raise Unavailable(f"nothing answered at {settings.url} within {HTTP_TIMEOUT_S:g} s; is the port free?")
        time.sleep(POLL_S)
    return True


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
    make: Callable[..., Any] = ray.remote(resident.build).options
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
