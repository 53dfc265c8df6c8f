"""How others decide, on the same streams: each rule as its makers document it, with the place where they do.

All of them look at figures per minute (``PERIOD_S``; at 1,000 requests a second, where the whole simulation is a
quarter of an hour, per 5 s). Each has its own schedule of shares, as documented; the keys go where they go for ours.
Where a rule has a limit, the one with ``_fit`` in its name has one that somebody would set who knows stable's figures:
half as many errors again, a quarter more latency.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from bench.rollouts.mannwhitney import is_high
from bench.rollouts.outcome import Held, Outcome, outcome
from bench.rollouts.streams import MEDIAN_MS, SPREAD, Flags, Numbers, Stream

PERIODS = 180
"""Of a horizon: minutes of three hours."""


class Flagger(NamedTuple):
    """Raise the weight after every good minute; a failed check halts it, the fifth rolls back.

    The count of failed checks is never set back within an analysis, and a minute without a value is a failed check. The
    rollback comes with the check after the one that reached the threshold.

    Source: fluxcd/flagger 15bd6ad, ``docs/gitbook/usage/metrics.md`` (success rate at least 99%, p99 at most 500 ms),
    ``docs/gitbook/tutorials/istio-progressive-delivery.md`` (interval 1m, threshold 5, stepWeight 10, maxWeight 50),
    ``pkg/controller/scheduler.go`` and ``scheduler_metrics.go``.
    """

    name: str = "flagger"
    least_success: float = 0.99
    most_p99_ms: float = 500.0
    threshold: int = 5
    step_weight: float = 0.1
    max_weight: float = 0.5

    def judge(self, stream: Stream, harm: str) -> Outcome:
        """Run one deployment."""
        held, failed, weight = [Held(0, self.step_weight)], 0, self.step_weight
        for minute in minutes(stream):
            if failed >= self.threshold:
                return _ended(stream, held, "rolled_back", minute.ends_s, harm, "failed checks")
            if not self.passes(*minute.of(weight)[1]):
                failed += 1
            elif weight >= self.max_weight - 1e-9:
                return _ended(stream, held, "promoted", minute.ends_s, harm)
            else:
                weight += self.step_weight
                held.append(Held(minute.end, weight))
        return outcome(stream, held, "undecided", stream.horizon_s, harm=harm)

    def passes(self, failed: Flags, latency_ms: Numbers) -> bool:
        """Check the candidate's answers of one interval."""
        if not len(failed):
            return False
        return bool(1 - failed.mean() >= self.least_success and np.quantile(latency_ms, 0.99) <= self.most_p99_ms)


