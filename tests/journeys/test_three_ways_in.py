"""HTTP is the demo's way; here are the other two: a driver script, and the same script as a Ray job."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mldl_ray.cluster import job_server
from mldl_ray.settings import Settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NOT_YET = "No available agent to submit job, please try again later"  # what Ray says until its job agent is up


def _environment(settings: Settings) -> dict[str, str]:
    return os.environ | {"MLDL_HOME": str(settings.home), "MLDL_PORT": str(settings.port)}


@pytest.mark.timeout(300)
def test_driver_script_runs_the_published_example_beside_the_system(system: Settings) -> None:
    command = [sys.executable, str(ROOT / "examples/driver.py")]
    done = subprocess.run(command, env=_environment(system), capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "by search: {" in done.stdout
    assert "health: ok" in done.stdout


@pytest.mark.timeout(300)
def test_driver_script_runs_as_a_submitted_job(system: Settings) -> None:
    command = [
        str(BIN / "ray"),
        "job",
        "submit",
        f"--address={job_server(system)}",
        f"--working-dir={ROOT / 'examples'}",
    ]
    command += ["--runtime-env-json", '{"excludes": ["data"]}', "--", sys.executable, "driver.py"]
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(
            command, env=_environment(system), capture_output=True, text=True, check=False, timeout=280
        )
        if NOT_YET not in done.stderr or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "health: ok" in done.stdout
