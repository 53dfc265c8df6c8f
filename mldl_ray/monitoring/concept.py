"""Whether labels show a version to be wrong more often than its held-out rows promised, however often one looks.

Gamblers bet on every labelled answer being wrong, each with odds raised by another factor; while answers are wrong no
more often than promised, none of them can expect to win. A change may come at any time, so with every look a new round
of them begins, staked with the share of the monthly budget that the time since the last look covers. All wealth
together exceeds what was staked by chance alone no more often than the stakes add up to: an alarm is raised when it
reaches 1, and all begin anew. So the expected number of false alarms in any time is at most the budget for that time,
however many labels come and however often one looks.

It assumes that labelled answers are as good as independent: one caller whose every request is wrong and labelled
counts each time.

Sources: Shin, Ramdas & Rinaldo, *E-detectors: a nonparametric framework for sequential change detection* (2023), for
sums of e-processes that begin one after another (Shiryaev-Roberts), here weighted by time; Waudby-Smith & Ramdas (2023)
for the bets; Page (1954) for the guess when the change began.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from contracts.errors import Broken, NotFound, Unavailable
from contracts.specs import Json
from mldl_ray.monitoring.drift import LABELS_SHARE, MONTH_S, MOST_ALPHA
from mldl_ray.monitoring.harm import TOLERATED
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.promise import Promise
from mldl_ray.monitoring.reference import Reference
from mldl_ray.monitoring.slo import Want
from mldl_ray.monitoring.versions import Stream

ODDS = (1.1, 1.25, 1.5, 2.0, 3.0, 6.0)
"""How many times the promised odds of being wrong each gambler bets on."""
LOOK_S = 1.0
RETRY_S = 60.0
MOST_VERSIONS = 256
MOST_PROMISED = 0.99
"""Answers that may be wrong more often than this promise nothing."""


class Found(NamedTuple):
    """What an alarm rests on: the labelled answers since the change probably began."""

    labelled: int
    wrong: int
    since_s: float
    e_value: float

    @property
    def rate(self) -> float:
        """Share of wrong ones."""
        return self.wrong / max(1, self.labelled)


class Detector:
    """Bet on one version's labelled answers.

    Args:
        at_most: How often answers may be wrong, in (0, 1).
        now_s: Unix seconds.
    """

    _wealth: Any
    _run: Any
    _since_s: Any
    _counts: Any

    def __init__(self, at_most: float, now_s: float) -> None:
        odds = np.array(ODDS) * at_most / (1 - at_most)
        chance = odds / (1 + odds)
        self._won, self._lost = np.log(chance / at_most), np.log((1 - chance) / (1 - at_most))
        self._begin(now_s)

    @property
    def evidence(self) -> float:
        """Wealth, as a logarithm: an alarm is raised at 0."""
        return float(np.logaddexp.reduce(self._wealth) - np.log(len(ODDS)))

    def add(self, labelled: int, wrong: int, stake: float, now_s: float) -> Found | None:
        """Take labelled answers and stake a new round on them; give what was found when that is an alarm.

        Args:
            labelled: Answers.
            wrong: Of them.
            stake: The expected number of false alarms that the time since the last look may bring.
            now_s: Unix seconds.
        """
        with np.errstate(divide="ignore"):  # nothing staked is a logarithm of minus infinity, which adds nothing
            staked = np.log(stake)
        gain = wrong * self._won + (labelled - wrong) * self._lost
        self._wealth = np.logaddexp(self._wealth, staked) + gain
        fresh = self._run <= 0
        self._since_s[fresh], self._counts[fresh] = now_s, 0
        self._run = np.maximum(self._run, 0) + gain
        self._counts += (labelled, wrong)
        if self.evidence < 0:
            return None
        best = int(np.argmax(self._wealth))
        counts = self._counts[best].tolist()
        found = Found(
            int(counts[0]), int(counts[1]), float(self._since_s[best]), float(np.exp(min(700.0, self._run[best])))
        )
        self._begin(now_s)
        return found

    def _begin(self, now_s: float) -> None:
        self._wealth = np.full(len(ODDS), -np.inf)
        self._run = np.zeros(len(ODDS))
        self._since_s = np.full(len(ODDS), now_s)
        self._counts = np.zeros((len(ODDS), 2))


class Seen(NamedTuple):
    """Labelled answers of a version since the monitor began, all its roles together."""

    labelled: int
    correct: int
    sizes: Counter[int]


@dataclass
class _State:
    looked_s: float
    before: Seen = field(default_factory=lambda: Seen(0, 0, Counter()))
    promise: Promise | None = None
    detector: Detector | None = None
    wrong: int = 0
    alarms: int = 0
    why_not: str | None = None
    retry_s: float = float("-inf")


class ConceptWatch:
    """Follow the labels of every version. Safe to call from several threads.

    Args:
        reference: Gives a version's held-out rows; raises NotFound, Broken or Unavailable.
        versions: How many share the budget now.
        false_alarms_per_month: The budget of the whole monitor; ``LABELS_SHARE`` of it is spent here.
    """

    def __init__(
        self,
        reference: Callable[[Stream], Reference],
        *,
        versions: Callable[[float], int],
        false_alarms_per_month: float,
    ) -> None:
        self._reference, self._versions = reference, versions
        self._budget = LABELS_SHARE * false_alarms_per_month
        self._states: OrderedDict[Stream, _State] = OrderedDict()
        self._looking, self._looked_s = threading.Lock(), float("-inf")

    def due(self, now_s: float) -> bool:
        """Say whether it is time for a look; one a second is enough."""
        return now_s - self._looked_s >= LOOK_S

    def look(self, seen: Mapping[Stream, Seen], now_s: float) -> list[Want]:
        """Take what was labelled until now; say what alerts there should be."""
        if not self._looking.acquire(blocking=False):
            return []  # another thread looks just now
        try:
            self._looked_s = now_s
            wants = [self._one(stream, labels, now_s) for stream, labels in seen.items()]
        finally:
            self._looking.release()
        return [want for want in wants if want is not None]

    def state(self, stream: Stream) -> Json:
        """Say how the labels of a version stand."""
        state = self._states.get(stream)
        if state is None:
            return {"labelled": 0}
        promise, detector = state.promise, state.detector
        return {
            "labelled": state.before.labelled,
            "wrong": state.wrong,
            "promised": promise.rate if promise else None,
            "promised_at_most": promise.at_most if promise else None,
            "counts_as_wrong_beyond": promise.far if promise else None,
            "evidence": detector.evidence if detector and np.isfinite(detector.evidence) else None,
            "alarms": state.alarms,
            "why_not": state.why_not,
        }

    def _one(self, stream: Stream, seen: Seen, now_s: float) -> Want | None:
        state = self._states.get(stream)
        if state is None:
            state = self._states[stream] = _State(now_s)
            while len(self._states) > MOST_VERSIONS:
                self._states.popitem(last=False)
        self._states.move_to_end(stream)
        if seen.labelled == state.before.labelled or not self._promised(stream, state, now_s):
            return None
        assert state.promise is not None  # both are there once it is promised
        assert state.detector is not None
        before = state.before if seen.labelled > state.before.labelled else Seen(0, 0, Counter())  # it began again
        labelled = seen.labelled - before.labelled
        wrong = state.promise.wrong(labelled, seen.correct - before.correct, seen.sizes - before.sizes)
        stake, state.looked_s = self._stake(now_s - state.looked_s, now_s), now_s
        state.before, state.wrong = seen, state.wrong + wrong
        found = state.detector.add(labelled, wrong, stake, now_s)
        if found is None:
            return None
        state.alarms += 1
        return _want(stream, state.promise, found)

    def _promised(self, stream: Stream, state: _State, now_s: float) -> bool:
        """Say whether there is a promise to hold labels against; where it cannot be read, ask again later."""
        if state.detector is None and now_s >= state.retry_s:
            state.retry_s = now_s + RETRY_S
            try:
                state.promise = self._reference(stream).promise
                state.why_not = None if state.promise else "its held-out rows came without labels"
            except (NotFound, Broken, Unavailable) as error:
                state.why_not = error.message
            if state.promise is not None and 0 < state.promise.at_most < MOST_PROMISED:
                state.detector = Detector(state.promise.at_most, now_s)
        return state.detector is not None

    def _stake(self, span_s: float, now_s: float) -> float:
        covered_s = min(MONTH_S, max(0.0, span_s))
        return min(MOST_ALPHA, self._budget * covered_s / MONTH_S / max(1, self._versions(now_s)))


def labels_seen(outcomes: Mapping[Any, Outcomes]) -> dict[Stream, Seen]:
    """Add up the labelled answers of each version; keys begin with model_key and version."""
    found: dict[Stream, Seen] = {}
    for place, one in outcomes.items():
        if one.labelled:
            stream = (place[0], place[1])
            labelled, correct, sizes = found.get(stream, Seen(0, 0, Counter()))
            found[stream] = Seen(labelled + one.labelled, correct + one.correct, sizes + one.error_sizes)
    return found


def _want(stream: Stream, promise: Promise, found: Found) -> Want:
    model_key, version = stream
    since = datetime.fromtimestamp(found.since_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    wrong = "wrong" if promise.far is None else f"more than {promise.far:.3g} off"
    return Want(
        f"drift:concept:{model_key}:{version}",
        "drift",
        "critical" if found.rate - promise.rate > TOLERATED else "warning",
        model_key,
        version,
        f"labels show {model_key} {version} {wrong} in {found.rate:.1%} of {found.labelled} answers since {since}; its "
        f"held-out rows promised {promise.rate:.1%}, {promise.at_most:.1%} at most: inputs relate to labels in another "
        "way, or became harder",
        {
            "test": "betting_on_labels",
            "labelled": found.labelled,
            "wrong": found.wrong,
            "error_rate": found.rate,
            "promised": promise.rate,
            "promised_at_most": promise.at_most,
            "held_out_rows": promise.rows,
            "counts_as_wrong_beyond": promise.far,
            "since_s": found.since_s,
            "e_value": found.e_value,
        },
    )
