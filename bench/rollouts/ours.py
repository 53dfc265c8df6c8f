"""The product's judge on a simulated stream: the real ``decide`` says what, the real ``advance`` does it.

A look is one call of ``decide``. ``every``: after each request that the candidate answered. ``eventful``: after a
request when the candidate's requests, its errors or its wrong labels are 2% more (so up to fifty: one more) than when
they last were a reason to look, and likewise for its requests since the step's window ended. At a high rate the manager
looks less often than either, about once a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from bench.rollouts.counts import CANDIDATE, STABLE, Epoch, Seen, telemetry
from bench.rollouts.outcome import Held, Outcome, outcome
from bench.rollouts.streams import Stream, Whole
from contracts.rollouts import Deployment, Endpoint
from contracts.specs import DeploymentSpec
from mldl_ray.deployment.advance import Observed, advance
from mldl_ray.deployment.decide import decide

STEPS = (5.0, 25.0, 50.0, 100.0)
Looking = Literal["every", "eventful"]
GROWTH = 1.02


class Ours(NamedTuple):
    """How a deployment is asked for."""

    name: str = "mldl"
    early_promotion: bool = False
    looking: Looking = "eventful"
    alpha: float = 0.05
    window_part: float = 0.25
    """Of the horizon, that a step lasts: three steps and the candidate alone for the rest."""

    def judge(self, stream: Stream, harm: str) -> Outcome:
        """Run one deployment to its end or the horizon."""
        endpoint, deployment = self._begin(stream)
        held, epochs = [Held(0, deployment.steps[0] / 100)], []
        seen, looks, start = Seen(len(stream.point)), 0, 0
        while start < len(stream):
            share = deployment.steps[deployment.step] / 100
            epochs.append(Epoch(stream, endpoint.epoch, share, start, seen))
            for position in self._positions(epochs[-1], deployment):
                now_s, looks = float(stream.at_s[start + position - 1]), looks + 1
                decision = decide(telemetry(epochs, position, now_s), deployment, now_s)
                if decision.verdict != "HOLD":
                    break
            else:
                return outcome(stream, held, "undecided", stream.horizon_s, harm=harm, looks=looks)
            move = advance(endpoint, deployment, Observed(now_s, decision=decision))
            assert move is not None, "a canary that is not held moves"
            endpoint, deployment = move.endpoint, move.deployment
            start += position
            if deployment.status == "rolling_back":
                held.append(Held(start, 0.0))
                return outcome(stream, held, "rolled_back", now_s, harm=harm, looks=looks, rule=decision.rule)
            held.append(Held(start, deployment.steps[deployment.step] / 100))
            if deployment.status == "promoting":
                return outcome(stream, held, "promoted", now_s, harm=harm, looks=looks)
            epochs[-1].close(start)
        return outcome(stream, held, "undecided", stream.horizon_s, harm=harm, looks=looks)

    def _begin(self, stream: Stream) -> tuple[Endpoint, Deployment]:
        deployment = Deployment(
            deployment_id="dep",
            model_key="m",
            version=CANDIDATE,
            spec=DeploymentSpec(early_promotion=self.early_promotion, alpha=self.alpha),
            strategy="canary",
            status="canary",
            stable=STABLE,
            steps=STEPS,
            step_started_s=0.0,
            promotion_window_s=self.window_part * stream.horizon_s,
            bake_window_s=0,
            first_epoch=1,
        )
        return Endpoint(model_key="m", stable=STABLE, epoch=1, salt="s"), deployment

    def _positions(self, epoch: Epoch, deployment: Deployment) -> Iterator[int]:
        """Give the requests of the epoch after which to look, counted from its first as 1."""
        ends_s = (deployment.step_started_s or 0.0) + deployment.promotion_window_s
        if self.looking == "every":
            yield from (np.flatnonzero(epoch.mine) + 1).tolist()
            return
        yield from _eventful(epoch, ends_s).tolist()


def _eventful(epoch: Epoch, ends_s: float) -> Whole:
    mine = np.flatnonzero(epoch.mine)
    late = mine[np.searchsorted(epoch.at_s[mine], ends_s) :]
    found = (mine, np.flatnonzero(epoch.mine & epoch.failed), epoch.wrong_labels_come(), late)
    return np.unique(np.concatenate([_sparse(rows) for rows in found])) + 1


def _sparse(rows: Whole) -> Whole:
    """Keep the first, and then each that is 2% further on than the last one kept, at least the next.

    >>> _sparse(np.arange(1000))[[0, 1, 49, 50, 51, 52]].tolist()
    [0, 1, 49, 51, 53, 55]
    """
    kept, count = [], 1
    while count <= len(rows):
        kept.append(count - 1)
        count = max(count + 1, math.ceil(count * GROWTH))
    return np.asarray(rows[kept], dtype=np.int64)
