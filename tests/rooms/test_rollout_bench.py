"""The simulated rollouts: streams are what they say, counts are the monitor's, rivals decide as they document."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import mannwhitneyu

from bench import rollout
from bench.rollouts.counts import CANDIDATE, STABLE, Epoch, Seen, telemetry
from bench.rollouts.figures import figures, interval
from bench.rollouts.mannwhitney import is_high, shift
from bench.rollouts.ours import Ours
from bench.rollouts.outcome import Held, Outcome, on_candidate
from bench.rollouts.rivals import Alarm, Flagger, Kayenta
from bench.rollouts.scenarios import Scenario
from bench.rollouts.streams import P95_MS, Stream, stream_of
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.counts import Counts

AT_S = 600.0
COUNTED = ("version", "epoch", "share", "requests", "errors", "latency_counts", "error_keys", "labelled", "correct")


def short(effect: str = "aa", **more: Any) -> Scenario:
    return Scenario(effect, **({"lasts_s": AT_S} | more))


# streams


def test_a_stream_has_the_rates_that_it_claims() -> None:
    stream = stream_of(short(errors_times=2, more_wrong=0.05, latency_times=1.2, lasts_s=10_000.0), 1)
    assert len(stream) == pytest.approx(100_000, rel=0.02)
    assert [part.mean() for part in stream.failed] == pytest.approx([0.005, 0.01], rel=0.15)
    assert [part.mean() for part in stream.wrong] == pytest.approx([0.1, 0.15], rel=0.03)
    assert [np.quantile(part, 0.95) for part in stream.latency_ms] == pytest.approx([P95_MS, 1.2 * P95_MS], rel=0.02)


def test_what_the_candidate_does_worse_is_never_what_stable_does_too() -> None:
    stream = stream_of(short(errors_times=10), 1)
    assert stream.extra("failed").sum() == stream.failed[1].sum() - stream.failed[0].sum()
    equal = stream_of(short(), 1)
    assert not any(equal.extra(what).any() for what in ("failed", "wrong", "slow"))


def test_sticky_users_are_few_with_many_requests_and_fail_again_and_again() -> None:
    stream = stream_of(short(users="sticky", lasts_s=10_000.0), 1)
    per_key = np.sort(np.bincount(stream.key))[::-1]
    assert per_key[: len(per_key) // 100].sum() > 0.3 * per_key.sum()
    failing = stream.key[stream.failed[0]]
    assert len(np.unique(failing)) < len(failing) / 2
    assert 0.002 < stream.failed[0].mean() < 0.015


@pytest.mark.parametrize("load", ["bursty", "daily"])
def test_a_busy_moment_slows_both_arms(load: Any) -> None:
    stream = stream_of(short(load=load, lasts_s=10_000.0), 1)
    per_minute = np.bincount((stream.at_s // 60).astype(int))
    busy = per_minute[(stream.at_s // 60).astype(int)] > 1.4 * np.median(per_minute)
    assert per_minute.max() > 1.6 * np.median(per_minute)
    for arm in stream.latency_ms:
        assert np.median(arm[busy]) > 1.2 * np.median(arm[~busy])


def test_the_same_seed_gives_the_same_stream() -> None:
    first, again, other = (stream_of(short(), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.at_s, again.at_s)
    assert np.array_equal(first.failed[1], again.failed[1])
    assert not np.array_equal(first.at_s[:100], other.at_s[:100])


# counts


def test_counts_are_those_of_the_monitor() -> None:
    """Two epochs of sticky users, row by row through the monitor's own counters and by sums."""
    stream = stream_of(short(users="sticky", errors_times=10, base_errors=0.05, lasts_s=120.0), 3)
    half, end_s = len(stream) // 2, stream.horizon_s * 2
    epochs = [Epoch(stream, 1, 0.25, 0, seen := Seen(len(stream.point)))]
    epochs[0].close(half)
    epochs.append(Epoch(stream, 2, 0.5, half, seen))
    mine = telemetry(epochs, len(stream) - half, end_s)
    monitor = Counts()
    for number, share, rows in ((1, 0.25, np.arange(half)), (2, 0.5, np.arange(half, len(stream)))):
        aside = stream.point[stream.key[rows]] < share
        for side, at in enumerate((~aside, aside)):
            monitor.add(Batch.parse(batch_of(stream, rows[at], side, number, share)), end_s)
    monitor.label([(f"r{row}", "right") for row in np.flatnonzero(stream.labelled)])
    for arms, theirs in zip((mine.stable, mine.candidate), monitor.rollouts.arms(Ours().begin(1)), strict=True):
        for arm, monitored in zip(arms, theirs, strict=True):
            assert {name: getattr(arm, name) for name in COUNTED} == {
                name: getattr(monitored, name) for name in COUNTED
            }
            assert arm.keys == pytest.approx(monitored.keys, rel=0.05)
    assert [arm.errors_in_a_row for arm in mine.candidate] == [
        arm.errors_in_a_row for arm in monitor.rollouts.arms(Ours().begin(1))[1]
    ]
    assert sum(arm.errors for arm in mine.candidate) > sum(arm.error_keys or 0 for arm in mine.candidate) > 10


