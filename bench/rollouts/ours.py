"""The product's judge on a simulated stream: the real ``decide`` says what, the real ``advance`` does it.

A look is one call of ``decide``. ``every``: after each request that the candidate answered. ``eventful``: after a
request when the candidate's requests, its errors or its wrong labels are 5% more (so up to twenty: one more) than when
they last were a reason to look, and likewise for its requests since the step's window ended. At a high rate the manager
looks less often than either, about once a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from bench.rollouts.counts import CANDIDATE, STABLE, Epoch, Seen, telemetry
from bench.rollouts.outcome import Held, Outcome, Verdict, outcome
from bench.rollouts.streams import Stream, Whole
from contracts.rollouts import Decision, Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.advance import Observed, advance
from mldl_ray.deployment.decide import decide

STEPS = (5.0, 25.0, 50.0, 100.0)
Looking = Literal["every", "eventful"]
GROWTH = 1.05
WINDOW_PART, BAKE_PART = 1 / 4, 1 / 18
"""Of the horizon: 45 minutes a step, ten to bake, of three hours; it serves alone for the rest."""


class Ours(NamedTuple):
    """How a deployment is asked for."""

    name: str = "mldl"
    early_promotion: bool = False
    looking: Looking = "eventful"
    alpha: float = 0.05

    def judge(self, stream: Stream, harm: str) -> Outcome:
        """Run one deployment to its end or the horizon."""
        return _Run(stream, harm, self).outcome()

    def begin(self, horizon_s: float) -> Deployment:
        """Give the deployment at its first step."""
        return Deployment(
            deployment_id="dep",
            model_key="m",
            version=CANDIDATE,
            spec=DeploymentSpec(early_promotion=self.early_promotion, alpha=self.alpha),
            strategy="canary",
            status="canary",
            stable=STABLE,
            steps=STEPS,
            step_started_s=0.0,
            promotion_window_s=WINDOW_PART * horizon_s,
            bake_window_s=BAKE_PART * horizon_s,
            first_epoch=1,
        )


class _Run:
    """One deployment on its way: epoch after epoch, each begun by a move."""

    def __init__(self, stream: Stream, harm: str, how: Ours) -> None:
        self._stream, self._harm, self._how = stream, harm, how
        self._deployment = how.begin(stream.horizon_s)
        self._endpoint = Endpoint(model_key="m", stable=STABLE, epoch=1, salt="s")
        self._held = [Held(0, STEPS[0] / 100)]
        self._epochs: list[Epoch] = []
        self._seen, self._looks = Seen(len(stream.point)), 0

    def outcome(self) -> Outcome:
        start, promoted_s = 0, None
        while start < len(self._stream):
            decision, start = self._look(start)
            if decision is None:
                break
            if decision.verdict == "ROLLBACK":
                self._held.append(Held(start, 0.0))
                return self._ended("rolled_back", decision.at_s, decision.rule)
            self._go_on(decision)
            self._held.append(Held(start, self._share))
            promoted_s = decision.at_s if self._share == 1 else None
        return self._ended("promoted", promoted_s) if promoted_s else self._ended("undecided", self._stream.horizon_s)

    @property
    def _share(self) -> float:
        return self._deployment.steps[self._deployment.step] / 100

    def _look(self, start: int) -> tuple[Decision | None, int]:
        """Look until there is something to do: the decision and the request after it; None at the end."""
        epoch = Epoch(self._stream, self._endpoint.epoch, self._share, start, self._seen)
        self._epochs.append(epoch)
        for position in self._positions(epoch):
            now_s = float(self._stream.at_s[start + position - 1])
            self._looks += 1
            decision = decide(telemetry(self._epochs, position, now_s), self._deployment, now_s)
            if decision.verdict == "ROLLBACK" or (decision.verdict == "PROMOTE" and self._share < 1):
                epoch.close(start + position)
                return decision, start + position
        return None, len(self._stream)

    def _go_on(self, decision: Decision) -> None:
        """Make the moves that a promotion leads to; what they wait for is there at once."""
        seen = Observed(decision.at_s, endpoint="running", applied=True, drained=True, decision=decision)
        for _ in range(2 if self._deployment.step + 1 == len(STEPS) - 1 else 1):
            move = advance(self._endpoint, self._deployment, seen)
            assert move is not None, f"a promoted deployment that is {self._deployment.status} moves"
            self._endpoint, self._deployment = move.endpoint, move.deployment

    def _positions(self, epoch: Epoch) -> Iterator[int]:
        """Give the requests of the epoch after which to look, counted from its first as 1."""
        began_s = self._deployment.step_started_s or 0.0
        baking = self._deployment.status == "baking"
        ends_s = began_s + (self._deployment.bake_window_s if baking else self._deployment.promotion_window_s)
        every = np.flatnonzero(epoch.mine) + 1 if self._how.looking == "every" else _eventful(epoch, ends_s)
        until = np.searchsorted(epoch.at_s, ends_s) if baking else len(epoch.at_s)
        yield from every[every <= until].tolist()

    def _ended(self, verdict: Verdict, at_s: float, rule: str = "") -> Outcome:
        return outcome(self._stream, self._held, verdict, at_s, harm=self._harm, looks=self._looks, rule=rule)


def _eventful(epoch: Epoch, ends_s: float) -> Whole:
    mine = np.flatnonzero(epoch.mine)
    late = mine[np.searchsorted(epoch.at_s[mine], ends_s) :]
    found = (mine, np.flatnonzero(epoch.mine & epoch.failed), epoch.wrong_labels_come(), late)
    return np.unique(np.concatenate([_sparse(rows) for rows in found])) + 1


def _sparse(rows: Whole) -> Whole:
    """Keep the first, and then each that is 5% further on than the last one kept, at least the next.

    >>> _sparse(np.arange(30)).tolist()[17:]
    [17, 18, 19, 20, 22, 24, 26, 28]
    """
    kept, count = [], 1
    while count <= len(rows):
        kept.append(count - 1)
        count = max(count + 1, math.ceil(count * GROWTH))
    return np.asarray(rows[kept], dtype=np.int64)
