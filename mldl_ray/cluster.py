"""Our own Ray head on this machine: start it, find it again, stop exactly it. Not here: what runs on it.

Every process of a head carries the head's mark in its environment, so stopping one never touches another's, not even
one that was orphaned by ``kill -9``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from contracts.errors import Unavailable
from mldl_ray.settings import Settings
from serve.environment import proxy_folder, serve_environment

MARK = "MLDL_CLUSTER"
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 3  # then SIGKILL, which everything here is made to survive


def mark(settings: Settings) -> str:
    """Name the head that belongs to a home folder."""
    return hashlib.sha256(str(settings.home).encode()).hexdigest()[:10]


def folder(settings: Settings) -> Path:
    """Give the head's own folder: short, because socket paths have 107 characters at most."""
    return Path(tempfile.gettempdir()) / f"mldl-{mark(settings)}"


@contextmanager
def exclusive(settings: Settings) -> Iterator[None]:
    """Let one ``up`` or ``down`` of a home folder run at a time."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare_environment(settings: Settings) -> None:
    """Set what Ray and Serve read at import or at connection, in this process and in all it starts."""
    os.environ.update(serve_environment(settings))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if (
        settings.ray_address is None and "RAY_ADDRESS" not in os.environ
    ):  # a submitted job has its cluster's token already
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_token_file(settings))
        _have_ray_read_again()


def address(settings: Settings) -> str | None:
    """Give the address of our running head; None when it is not running."""
    if not any("gcs_server" in " ".join(process.cmdline()) for process in processes(settings)):
        return None
    path = folder(settings) / "ray_current_cluster"
    return path.read_text(encoding="utf-8").strip() if path.exists() else None


def processes(settings: Settings) -> Iterator[psutil.Process]:
    """List the processes of our head, by the mark in their environment."""
    wanted = mark(settings)
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == wanted:
                yield process
        except psutil.Error:
            continue  # it ended while we looked, or it is somebody else's: not ours to stop


def job_server(settings: Settings) -> str:
    """Give the address that ``ray job submit --address`` takes.

    Raises:
        Unavailable: This process is not connected to a cluster with a dashboard.
    """
    import ray  # noqa: PLC0415  # Ray reads its environment at import

    dashboard = ray.worker.get_dashboard_url() if ray.is_initialized() else None
    if not dashboard:
        raise Unavailable(f"no job server: the cluster of {settings.home} runs no dashboard, or is not running")
    return f"http://{dashboard}"


def start_head(settings: Settings) -> str:
    """Start our head and give its address; leftovers of a dead one are stopped first.

    Raises:
        Unavailable: Ray did not come up; the message ends with its own last words.
    """
    stop_head(settings)
    prepare_environment(settings)
    log = settings.home / "head.log"
    command = [
        str(Path(sys.executable).with_name("ray")),
        *("start", "--head", "--port=0", "--dashboard-host=127.0.0.1", "--dashboard-port=0"),
        "--dashboard-agent-listen-port=0",  # a fixed one is taken where a second head runs; jobs then find no agent
        *(f"--temp-dir={folder(settings)}", "--include-dashboard=true", "--disable-usage-stats"),
    ]
    with log.open("wb") as out:
        done = subprocess.run(
            command,
            env=os.environ | _inherited(settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
    found = address(settings)
    if done.returncode or found is None:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
        raise Unavailable(f"Ray did not start (its log: {log}): {' '.join(last)}")
    return found


def stop_head(settings: Settings) -> int:
    """Stop every process of our head; give how many there were."""
    found = list(processes(settings))
    for process in found:
        _signal(process, force=False)
    _, alive = psutil.wait_procs(found, timeout=STOP_TIMEOUT_S)
    for process in [*alive, *processes(settings)]:
        _signal(process, force=True)
    psutil.wait_procs(list(processes(settings)), timeout=STOP_TIMEOUT_S)
    for left in (folder(settings), proxy_folder(settings)):
        shutil.rmtree(left, ignore_errors=True)
    return len(found)


def _inherited(settings: Settings) -> dict[str, str]:
    """Give what every process of the head has, submitted jobs included: its mark, and which system it belongs to."""
    return {
        MARK: mark(settings),
        "MLDL_HOME": str(settings.home),
        "MLDL_JOURNAL_URL": settings.journal_url,
        "MLDL_ARTIFACT_URI": settings.artifact_uri,
        "MLDL_HOST": settings.host,
        "MLDL_PORT": str(settings.port),
        "MLDL_REQUIRE_KEYS": str(settings.require_keys).lower(),
        "MLDL_HOSTS": ",".join(settings.hosts),
        "MLDL_URL": settings.url,
    }


def _token_file(settings: Settings) -> Path:
    path = settings.home / "ray.token"
    if not path.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
    return path


def _have_ray_read_again() -> None:
    """Have a Ray that this process imported earlier see the token: it reads the environment once, at import."""
    core: Any = sys.modules.get("ray._raylet")
    if core is not None:
        core.Config.initialize("")  # as Ray's own init does when it turns the token on
        core.AuthenticationTokenLoader.instance().reset_cache()


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        process.kill() if force else process.terminate()
    except psutil.NoSuchProcess:
        return
