"""Who sends a bad version back, how soon, and who sends back a good one: our judge and rivals' on simulated streams.

Ours is the real judge, ``mldl_ray.deployment.decide``. What is simulated, who the rivals are and what a look is:
``bench/README.md``. Progress goes to standard error; a table, or with ``--json`` one JSON line, to standard output.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from bench.rollouts.figures import figures
from bench.rollouts.ours import Looking, Ours
from bench.rollouts.outcome import Outcome
from bench.rollouts.rivals import rivals
from bench.rollouts.scenarios import Scenario, scenarios
from bench.rollouts.streams import stream_of
from contracts.specs import Json

ALPHA = 0.05
OURS = ("mldl", "mldl_early")
BASE_ERRORS = 0.005
RUNS = {1: 40, 10: 16, 1000: 5}
"""Deployments of a scenario, by requests a second (a faster one costs more to simulate); thrice as many when equal."""
AA_RUNS, AA_HORIZON_S = 160, 600.0
"""Of the run that looks at every request of an equal candidate: ten a second, 150 s a step, about 1,200 looks."""
QUICK = 20
CHUNK = 4  # deployments that a process does before it reports


class Work(NamedTuple):
    """Some deployments of one scenario."""

    scenario: Scenario
    seeds: tuple[int, ...]
    base_errors: float
    looking: Looking


Found = dict[str, list[Outcome]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    asked = _parse(arguments)
    began = time.monotonic()
    result: Json = {
        "bench": "rollout",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "asked": {"alpha": ALPHA, "base_errors": asked.base_errors, "seed": asked.seed, "quick": asked.quick},
    }
    found = _simulate(list(_work(asked)), asked.processes)
    result["scenarios"] = {
        scenario.name: {judge: figures(outcomes, equal=scenario.equal) for judge, outcomes in judges.items()}
        for scenario, judges in found.items()
    }
    result |= _headline(result["scenarios"])
    result |= {"deployments": sum(len(one) for judges in found.values() for one in judges.values())}
    result |= {"seconds": round(time.monotonic() - began, 1)}
    print(json.dumps(result) if asked.json else _table(result))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.rollout", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON line instead of a table")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the deployments, at least two of each")
    parser.add_argument("--only", nargs="*", default=[], help="scenarios whose name begins so")
    parser.add_argument("--base-errors", type=float, default=BASE_ERRORS, help="stable's error rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args(arguments)
    if asked.processes < 1 or not 0 < asked.base_errors < 0.1:
        parser.error("--processes is at least 1 and --base-errors in (0, 0.1)")
    return asked


def _work(asked: argparse.Namespace) -> Iterator[Work]:
    every = [Scenario("aa_every_request", base_errors=asked.base_errors, lasts_s=AA_HORIZON_S)]
    every += [Scenario("aa_every_request", "sticky", "bursty", base_errors=asked.base_errors, lasts_s=AA_HORIZON_S)]
    for scenario in (*every, *scenarios(asked.base_errors)):
        if asked.only and not any(scenario.name.startswith(name) for name in asked.only):
            continue
        runs = AA_RUNS if scenario in every else RUNS[scenario.rate] * (3 if scenario.equal else 1)
        runs = max(2, runs // QUICK) if asked.quick else runs
        seeds = range(asked.seed, asked.seed + runs)
        for begin in range(0, runs, CHUNK):
            chunk = tuple(seeds[begin : begin + CHUNK])
            yield Work(scenario, chunk, asked.base_errors, "every" if scenario in every else "eventful")


def _simulate(work: Sequence[Work], processes: int) -> dict[Scenario, Found]:
    found: dict[Scenario, Found] = {}
    with ExitStack() as stack:
        each: Iterable[Found] = map(simulate, work)
        if processes > 1:
            each = stack.enter_context(multiprocessing.get_context("spawn").Pool(processes)).imap(simulate, work)
        for done, (one, judged) in enumerate(zip(work, each, strict=True), start=1):
            judges = found.setdefault(one.scenario, {})
            for judge, outcomes in judged.items():
                judges.setdefault(judge, []).extend(outcomes)
            if done == len(work) or work[done].scenario != one.scenario:
                print(f"{done / len(work):4.0%} {one.scenario.name}", file=sys.stderr, flush=True)
    return found


def simulate(work: Work) -> Found:
    """Put every stream before every judge."""
    judges = [Ours(looking=work.looking, alpha=ALPHA)]
    if work.looking == "every":  # a time scale on which a rival's minutes mean nothing
        return {judges[0].name: [judges[0].judge(stream_of(work.scenario, seed), "failed") for seed in work.seeds]}
    judges.append(Ours("mldl_early", early_promotion=True, alpha=ALPHA))
    found: Found = {}
    for seed in work.seeds:
        stream = stream_of(work.scenario, seed)
        for judge in (*judges, *rivals(work.base_errors)):
            found.setdefault(judge.name, []).append(judge.judge(stream, work.scenario.harm))
    return found


def _headline(found: Json) -> Json:
    """Name the figures that the product is held to."""
    named: Json = {}
    for scenario, judges in found.items():
        if scenario.startswith("aa_every_request"):
            suffix = scenario.removeprefix("aa_every_request_10rps")
            named[f"aa_false_rollback{suffix}"] = judges["mldl"]["false_rollback"]
            named[f"aa_false_rollback{suffix}_interval"] = judges["mldl"]["false_rollback_interval"]
    equal = [
        of for name, judges in found.items() if name.startswith("aa") for judge, of in judges.items() if judge in OURS
    ]
    if equal:
        named["aa_worst"] = max(of["false_rollback"] for of in equal)
        named["aa_kept"] = all(of["false_rollback_interval"][0] <= ALPHA for of in equal)
    return named


def _table(result: Json) -> str:
    lines = []
    for scenario, judges in result["scenarios"].items():
        lines += ["", scenario]
        for judge, of in judges.items():
            rate = "false_rollback" if "false_rollback" in of else "detection"
            low, high = of[f"{rate}_interval"]
            words = f"  {judge:15} {rate} {of[rate]:6.1%} [{low:.1%}, {high:.1%}]  promoted {of['promotion']:6.1%}"
            if rate == "detection":
                words += f"  after {_of(of['delay_requests'])} requests, {_of(of['delay_s'])} s"
                words += f"  harmed {_of(of['harmed'])}"
            else:
                words += f"  in {_of(of['promotion_s'])} s"
            lines.append(words)
    named = {name: value for name, value in result.items() if name.startswith("aa_")}
    return "\n".join([*lines, "", json.dumps(named | {name: result[name] for name in ("deployments", "seconds")})])


def _of(value: float | None) -> str:
    return f"{value:9,.0f}" if value is not None else "        –"


if __name__ == "__main__":
    main()