class Alarm(NamedTuple):
    """Shift a canary, bake it, and go back when an alarm on the new fleet goes off; no data is no breach.

    Source: Amazon SageMaker AI, *Auto-Rollback Configuration and Monitoring* and *Use canary traffic shifting*
    (docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html): errors a request above a
    threshold (``GreaterThanThreshold``) in both of two periods of ten minutes, ``TreatMissingData`` ``notBreaching``;
    average model latency likewise. The canary is 10%; the baking period is a sixth of the horizon, 30 minutes (an hour
    is the most that is allowed), and the alarms stay armed for as long again with all traffic on the new fleet.
    """

    name: str = "alarm"
    most_errors: float = 0.01
    most_mean_ms: float = 100.0
    canary: float = 0.1
    minutes: int = 10
    datapoints: int = 2
    periods: int = 2
    bake: int = PERIODS // 6

    def judge(self, stream: Stream, harm: str) -> Outcome:
        """Run one deployment."""
        held, weight = [Held(0, self.canary)], self.canary
        errors: list[bool] = []
        slow: list[bool] = []
        promoted_s = None
        for period in minutes(stream, self.minutes)[: 2 * self.bake // self.minutes]:
            failed, latency = period.of(weight)[1]
            errors.append(bool(len(failed)) and float(failed.mean()) > self.most_errors)
            slow.append(bool(len(failed)) and float(latency.mean()) > self.most_mean_ms)
            if self.rings(errors) or self.rings(slow):
                return _ended(stream, held, "rolled_back", period.ends_s, harm, "alarm")
            if promoted_s is None and len(errors) * self.minutes >= self.bake:
                weight, promoted_s = 1.0, period.ends_s
                held.append(Held(period.end, weight))
        return outcome(stream, held, "promoted", promoted_s or stream.horizon_s, harm=harm)

    def rings(self, breaches: list[bool]) -> bool:
        """Say whether enough of the last periods breach.

        >>> Alarm(datapoints=3, periods=5).rings([True, False, True, False, True])
        True
        """
        return sum(breaches[-self.periods :]) >= self.datapoints


class Kayenta(NamedTuple):
    """Compare the minutes of both arms so far by Mann–Whitney, again after every interval.

    Three metrics that may not increase (errors a request, p95 and, once there are labels, wrong answers), in groups of
    their own with equal weights; a minute without data is left out. The score is the share of metrics that pass; with
    marginal 75 and pass 95 one that is High ends the canary. A score that is not yet there (no data) waits.

    Source: spinnaker/kayenta a69573b, ``NetflixACAJudge.scala`` (tolerance 0.25, confidence 0.98),
    ``MannWhitneyClassifier.scala``, ``WeightedSumScorer.scala`` and ``ThresholdScoreClassifier.scala``;
    thresholds 95 and 75: ``docs/canary-config.md``. Canary 10%, a lifetime of a third of the horizon (60 points of one
    minute), judged at every tenth of it with all of its data.
    """

    name: str = "kayenta"
    canary: float = 0.1
    lifetime: int = PERIODS // 3
    interval: int = PERIODS // 30
    marginal: float = 75.0
    passing: float = 95.0

    def judge(self, stream: Stream, harm: str) -> Outcome:
        """Run one deployment."""
        held = [Held(0, self.canary)]
        series: list[tuple[tuple[float, float, float], ...]] = []
        for number, minute in enumerate(minutes(stream), start=1):
            series.append(minute.figures(self.canary))
            if number % self.interval:
                continue
            score = self.score(np.array(series))
            last = number >= self.lifetime
            if score is not None and (score < self.marginal or (last and score < self.passing)):
                return _ended(stream, held, "rolled_back", minute.ends_s, harm, "score")
            if last:
                return _ended(stream, held, "promoted", minute.ends_s, harm)
        return outcome(stream, held, "undecided", stream.horizon_s, harm=harm)

    def score(self, series: Numbers) -> float | None:
        """Score minutes × [stable, candidate] × metrics; NaN where there was nothing."""
        passed = []
        for metric in range(series.shape[2]):
            control, experiment = (arm[~np.isnan(arm)] for arm in series[:, :, metric].T)
            if len(control) and len(experiment):
                passed.append(not is_high(experiment, control))
        return 100 * sum(passed) / len(passed) if passed else None


class Minute(NamedTuple):
    """The requests of one period, and the labels that came in it."""

    stream: Stream
    begin: int
    end: int
    ends_s: float
    labels: slice

    def of(self, share: float) -> tuple[tuple[Flags, Numbers], tuple[Flags, Numbers]]:
        """Give, for stable and the candidate, which answers failed and how long each took."""
        rows = slice(self.begin, self.end)
        mine = self.stream.point[self.stream.key[rows]] < share
        stable, candidate = (
            (self.stream.failed[arm][rows][at], self.stream.latency_ms[arm][rows][at])
            for arm, at in enumerate((~mine, mine))
        )
        return stable, candidate

    def figures(self, share: float) -> tuple[tuple[float, float, float], ...]:
        """Give errors a request, p95 and wrong answers a label, for stable and the candidate; NaN: none."""
        found = []
        mine = self.stream.point[self.stream.key[self.labels]] < share
        labelled = self.stream.labelled[self.labels]
        for arm, (failed, latency) in enumerate(self.of(share)):
            answered = labelled & (mine == bool(arm)) & ~self.stream.failed[arm][self.labels]
            wrong = self.stream.wrong[arm][self.labels][answered]
            p95 = float(np.quantile(latency, 0.95)) if len(latency) else float("nan")
            found.append((_mean(failed), p95, _mean(wrong)))
        return tuple(found)


def minutes(stream: Stream, together: int = 1) -> list[Minute]:
    """Cut a stream into its minutes, or periods of so many together."""
    ends_s = np.arange(0, PERIODS + 1, together) * stream.horizon_s / PERIODS
    cut = np.searchsorted(stream.at_s, ends_s).tolist()
    come = np.searchsorted(stream.at_s, ends_s - stream.label_delay_s).tolist()
    return [
        Minute(stream, cut[at], cut[at + 1], float(ends_s[at + 1]), slice(come[at], come[at + 1]))
        for at in range(len(cut) - 1)
    ]


def _mean(flags: Flags) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def _ended(
    stream: Stream,
    held: list[Held],
    verdict: Literal["rolled_back", "promoted"],
    at_s: float,
    harm: str,
    rule: str = "",
) -> Outcome:
    start = int(np.searchsorted(stream.at_s, at_s))
    shares = [*held, Held(start, 1.0 if verdict == "promoted" else 0.0)]
    return outcome(stream, shares, verdict, at_s, harm=harm, rule=rule)


def rivals(base_errors: float) -> tuple[Flagger | Alarm | Kayenta, ...]:
    """Give all of them, the fitted ones for a stable version with that error rate."""
    errors, slower = 1.5 * base_errors, 1.25
    p99_ms, mean_ms = MEDIAN_MS * math.exp(2.3263 * SPREAD), MEDIAN_MS * math.exp(SPREAD**2 / 2)
    return (
        Flagger(),
        Flagger("flagger_fit", 1 - errors, slower * p99_ms),
        Alarm(),
        Alarm("alarm_fit", errors, slower * mean_ms),
        Alarm("alarm_fast_fit", errors, slower * mean_ms, minutes=1, datapoints=3, periods=5),
        Kayenta(),
    )
