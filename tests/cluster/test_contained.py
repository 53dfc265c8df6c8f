"""Trials that break down: tried again, recorded with the reason, and no harm to the others or to the machine.

The family that does so is another package's, as pip would install it, for one driver and its workers only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mldl_ray import cluster
from mldl_ray.settings import Settings

LIMIT_BYTES = 300 * 2**20
FAMILY = '''
import os
import signal
from pathlib import Path

import numpy as np
from mldl_ray.adapters import BaseModelAdapter, Capabilities
from mldl_ray.adapters.hyperparams import Hyperparam

WAYS = ("calm", "killed", "segfault", "hoards", "killed once", "raises once")
MARKS = Path(os.environ["HAZARD_MARKS"])


def first_time(name):
    try:
        (MARKS / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class HazardAdapter(BaseModelAdapter):
    """Breaks down in the way that it is told to."""

    family = "hazard"
    capabilities = Capabilities(tasks=frozenset({"regression"}), style="scaled", probabilities=False)
    settings = (Hyperparam("way", "choice", "calm", choices=WAYS),)

    def _fit(self, M, answers, weights, valid, stopping):
        way = self.hyperparams["way"]
        if way == "killed" or (way == "killed once" and first_time("killed")):
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is out
        if way == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if way == "raises once" and first_time("raised"):
            raise OSError("a file system hiccup")
        kept = []
        while way == "hoards":
            kept.append(np.ones(2**20))
        self._mean = float(np.mean(answers))

    def _raw(self, M):
        return np.full((len(M), 1), self._mean)

    def _save(self, folder):
        """Nothing is kept: no trial of this family wins anything."""

    def _load(self, folder):
        """As above."""
'''
DRIVER = """
import json, os, sys, time
import numpy as np, pyarrow as pa, ray
from actors.trials import RayTrials
from contracts.specs import DataRef
from mldl_ray.clock import SystemClock
from mldl_ray.settings import Defaults
from mldl_ray.training.job import read_job
from mldl_ray.training.plan import Plan
from mldl_ray.training.rows import TrainingRows

address, ways, resources = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
env = {name: os.environ[name] for name in ("PYTHONPATH", "HAZARD_MARKS")}
ray.init(address=address, namespace="mldl", log_to_driver=False, runtime_env={"env_vars": env})
rng = np.random.default_rng(0)
table = pa.table({"a": rng.normal(size=200), "y": rng.normal(size=200)})
job = read_job({
    "spec": {"model_key": "m", "family": "hazard", "task": "regression"},
    "cv": {"folds": 2},
    "hpo": {"strategy": "grid", "search_space": {"way": {"kind": "categorical", "choices": ways}}},
    "resources": resources,
})
plan = Plan.of(job, TrainingRows.of(table, DataRef(uri="a.csv", target="y"), "regression"), Defaults())
found = RayTrials(SystemClock()).search(plan.problem(started_s=time.time()), lambda _: None)
with open(sys.argv[4], "w") as out:  # standard output is Ray's too
    json.dump([record.model_dump(mode="json") for record in found.trials], out)
"""


@pytest.fixture
def search(ray_cluster: Settings, tmp_path: Path) -> Any:
    """Search over ways to break down, from a driver of its own; give the trials' records by way."""
    info = tmp_path / "their_hazard-1.0.dist-info"
    info.mkdir()
    (tmp_path / "their_hazard.py").write_text(FAMILY)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-hazard\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mldl_ray.adapters]\nhazard = their_hazard:HazardAdapter\n")

    def run(*ways: str, **resources: Any) -> dict[str, dict[str, Any]]:
        out = tmp_path / "trials.json"
        command = [sys.executable, "-c", DRIVER, str(cluster.address(ray_cluster)), json.dumps(ways)]
        env = os.environ | {"PYTHONPATH": str(tmp_path), "HAZARD_MARKS": str(tmp_path)}
        done = subprocess.run(
            [*command, json.dumps(resources), str(out)],
            env=env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        records = json.loads(out.read_text())
        return {record["config"]["way"]: record for record in records}

    return run


def test_a_trial_whose_process_dies_is_tried_again_then_recorded_and_the_search_goes_on(search: Any) -> None:
    found = search("killed", "segfault", "killed once", "raises once", "calm")
    assert {way: (trial["status"], trial["attempts"]) for way, trial in found.items()} == {
        "killed": ("failed", 2),
        "segfault": ("failed", 2),
        "killed once": ("completed", 2),
        "raises once": ("completed", 2),
        "calm": ("completed", 1),
    }
    assert all("process died" in found[way]["error"] for way in ("killed", "segfault"))


def test_a_trial_that_allocates_without_end_fails_alone_at_its_limit(search: Any) -> None:
    found = search("hoards", "calm", memory_bytes=LIMIT_BYTES)
    assert found["calm"]["status"] == "completed"
    assert found["hoards"]["status"] == "failed"
    assert "MemoryError" in found["hoards"]["error"]
    assert str(LIMIT_BYTES) in found["hoards"]["error"]
