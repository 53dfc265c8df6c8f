"""An installation without torch, xgboost and gymnasium: everything else works, and what is missing says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "xgboost", "gymnasium", "safetensors", "functorch", "torchgen")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a site folder that has everything installed here but the optional frameworks."""
    folder = tmp_path_factory.mktemp("bare") / "site"
    folder.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(place).iterdir():
            if entry.name.split("-")[0].split(".")[0] not in ABSENT and not (folder / entry.name).exists():
                (folder / entry.name).symlink_to(entry)
    return folder


def run(bare: Path, code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{bare}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_everything_imports_and_the_families_say_what_they_need(bare: Path) -> None:
    ended = run(bare, "import json, mldl_ray; from mldl_ray import families; print(json.dumps(families()))")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["lr"] == found["forest"] == found["kmeans"] == "available"
    assert "xgboost" in found["xgb"] and "pip install" in found["xgb"]
    for family in ("mlp", "cnn", "rnn", "lstm", "transformer", "gan", "dqn", "pg"):
        assert "torch" in found[family] and "pip install 'mldl-ray[deep]'" in found[family], family
    assert "gymnasium" in found["q_learning"] and "pip install 'mldl-ray[rl]'" in found["q_learning"]


@pytest.mark.parametrize(("family", "missing"), [("xgb", "xgboost"), ("mlp", "torch"), ("q_learning", "gymnasium")])
def test_asking_for_a_missing_family_says_what_installs_it(bare: Path, family: str, missing: str) -> None:
    task = "reinforcement" if family == "q_learning" else "classification"
    code = (
        "from mldl_ray import create_adapter\nfrom contracts.errors import Incompatible\n"
        f"try: create_adapter({family!r}, task={task!r})\nexcept Incompatible as error: print(error.message)"
    )
    ended = run(bare, code)
    assert ended.returncode == 0, ended.stderr
    assert missing in ended.stdout and "pip install" in ended.stdout


def test_a_family_that_needs_none_of_them_learns_and_answers(bare: Path) -> None:
    code = (
        "from mldl_ray import create_adapter\n"
        "from sklearn.datasets import load_breast_cancer\n"
        "X, y = load_breast_cancer(return_X_y=True, as_frame=True)\n"
        "print((create_adapter('lr').fit(X, y).predict(X) == y).mean() > 0.97)"
    )
    ended = run(bare, code)
    assert ended.stdout.strip() == "True", ended.stderr
