"""Both arms of every rollout, counted per epoch of the route table. What the counts mean is decided in ``deployment``.

Nothing here survives a restart: an epoch's counts begin again at zero, which delays a promotion and harms nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from contracts.rollouts import ArmTelemetry, Deployment, PairTelemetry
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.confusions import Confusions
from mldl_ray.monitoring.distinct import DistinctKeys
from mldl_ray.monitoring.firsts import Firsts, Ledgers
from mldl_ray.monitoring.outcomes import Outcomes, same_value
from mldl_ray.monitoring.pairs import PairCounts
from mldl_ray.monitoring.selections import Selections
from mldl_ray.monitoring.window import BINS, Counts, histogram

MOST_ARMS = 512
MOST_IDS = 64
"""Rollouts that one batch is counted for at most."""
K = TypeVar("K")
V = TypeVar("V")


class ArmCounts:
    """One version in one epoch. ``aside``: it is the candidate."""

    def __init__(self, firsts: Firsts, *, aside: bool = False) -> None:
        self.firsts = firsts
        self._judged = "judged aside" if aside else "judged"
        self.error_keys = self.labelled_keys = self.wrong_keys = 0
        self.judged_keys = self.misjudged_keys = 0
        self.confusions = Confusions()
        self.share = 0.0
        self.requests = self.errors = self.errors_in_a_row = 0
        self.latency: Counts = np.zeros(BINS, dtype=np.int64)
        self.first_latency: Counts = np.zeros(BINS, dtype=np.int64)
        self.keys = DistinctKeys()
        self.outcomes, self.selections = Outcomes(), Selections()

    def add(self, batch: Batch, rows: npt.NDArray[np.intp], failed: npt.NDArray[np.bool_]) -> None:
        """Count rows of a batch, in their order."""
        self.share = max(self.share, batch.facts.share)  # the larger one makes the judge more careful
        self.requests += len(rows)
        self.errors += int(failed.sum())
        fine = np.flatnonzero(~failed)
        self.errors_in_a_row = len(rows) - 1 - int(fine[-1]) if len(fine) else self.errors_in_a_row + len(rows)
        took_ms = batch.numbers("latency_ms")[rows]
        self.latency += histogram(took_ms)
        keys = batch.table["key"].take(rows).to_pylist()
        self.keys.add(keys)
        epoch = batch.facts.epoch
        first = [place for place, key in enumerate(keys) if self.firsts.asked(epoch, hash(key))]
        self.first_latency += histogram(took_ms[first])
        self.error_keys += sum(self.firsts.error(hash(keys[row])) for row in np.flatnonzero(failed).tolist())

    def judge(self, label: Any, value: Any, score: float | None, key: int) -> None:
        """Count a labelled answer, and its key if that is its first label, of all and by this arm."""
        self.outcomes.add(label, value, score)
        wrong = not same_value(label, value)
        if self.firsts.label(key):
            self.labelled_keys += 1
            self.wrong_keys += wrong
        if self.firsts.first(self._judged, key):
            self.judged_keys += 1
            self.misjudged_keys += wrong
            self.confusions.add(label, value)


class _Place(NamedTuple):
    deployment_id: str
    epoch: int
    version: str
    aside: bool  # in the role of candidate or shadow


class Rollouts:
    """Find the counts of a deployment's arms; the ones longest unheard of go first when there are too many."""

    def __init__(self, most_arms: int = MOST_ARMS) -> None:
        self._arms: OrderedDict[_Place, ArmCounts] = OrderedDict()
        self._pairs: OrderedDict[tuple[str, int], PairCounts] = OrderedDict()
        self._most, self._ledgers = most_arms, Ledgers()

    def counted(self, batch: Batch, role: str) -> tuple[ArmCounts, ...]:
        """Give where rows of a batch in a role are counted: once for each rollout that they belong to."""
        return tuple(self._arm(name, batch, role) for name in batch.facts.deployment_ids[:MOST_IDS])

    def paired(self, batch: Batch, task: str | None) -> PairCounts | None:
        """Give where a shadow's answers are counted beside stable's; None when they belong to no rollout."""
        names, epoch = batch.facts.deployment_ids, batch.facts.epoch
        if not names:
            return None
        place = (names[0], epoch)
        if place not in self._pairs:
            self._pairs[place] = PairCounts(self._ledgers.of(names[0], shadow=True), task)
        _keep(self._pairs, place, self._most)
        return self._pairs[place]

    def pairs(self, deployment: Deployment) -> tuple[PairTelemetry, ...]:
        """Give the pairs of a shadow, by epoch, from the first epoch of the rollout on."""
        name, first = deployment.deployment_id, deployment.first_epoch
        if first is None:
            return ()
        found = sorted((place[1], counts) for place, counts in self._pairs.items() if place[0] == name)
        return tuple(counts.telemetry(epoch) for epoch, counts in found if epoch >= first)

    def _arm(self, deployment_id: str, batch: Batch, role: str) -> ArmCounts:
        facts = batch.facts
        place = _Place(deployment_id, facts.epoch, facts.version, role != "stable")
        if place not in self._arms:
            ledger = self._ledgers.of(deployment_id, shadow=role == "shadow")
            self._arms[place] = ArmCounts(ledger, aside=place.aside)
        _keep(self._arms, place, self._most)
        return self._arms[place]

    def arms(self, deployment: Deployment) -> tuple[tuple[ArmTelemetry, ...], tuple[ArmTelemetry, ...]]:
        """Give stable's and the candidate's counts, by epoch, from the first epoch of the rollout on."""
        stable: list[ArmTelemetry] = []
        candidate: list[ArmTelemetry] = []
        for place, arm in sorted(self._of(deployment)):
            (candidate if _is_candidate(place, deployment) else stable).append(_telemetry(place, arm))
        return tuple(stable), tuple(candidate)

    def outcomes(self, deployment: Deployment) -> Outcomes:
        """Add up the labels of the candidate."""
        return reduce(Outcomes.plus, (arm.outcomes for arm in self._candidates(deployment)), Outcomes())

    def selections(self, deployment: Deployment) -> Selections:
        """Add up whom the candidate selected."""
        return reduce(Selections.plus, (arm.selections for arm in self._candidates(deployment)), Selections())

    def _candidates(self, deployment: Deployment) -> list[ArmCounts]:
        return [arm for place, arm in self._of(deployment) if _is_candidate(place, deployment)]

    def _of(self, deployment: Deployment) -> list[tuple[_Place, ArmCounts]]:
        first = deployment.first_epoch
        if first is None:
            return []
        return [
            (place, arm)
            for place, arm in self._arms.items()
            if place.deployment_id == deployment.deployment_id and place.epoch >= first
        ]


