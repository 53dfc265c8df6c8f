"""How each peer is started. One worker or replica each, on loopback."""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import checked, environment
from bench.peers.processes import clean_environment, free_port, running
from bench.peers.workloads import Workload
from bench.peers.wrk import Target

PINS = (
    "mlflow==3.17.2",
    "scikit-learn==1.9.1",
    "xgboost-cpu==3.2.0",  # without the accelerator's 300 MB
    "pandas==3.1.1",
    "pyarrow==25.0.1",
    "httptools==0.9.0",  # uvicorn's faster parser and loop, which mlflow does not ask for and the others have
    "uvloop==0.23.0",
)


@contextmanager
def uvicorn(workload: Workload, folder: Path) -> Iterator[Target]:
    """Bare FastAPI, in this environment."""
    port = free_port()
    command = [sys.executable, "-m", "bench.peers.fastapi_app", workload.name, str(workload.file), str(port)]
    target = Target("uvicorn", f"http://127.0.0.1:{port}/predict", workload.bodies())
    with running(command, target, folder=folder) as found:
        yield found


@contextmanager
def ray_serve_default(workload: Workload, folder: Path) -> Iterator[Target]:
    """Ray Serve as it comes, on a head of its own; in a short folder, because socket paths have 107 characters."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="peer-ray-", ignore_cleanup_errors=True) as own:
        token = Path(own) / "token"
        token.write_text(secrets.token_hex(32), encoding="utf-8")
        token.chmod(0o600)
        command = [sys.executable, "-m", "bench.peers.ray_serve_app", str(workload.file), str(port), own]
        target = Target("ray_serve_default", f"http://127.0.0.1:{port}/predict", workload.bodies())
        ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_USAGE_STATS_ENABLED": "0"}
        with running(command, target, folder=folder, environment=ray) as found:
            yield found


@contextmanager
def mlflow(workload: Workload, folder: Path) -> Iterator[Target]:
    """``mlflow models serve`` in its own environment."""
    binaries = environment("mlflow", PINS) / "bin"
    model, port = folder / "mlflow_model", free_port()
    save = [str(binaries / "python"), "-m", "bench.peers.mlflow_model", workload.name, str(workload.file), str(model)]
    checked(save, "saving the MLflow model")
    command = [str(binaries / "mlflow"), "models", "serve", "-m", str(model), "--env-manager", "local", "-w", "1"]
    field = "inputs" if workload.name == "lr" else "dataframe_records"
    target = Target("mlflow", f"http://127.0.0.1:{port}/invocations", workload.bodies(field))
    path = {"PATH": f"{binaries}:{clean_environment()['PATH']}"}  # mlflow starts uvicorn by name
    with running([*command, "-h", "127.0.0.1", "-p", str(port)], target, folder=folder, cwd=folder, environment=path):
        yield target


PEERS = {"uvicorn": uvicorn, "ray_serve_default": ray_serve_default, "mlflow": mlflow}
