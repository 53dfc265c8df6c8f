"""How many one-row requests a second, and how fast each, beside what people serve models with. Prints one JSON line.

Every system is up the whole time and measured in turn, round after round, so that a machine that slows down slows all
of them; a ratio is the median of the rounds' own ratios. What each system is: ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import FrameType

import httpx

from bench.peers import ours, rolling, wrk
from bench.peers.processes import ask
from bench.peers.start import PEERS, PINS
from bench.peers.workloads import MAKE, Workload
from bench.peers.wrk import Measured, Target
from contracts.specs import Json

OURS = "mldl"
SYSTEMS = (OURS, *PEERS)
ONLY_LR = {"ray_serve_default"}
TARGETS = {
    "lr": {"vs_uvicorn": 0.9, "vs_ray_serve_default": 8.0, "vs_mlflow": 2.5},
    "adult": {"vs_uvicorn": 8.0, "vs_mlflow": 12.0},
}
WARM_UP_S, SETTLE_S = 2, 2.0
ROLLBACKS = 10
ROLLOUTS = {"shadow": rolling.shadow, "two_replicas": rolling.two_replicas}
BACK = "rollbacks"
LEAST_SHARE, MOST_SHARE = 0.02, 0.09
"""Of 1,000 answers or more, about 5% come from the candidate; outside of this they do not."""
LIBRARIES = ("ray", "fastapi", "uvicorn", "scikit-learn", "xgboost", "onnxruntime", "numpy", "pandas")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    asked = _parse(arguments)
    machine = _machine()
    signal.signal(signal.SIGTERM, _leave)
    result: Json = {
        "bench": "serving",
        "machine": machine,
        "asked": {"connections": wrk.CONNECTIONS, "rounds": asked.rounds, "seconds": asked.seconds}
        | {"rows_per_request": 1, "replicas": 1, "canary_pct": ours.CANARY_PCT, "telemetry": True, "auth": True},
    }
    with tempfile.TemporaryDirectory(prefix="mldl-bench-", ignore_cleanup_errors=True) as name, ExitStack() as stack:
        system = stack.enter_context(ours.system(Path(name))) if OURS in asked.systems else None
        for workload in asked.workload:
            result[workload] = _workload(MAKE[workload](Path(name) / workload), system, asked, Path(name) / workload)
    print(json.dumps(result))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.serving", description=__doc__)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--workload", nargs="+", choices=list(MAKE), default=list(MAKE))
    parser.add_argument("--rollouts", nargs="*", choices=[*ROLLOUTS, BACK], default=[*ROLLOUTS, BACK])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of load on one system in one round")
    asked = parser.parse_args(arguments)
    if asked.rounds < 1 or asked.seconds < 1:
        parser.error(f"--rounds and --seconds are at least 1, got {asked.rounds} and {asked.seconds}")
    return asked


def _workload(workload: Workload, system: ours.Ours | None, asked: argparse.Namespace, folder: Path) -> Json:
    with ExitStack() as stack:
        targets = []
        if system is not None:
            _say(f"{workload.name}: training and deploying two versions")
            targets.append(system.deploy(workload))
        for name in asked.systems:
            if name != OURS and (workload.name == "lr" or name not in ONLY_LR):
                _say(f"{workload.name}: starting {name}")
                targets.append(stack.enter_context(PEERS[name](workload, folder)))
        seen: Counter[str] = Counter()
        rounds = []
        for target in targets:
            wrk.load(target, folder, WARM_UP_S)
        for number in range(asked.rounds):
            rounds.append({target.name: _measure(target, folder, asked.seconds, number) for target in targets})
            if system is not None:
                seen += system.versions_seen(targets[0], -(-5 // asked.rounds))
        answer: Json = {"systems": {target.name: _summary(one[target.name] for one in rounds) for target in targets}}
        if system is not None:
            answer |= _ratios(workload.name, rounds) | _canary(workload, system, seen)
            answer |= {"failed": sum(one[OURS].errors for one in rounds), "agreement": _agreement(targets)}
            answer |= _rolling(workload, system, targets[0], asked, folder)
        return answer


def _rolling(workload: Workload, system: ours.Ours, target: Target, asked: argparse.Namespace, folder: Path) -> Json:
    """Measure what rollouts and replicas do to those who are answered; the canary ends here."""
    if asked.rollouts:
        system.back(workload)
    answer: Json = {}
    for part in asked.rollouts:
        _say(f"{workload.name}: {part}")
        if part == BACK:
            answer |= rolling.rollbacks(system, workload, target, ROLLBACKS)
        else:
            answer[part] = ROLLOUTS[part](system, workload, target, folder, asked.rounds, asked.seconds)
    return answer


def _measure(target: Target, folder: Path, seconds: int, number: int) -> Measured:
    time.sleep(SETTLE_S)
    found = wrk.load(target, folder, seconds)
    _say(f"round {number + 1}: {target.name} {found.req_s:,.0f} req/s, p50 {found.p50_ms} ms, p99 {found.p99_ms} ms")
    return found


def _summary(rounds: Iterable[Measured]) -> Json:
    found = list(rounds)
    return {
        "req_s": statistics.median(one.req_s for one in found),
        "p50_ms": statistics.median(one.p50_ms for one in found),
        "p99_ms": statistics.median(one.p99_ms for one in found),
        "requests": sum(one.requests for one in found),
        "errors": sum(one.errors for one in found),
        "req_s_by_round": [one.req_s for one in found],
    }


def _ratios(workload: str, rounds: Sequence[Mapping[str, Measured]]) -> Json:
    """Compare ours with each peer, round by round.

    >>> of = lambda req_s: Measured(req_s, 1.0, 2.0, 10, 0)
    >>> _ratios("adult", [{"mldl": of(30), "mlflow": of(5)}, {"mldl": of(10), "mlflow": of(2)}])
    {'vs_mlflow': 5.5, 'targets_met': {'vs_mlflow': True}}
    """
    found = {
        f"vs_{name}": round(statistics.median(one[OURS].req_s / one[name].req_s for one in rounds), 2)
        for name in rounds[0]
        if name != OURS
    }
    return found | {"targets_met": {name: ratio >= TARGETS[workload][name] for name, ratio in found.items()}}


def _canary(workload: Workload, system: ours.Ours, seen: Counter[str]) -> Json:
    version_ = system.candidate(workload)
    share = seen[version_] / seen.total()
    if not LEAST_SHARE <= share <= MOST_SHARE:
        raise RuntimeError(f"{share:.1%} of {seen.total()} answers came from the canary, not about 5%: {dict(seen)}")
    return {"candidate_share": round(share, 4), "candidate_sample": seen.total(), "form": system.form(workload)}


def _agreement(targets: Sequence[Target]) -> dict[str, float]:
    """Give the share of rows on which a peer's label is ours: all of them are asked for the same."""
    labels = {target.name: _labels(target) for target in targets}
    first = labels.pop(OURS)
    return {
        name: round(sum(a == b for a, b in zip(first, other, strict=True)) / len(first), 3)
        for name, other in labels.items()
    }


def _labels(target: Target) -> list[int]:
    with httpx.Client(timeout=10) as client:
        answers = [ask(client, target, body).raise_for_status().json() for body in target.bodies]
    return [answer["predictions"][0] for answer in answers]


def _machine() -> Json:
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "wrk": wrk.version(),
        **{name: version(name) for name in LIBRARIES},
        "mlflow_environment": dict(pin.split("==") for pin in PINS),
    }


def _cpu() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)  # so that everything started is stopped on the way out


if __name__ == "__main__":
    main()
