"""Everything that is counted in memory, behind three verbs: count a batch, count labels, read. Not thread-safe.

All of it is bounded, and none of it survives a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from contracts.rollouts import ArmTelemetry, Deployment
from mldl_ray.monitoring.answers import Answer, Answers, Beside, Where
from mldl_ray.monitoring.batch import Batch
from mldl_ray.monitoring.outcomes import Outcomes
from mldl_ray.monitoring.rollouts import ArmCounts, Rollouts
from mldl_ray.monitoring.versions import Profile
from mldl_ray.monitoring.window import Window

MOST_WINDOWS = 512
_UNKNOWN = Profile()


class Place(NamedTuple):
    """One stream: a version in a role."""

    model_key: str
    version: str
    role: str


class Counts:
    """Count telemetry and labels."""

    def __init__(self) -> None:
        self.windows: OrderedDict[Place, Window] = OrderedDict()
        self.rollouts, self.answers = Rollouts(), Answers()
        self.batches = self.labels_unknown = 0

    def add(self, batch: Batch, now_s: float, profile: Profile = _UNKNOWN) -> None:
        """Count a batch that came now; of a rollout also whom it selected, where the profile says how that is seen."""
        self.batches += 1
        roles = np.array(batch.texts("role"), dtype=object)
        failed, latencies_ms, lost = batch.failed(), batch.numbers("latency_ms"), batch.facts.lost
        for role in dict.fromkeys(roles.tolist() or ["stable"]):
            rows = np.flatnonzero(roles == role)
            window = self._window(Place(batch.facts.model_key, batch.facts.version, role), now_s)
            window.add(now_s, latencies_ms[rows], int(failed[rows].sum()), lost)
            window.confidences.add(batch.numbers("score")[rows][~failed[rows]])
            lost = 0
            arms = self.rollouts.counted(batch, role) if len(rows) else ()
            for arm in arms:
                arm.add(batch, rows, failed[rows])
                _select(arm, batch, rows, profile)
            pairs = self.rollouts.paired(batch, profile.task) if role == "shadow" and len(rows) else None
            self._remember(batch, rows, window.outcomes, arms, Beside(role, pairs))

    def label(self, labels: list[tuple[str | Where, Any]]) -> tuple[int, int]:
        """Count checked labels; say how many met an answer for the first time, and how many met none (yet)."""
        met = [self._label(which, label) for which, label in labels]
        unknown = sum(one is None for one in met)
        self.labels_unknown += unknown
        return sum(one is True for one in met), unknown

    def _label(self, which: str | Where, label: Any) -> bool | None:
        request_id = which if isinstance(which, str) else self.answers.find(which)
        return None if request_id is None else self.answers.label(request_id, label)

    def before(self, deployment: Deployment) -> tuple[ArmTelemetry, ...]:
        """Give what a rollout's stable version did in all, for a bake window that has no epochs of both arms."""
        window = self.windows.get(Place(deployment.model_key, deployment.stable or "", "stable"))
        if window is None or not window.requests:
            return ()
        arm = ArmTelemetry(
            version=str(deployment.stable),
            epoch=max(0, (deployment.first_epoch or 0) - 1),
            share=0,
            requests=window.requests,
            errors=window.errors,
            latency_counts=tuple(window.latency.tolist()),
            labelled=window.outcomes.labelled,
            correct=window.outcomes.correct,
        )
        return (arm,)

    def of_model(self, model_key: str) -> list[Window]:
        """List the windows of a model."""
        return [window for place, window in self.windows.items() if place.model_key == model_key]

    def _remember(
        self, batch: Batch, rows: Any, outcomes: Outcomes, arms: tuple[ArmCounts, ...], beside: Beside
    ) -> None:
        ids, keys, scores = batch.texts("request_id"), batch.texts("key"), batch.scores()
        statuses, times = batch.numbers("status"), batch.numbers("at_s").tolist()
        for row in rows.tolist():
            if statuses[row] < 400:
                answer = Answer(_scalar(batch.predictions[row]), scores[row], outcomes, arms, hash(keys[row]), beside)
                self.answers.remember(ids[row], answer, batch.facts.model_key, times[row])

    def _window(self, place: Place, now_s: float) -> Window:
        window = self.windows.get(place)
        if window is None:
            window = self.windows[place] = Window(now_s)
            while len(self.windows) > MOST_WINDOWS:
                self.windows.popitem(last=False)
        self.windows.move_to_end(place)
        return window


def _select(arm: ArmCounts, batch: Batch, rows: Any, profile: Profile) -> None:
    if profile.sensitive:
        answered = [row for row in rows.tolist() if batch.predictions[row] is not None]
        arm.selections.add(batch, answered, profile.sensitive, profile.last_class)


def _scalar(value: Any) -> Any:
    """Keep what a label can equal; anything larger never does, and would only take memory."""
    return value if isinstance(value, bool | int | float | str) else None