def test_labels_count_when_they_come_and_once_a_key() -> None:
    stream = stream_of(short(users="sticky", lasts_s=600.0), 3)
    epoch = Epoch(stream, 1, 0.5, 0, Seen(len(stream.point)))
    rows = stream.labelled & (stream.point[stream.key] < 0.5)
    for now_s in (20.0, 300.0):
        arm = telemetry([epoch], len(stream), now_s).candidate[0]
        come = rows & (stream.at_s <= now_s - stream.label_delay_s)
        assert arm.labelled == come.sum()
        assert arm.correct == (come & ~stream.wrong[1]).sum()
        assert arm.labelled_keys == arm.judged_keys == len(np.unique(stream.key[come]))
    assert 0 < (arm.wrong_keys or 0) <= arm.labelled - arm.correct


def batch_of(stream: Stream, rows: Any, arm: int, epoch: int, share: float) -> bytes:
    """Put requests as the replicas of an arm would have reported them; a right answer is "right"."""
    columns = {
        "request_id": [f"r{row}" for row in rows],
        "key": [f"k{key}" for key in stream.key[rows]],
        "at_s": stream.at_s[rows],
        "latency_ms": stream.latency_ms[arm][rows],
        "status": pa.array(np.where(stream.failed[arm][rows], 500, 200), pa.int16()),
        "role": [("stable", "candidate")[arm]] * len(rows),
        "prediction": np.where(stream.wrong[arm][rows], '"wrong"', '"right"').tolist(),
        "score": np.full(len(rows), 0.5),
    }
    facts = {"model_key": "m", "version": (STABLE, CANDIDATE)[arm], "epoch": str(epoch), "share": str(share)}
    table = pa.table(columns).replace_schema_metadata(facts | {"deployment_id": "dep", "lost": "0"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


# ours


def test_a_candidate_that_often_fails_is_sent_back_long_before_its_first_step_ends() -> None:
    found = Ours().judge(stream_of(short(errors_times=60, lasts_s=2400.0), 1), "failed")
    assert (found.verdict, found.at_s < 600) == ("rolled_back", True)
    assert 0 < found.harmed < 40


def test_an_equal_candidate_reaches_all_traffic_at_the_end_of_its_steps_or_earlier_when_asked() -> None:
    stream = stream_of(short(base_errors=0.001, lasts_s=2400.0), 1)
    patient, early = (Ours(early_promotion=early).judge(stream, "failed") for early in (False, True))
    assert patient.verdict == early.verdict == "promoted"
    assert early.at_s < 1800 <= patient.at_s < 1900
    assert patient.harmed == early.harmed == 0


def test_looking_at_every_request_is_as_many_looks_as_the_candidate_had_requests() -> None:
    stream = stream_of(short(lasts_s=200.0), 1)
    found = Ours(looking="every").judge(stream, "failed")
    assert found.looks >= found.candidate_requests > 100


# rivals


def even(*, failed: float = 0.0, ms: float = 10.0, requests: int = 18_000, seconds: float = 10_800.0) -> Stream:
    """A stream in which the candidate's answers are alike, or every so manieth fails; its keys are spread evenly."""
    at, none = np.arange(requests), np.zeros(requests, dtype=bool)
    at_s = np.asarray((at + 0.5) * seconds / requests, dtype=np.float64)
    point = np.asarray((at * 0.618034) % 1, dtype=np.float64)
    bad = (at % round(1 / failed) == 0) if failed else none
    latency = np.full(requests, 10.0), np.full(requests, ms)
    bins, slow = np.zeros(requests, dtype=np.int16), (none, latency[1] > P95_MS)
    return Stream(at_s, at, point, (none, bad), (none, none), none, latency, (bins, bins), slow, 600.0, seconds)


def test_flagger_raises_the_weight_every_minute_and_promotes_after_the_fifth() -> None:
    found = Flagger().judge(even(), "failed")
    assert (found.verdict, found.at_s) == ("promoted", 300.0)


@pytest.mark.parametrize("bad", [even(failed=0.5), even(ms=501.0)], ids=["failing", "slow"])
def test_flagger_rolls_back_at_the_check_after_five_that_failed(bad: Stream) -> None:
    found = Flagger().judge(bad, "failed")
    assert (found.verdict, found.at_s) == ("rolled_back", 360.0)


def test_flagger_takes_a_minute_without_values_for_a_failed_check() -> None:
    assert not Flagger().passes(np.array([], dtype=bool), np.array([]))
    assert Flagger().passes(np.array([False] * 99 + [True]), np.full(100, 500.0))
    assert not Flagger().passes(np.array([False] * 98 + [True] * 2), np.full(100, 10.0))


def test_an_alarm_needs_both_of_two_periods_and_takes_no_data_for_no_breach() -> None:
    found = Alarm().judge(even(failed=0.5), "failed")
    assert (found.verdict, found.at_s) == ("rolled_back", 1200.0)
    assert Alarm().judge(even(), "failed").verdict == "promoted"
    assert Alarm().judge(even(requests=3, failed=1.0, seconds=10_800.0), "failed").verdict == "promoted"


def test_an_alarm_that_wants_three_of_five_does_not_ring_at_two() -> None:
    alarm = Alarm(datapoints=3, periods=5)
    assert not alarm.rings([True, True])
    assert not alarm.rings([True, True, False, False, False, True])
    assert alarm.rings([True, False, True, False, True])


def test_kayenta_fails_what_is_shifted_up_and_passes_what_is_down_or_the_same() -> None:
    rng = np.random.default_rng(0)
    stable, same = rng.normal(10, 1, (2, 60))
    for candidate, score in ((same, 100), (stable - 5, 100), (stable + 5, 0)):
        assert Kayenta().score(np.stack([stable, candidate], axis=1)[:, :, None]) == score
    assert Kayenta().score(np.full((60, 2, 3), np.nan)) is None


def test_kayenta_ends_a_canary_of_which_one_metric_of_three_is_high() -> None:
    slow = even(ms=30.0)
    found = Kayenta().judge(slow, "slow")
    assert (found.verdict, found.at_s, found.rule) == ("rolled_back", 360.0, "score")
    assert Kayenta().judge(even(), "slow").verdict == "promoted"


def test_the_mann_whitney_bound_excludes_no_shift_exactly_when_the_test_rejects_it() -> None:
    rng = np.random.default_rng(1)
    for lift in np.linspace(0, 1.5, 20):
        control, experiment = rng.normal(0, 1, 40), rng.normal(lift, 1, 40)
        lower, estimate = shift(experiment, control)
        rejected = mannwhitneyu(experiment, control, alternative="greater", method="asymptotic").pvalue < 0.01
        assert (lower > 0) == rejected
        assert estimate == pytest.approx(np.median(np.subtract.outer(experiment, control)), abs=0.01)
    assert not is_high(np.zeros(30), np.zeros(30))


# figures


def test_harm_is_counted_until_the_horizon_when_nobody_noticed() -> None:
    stream = even(failed=0.5)
    mine = on_candidate(stream, [Held(0, 0.1), Held(9000, 1.0)])
    assert mine[9000:].all()
    assert mine[:9000].mean() == pytest.approx(0.1, abs=0.01)


def test_figures_tell_detections_from_false_alarms() -> None:
    outcomes = [Outcome("rolled_back", 10.0, 5, 1), Outcome("promoted", 20.0, 9, 3), Outcome("promoted", 40.0, 9, 5)]
    harmful, equal = figures(outcomes, equal=False), figures(outcomes, equal=True)
    assert (harmful["detection"], harmful["delay_requests"], harmful["harmed"]) == (0.3333, 5, 3)
    assert (equal["false_rollback"], equal["promotion"], equal["promotion_s"]) == (0.3333, 0.6667, 30.0)
    assert interval(1, 3)[0] < 1 / 3 < interval(1, 3)[1]


def test_equal_candidates_are_seldom_sent_back_though_every_request_is_looked_at() -> None:
    found = [Ours(looking="every").judge(stream_of(short(lasts_s=120.0), seed), "failed") for seed in range(12)]
    assert sum(one.verdict == "rolled_back" for one in found) <= 2


def test_the_bench_prints_named_figures(capsys: pytest.CaptureFixture[str]) -> None:
    rollout.main(["--quick", "--json", "--only", "errors_10x_1rps", "--processes", "1"])
    found = json.loads(capsys.readouterr().out)
    assert found["bench"] == "rollout"
    judges = found["scenarios"]["errors_10x_1rps"]
    assert set(judges) >= {"mldl", "mldl_early", "flagger", "alarm", "kayenta"}
    assert 0 <= judges["mldl"]["detection"] <= 1
