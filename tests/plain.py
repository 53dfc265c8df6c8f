"""The whole system in this process, without Ray: real actors as plain objects, a journal in memory, the real HTTP app.

What needs a cluster is not here: a job is searched serially when the test says so, and nothing is really served.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn

import actors.job_process
from actors.bridges import Bridges
from actors.deployment_manager import DeploymentManager
from actors.job_process import JobProcess
from actors.jobs import Jobs
from actors.monitor import Monitor
from actors.registry import Registry
from actors.snapshot_store import SnapshotStore
from contracts.specs import JobSpec
from mldl_ray.blobs import MemoryBlobs
from mldl_ray.bridges.governance import EmbeddedGovernance
from mldl_ray.client import MLDLClient
from mldl_ray.clock import SystemClock
from mldl_ray.journal import MemoryJournal
from mldl_ray.settings import Settings
from mldl_ray.training.serial import SerialTrials
from serve.api import Actors, build_app
from serve.memory_backend import MemoryServing

KEY = "income"


class JobsHere(Jobs):
    """Takes jobs; one runs when a test calls ``run``."""

    def _check_room(self, wanted: JobSpec) -> None:
        """There is room."""

    def _start_more(self) -> None:
        """Nothing begins by itself."""

    def run(self, job_id: str) -> None:
        """See a job through, here and now."""
        self._begin(self._record(job_id).read())
        ray_trials, actors.job_process.RayTrials = actors.job_process.RayTrials, SerialTrials  # type: ignore[misc,assignment]  # the same port
        try:
            JobProcess(self._settings, self._journal, self._blobs)._train(self._record(job_id), "jobs")
        finally:
            actors.job_process.RayTrials = ray_trials  # type: ignore[misc]  # put back
        self._queue.over(job_id)


class OnLoop:
    """An asynchronous actor, called as Ray lets one call it: and waited for."""

    def __init__(self, actor: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._actor, self._loop = actor, loop

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            coroutine = getattr(self._actor, method)(*args, **kwargs)
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

        return call


class PlainSystem:
    """All actors and the app."""

    def __init__(self, settings: Settings) -> None:
        self.settings, clock = settings, SystemClock()
        self.journal, self.blobs = MemoryJournal(clock), MemoryBlobs()
        governance = EmbeddedGovernance(self.journal, clock)
        monitor = Monitor(settings, self.journal, self.blobs, clock)
        self.jobs = JobsHere(settings, self.journal, self.blobs, clock)
        self.bridges = Bridges(settings, self.journal, self.blobs, clock)
        self.manager = DeploymentManager(settings, self.journal, MemoryServing(), monitor, governance, clock)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.deployments = OnLoop(self.manager, self._loop)
        self.actors = Actors(
            journal=self.journal,
            bridges=self.bridges,
            registry=Registry(self.journal, self.blobs, governance, clock),
            snapshots=SnapshotStore(self.journal, self.blobs, clock),
            monitor=monitor,
            jobs=self.jobs,
            deployments=self.deployments,
        )
        self.app = build_app(self.actors, settings)
        config = uvicorn.Config(self.app, port=settings.port, ws="none", lifespan="off", log_config=None)
        self._server = uvicorn.Server(config)
        self._served: threading.Thread | None = None

    def serve(self) -> None:
        """Listen on the port of the settings."""
        self._served = threading.Thread(target=self._server.run, daemon=True)
        self._served.start()
        MLDLClient(self.settings.url).health()

    def deliver(self) -> None:
        """Have the mesh send what is due."""
        for errand in self.bridges._mesh.pump():  # what the pump's thread does
            errand.result(30)

    def train(self, client: MLDLClient, folder: Path, *, family: str = "lr", key: str = KEY) -> str:
        """Train a small model from a file; give the job."""
        path = folder / "rows.parquet"
        rows = range(120)
        columns = {"age": [20 + n % 50 for n in rows], "job": ["abc"[n % 3] for n in rows]}
        pq.write_table(pa.table(columns | {"rich": [int(n % 50 > 25) for n in rows]}), path)
        job = client.train(
            {
                "spec": {"model_key": key, "family": family},
                "data": {"uri": str(path), "target": "rich"},
                "hpo": {"strategy": "random", "max_trials": 1},
                "cv": {"folds": 2},
            }
        )
        self.jobs.run(job.job_id)
        return job.job_id

    def close(self) -> None:
        """Stop everything."""
        if self._served is not None:
            self._server.should_exit = True
            self._served.join(30)
        self.bridges.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()
