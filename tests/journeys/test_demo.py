"""The story that the README promises, told by a fresh process on a machine of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_demo_tells_the_whole_lifecycle_and_stops_with_exit(tmp_path: Path, free_port: int) -> None:
    facts_file = tmp_path / "facts.json"
    command = [str(Path(sys.executable).with_name("mldl")), "demo", "--exit", "--json", str(facts_file)]
    environment = os.environ | {"MLDL_HOME": str(tmp_path / "home"), "MLDL_PORT": str(free_port)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=540)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    facts = json.loads(facts_file.read_text())
    assert [trained["family"] for trained in facts["trained"][:2]] == ["lr", "xgb"]
    assert facts["trained"][0]["metrics"]["auroc"] > 0.89
    assert facts["trained"][1]["metrics"]["auroc"] > facts["trained"][0]["metrics"]["auroc"]
    assert [registered["version"] for registered in facts["registered"]] == ["1.0.0", "1.1.0", "2.0.0"]
    assert [step["pct"] for step in facts["canary"]["steps"]] == [5, 25, 50, 100]
    assert facts["canary"]["promoted"] is True
    assert facts["bad_candidate"]["rolled_back"] is True
    assert facts["bad_candidate"]["requests_to_candidate"] > 0
    assert facts["drift_alert"]["evidence"]
    assert facts["snapshot_id"].startswith("snap-")
    assert facts["restored"] is True
    assert facts["failed_requests"] == 0
    assert facts["predictions_served"] > 1000
    assert facts["journal_verified"] is True