def _keep(kept: OrderedDict[K, V], place: K, most: int) -> None:
    """Have a place be the last to go."""
    kept.move_to_end(place)
    while len(kept) > most:
        kept.popitem(last=False)


def _is_candidate(place: _Place, deployment: Deployment) -> bool:
    """A candidate at 100% has the role of stable, so the version decides, unless both arms run the same one."""
    return place.aside if deployment.stable == deployment.version else place.version == deployment.version


def _telemetry(place: _Place, arm: ArmCounts) -> ArmTelemetry:
    return ArmTelemetry(
        version=place.version,
        epoch=place.epoch,
        share=arm.share,
        requests=arm.requests,
        errors=arm.errors,
        errors_in_a_row=arm.errors_in_a_row,
        latency_counts=tuple(arm.latency.tolist()),
        first_latency_counts=None if arm.firsts.full else tuple(arm.first_latency.tolist()),
        keys=arm.keys.count,
        labelled=arm.outcomes.labelled,
        correct=arm.outcomes.correct,
        error_keys=None if arm.firsts.full else arm.error_keys,
        labelled_keys=None if arm.firsts.full else arm.labelled_keys,
        wrong_keys=None if arm.firsts.full else arm.wrong_keys,
        judged_keys=None if arm.firsts.full else arm.judged_keys,
        misjudged_keys=None if arm.firsts.full else arm.misjudged_keys,
        confusions=arm.confusions.cells(),
    )
