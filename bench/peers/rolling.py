"""What a rollout costs those who are answered: a shadow, a second replica, a rollback under load. Ours only."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx

from bench.peers import wrk
from bench.peers.ours import ROLLOUT, START_S, Ours
from bench.peers.processes import ask
from bench.peers.workloads import Workload
from bench.peers.wrk import Measured, Target
from contracts.specs import Json

SHADOW: Json = {"shadow": True, "promotion_window": 1e9, "guardrails": {"rollback_on": ["violation"]}}
QUIET_S = 0.5
"""A version that has not answered for so long, under load, answers no more."""
OUT_OF_ROUNDS = 60


def shadow(system: Ours, workload: Workload, target: Target, folder: Path, rounds: int, seconds: float) -> Json:
    """Measure with every request copied to a shadow, and without, in turn."""
    with_it: list[Measured] = []
    without: list[Measured] = []
    for _ in range(rounds):
        without.append(wrk.load(target, folder, seconds))
        with system.rollout(workload, SHADOW, "shadow"):
            with_it.append(wrk.load(target, folder, seconds))
    ratios = [one.req_s / other.req_s for one, other in zip(with_it, without, strict=True)]
    return {
        "vs_without": round(statistics.median(ratios), 2),
        "p99_ms": {"with": _p99(with_it), "without": _p99(without)},
        "errors": sum(one.errors for one in (*with_it, *without)),
    }


def two_replicas(system: Ours, workload: Workload, target: Target, folder: Path, rounds: int, seconds: float) -> Json:
    """Measure one replica, then two: how many times as much is answered."""
    one = [wrk.load(target, folder, seconds) for _ in range(rounds)]
    system.scale(workload, 2)
    two = [wrk.load(target, folder, seconds) for _ in range(rounds)]
    system.scale(workload, 1)
    return {
        "vs_one": round(statistics.median(x.req_s for x in two) / statistics.median(x.req_s for x in one), 2),
        "errors": sum(x.errors for x in (*one, *two)),
    }


def rollbacks(system: Ours, workload: Workload, target: Target, count: int) -> Json:
    """Time rollbacks under load, from the call to the last answer that the candidate gave.

    The call's own time is beside it: once it returns, the intent is stored.
    """
    last_ms: list[float] = []
    call_ms: list[float] = []
    for _ in range(count):
        with system.rollout(workload, ROLLOUT | {"canary_pct": 50, "canary_steps": [50, 100]}, "canary") as rollout:
            with _watched(target, rollout.version) as seen:
                _until(partial(bool, seen), "an answer of the candidate")
                began = time.perf_counter()
                rollout.back()
                call_ms.append((time.perf_counter() - began) * 1000)
                _until(partial(_quiet, seen), "the candidate's last answer")
            last_ms.append(max(0.0, seen[-1] - began) * 1000)
    return {
        "rollback_p50_ms": round(statistics.median(last_ms), 1),
        "rollback_max_ms": round(max(last_ms), 1),
        "rollback_call_p50_ms": round(statistics.median(call_ms), 1),
        "rollbacks": count,
    }


@contextmanager
def _watched(target: Target, version: str, callers: int = 8) -> Iterator[list[float]]:
    """Have callers ask without a pause; give the moments at which a version answered."""
    seen: list[float] = []
    stop = threading.Event()

    def call() -> None:
        with httpx.Client(timeout=10) as client:
            while not stop.is_set():
                for body in target.bodies[:OUT_OF_ROUNDS]:
                    if ask(client, target, body).headers.get("x-mldl-version") == version:
                        seen.append(time.perf_counter())
                    if stop.is_set():
                        return

    threads = [threading.Thread(target=call, daemon=True) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + START_S
    while not happened():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"waited {START_S:g} s for {what}")
        time.sleep(0.005)


def _quiet(seen: list[float]) -> bool:
    return time.perf_counter() - seen[-1] > QUIET_S


def _p99(rounds: list[Measured]) -> float:
    return statistics.median(one.p99_ms for one in rounds)
