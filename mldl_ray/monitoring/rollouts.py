"""Both arms of every rollout, counted per epoch of the route table. What the counts mean is decided in ``deployment``.

Nothing here survives a restart: an epoch's counts begin again at zero, which delays a promotion and harms nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.rollouts import ArmTelemetry, Deployment
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.distinct import DistinctKeys
from mldl_ray.monitoring.firsts import Firsts, Ledgers
from mldl_ray.monitoring.outcomes import Outcomes, same_value
from mldl_ray.monitoring.selections import Selections
from mldl_ray.monitoring.window import BINS, Counts, histogram

MOST_ARMS = 512


class ArmCounts:
    """One version in one epoch."""

    def __init__(self, firsts: Firsts) -> None:
        self.firsts = firsts
        self.error_keys = self.labelled_keys = self.wrong_keys = 0
        self.share = 0.0
        self.requests = self.errors = self.errors_in_a_row = 0
        self.latency: Counts = np.zeros(BINS, dtype=np.int64)
        self.keys = DistinctKeys()
        self.outcomes, self.selections = Outcomes(), Selections()

    def add(self, batch: Batch, rows: npt.NDArray[np.intp], failed: npt.NDArray[np.bool_]) -> None:
        """Count rows of a batch, in their order."""
        self.share = max(self.share, batch.facts.share)  # the larger one makes the judge more careful
        self.requests += len(rows)
        self.errors += int(failed.sum())
        fine = np.flatnonzero(~failed)
        self.errors_in_a_row = len(rows) - 1 - int(fine[-1]) if len(fine) else self.errors_in_a_row + len(rows)
        self.latency += histogram(batch.numbers("latency_ms")[rows])
        keys = batch.table["key"].take(rows).to_pylist()
        self.keys.add(keys)
        self.error_keys += sum(self.firsts.error(hash(keys[row])) for row in np.flatnonzero(failed).tolist())

    def judge(self, label: Any, value: Any, score: float | None, key: int) -> None:
        """Count a labelled answer, and its key if that is its first label."""
        self.outcomes.add(label, value, score)
        if self.firsts.label(key):
            self.labelled_keys += 1
            self.wrong_keys += not same_value(label, value)


class _Place(NamedTuple):
    deployment_id: str
    epoch: int
    version: str
    aside: bool  # in the role of candidate or shadow


class Rollouts:
    """Find the counts of a deployment's arms; the ones longest unheard of go first when there are too many."""

    def __init__(self, most_arms: int = MOST_ARMS) -> None:
        self._arms: OrderedDict[_Place, ArmCounts] = OrderedDict()
        self._most, self._ledgers = most_arms, Ledgers()

    def arm(self, batch: Batch, role: str) -> ArmCounts | None:
        """Give where rows of a batch in a role are counted; None when they belong to no rollout."""
        facts = batch.facts
        if not facts.deployment_id:
            return None
        place = _Place(facts.deployment_id, facts.epoch, facts.version, role != "stable")
        arm = self._arms.get(place)
        if arm is None:
            ledger = self._ledgers.of(facts.deployment_id, shadow=role == "shadow")
            arm = self._arms[place] = ArmCounts(ledger)
        self._arms.move_to_end(place)
        while len(self._arms) > self._most:
            self._arms.popitem(last=False)
        return arm

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
        keys=arm.keys.count,
        labelled=arm.outcomes.labelled,
        correct=arm.outcomes.correct,
        error_keys=None if arm.firsts.full else arm.error_keys,
        labelled_keys=None if arm.firsts.full else arm.labelled_keys,
        wrong_keys=None if arm.firsts.full else arm.wrong_keys,
    )
