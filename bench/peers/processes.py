"""Processes of the peers: started, waited for, and stopped with everything that they started themselves."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psutil

from bench.peers.wrk import Target

ROOT = Path(__file__).parents[2]
MARK = "MLDL_BENCH_PEER"
READY_S = 180.0
STOP_S = 15.0
PORTS = (10_000, 19_999)


@contextmanager
def running(
    command: Sequence[str], target: Target, *, folder: Path, cwd: Path = ROOT, environment: Mapping[str, str] = {}
) -> Iterator[Target]:
    """Have a server run until the block ends; it begins when the server answers the first of its requests.

    Raises:
        RuntimeError: It ended, or did not answer in time; the message ends with its last words.
    """
    mark = uuid.uuid4().hex
    log = folder / f"{target.name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment() | dict(environment) | {MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, target, log)
        yield target
    finally:
        _stop(process, mark)


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what ours sets for Ray: a peer has its own defaults."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLDL_"))}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def free_port() -> int:
    """Find a free port on loopback, below the range that the system gives out by itself."""
    while True:
        port = random.randint(*PORTS)
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def ask(client: httpx.Client, target: Target, body: str) -> httpx.Response:
    """Send one request as the load does."""
    headers = {"content-type": "application/json", **target.headers}
    return client.post(target.url, content=body, headers=headers)


def _wait(process: subprocess.Popen[bytes], target: Target, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    with httpx.Client(timeout=10) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if ask(client, target, target.bodies[0]).is_success:
                    return
            except httpx.TransportError:
                pass  # not up yet
            time.sleep(0.25)
    ended = "did not answer in time" if process.poll() is None else f"ended with {process.returncode}"
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise RuntimeError(f"{target.name} {ended}; its last words: {' | '.join(last)}")


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Ask the server to end, then end whatever carries its mark: Ray's processes may outlive their driver."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_S)
    found = list(_marked(mark))
    for left in found:
        with _gone_is_fine():
            left.terminate()
    _, alive = psutil.wait_procs(found, timeout=STOP_S)
    for left in alive:
        with _gone_is_fine():
            left.kill()
    psutil.wait_procs(alive, timeout=STOP_S)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                yield process
        except psutil.Error:
            continue  # it ended while we looked, or it is somebody else's: not ours to stop


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
