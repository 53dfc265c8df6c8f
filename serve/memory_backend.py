"""Serve applications as entries of a dictionary: for tests of rules and for trying the loop without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contracts.ports import POOL_APP, AppState, endpoint_app
from contracts.replays import ReplayAnswer
from contracts.specs import Json


class MemoryServing:
    """The port ``ServingBackend`` without processes. What was asked for runs at the next look, unless told to fail."""

    def __init__(self) -> None:
        self._states: dict[str, AppState] = {}
        self._fail: dict[str, str] = {}
        self._failures: dict[str, str] = {}
        self._manifests: dict[str, str] = {}
        self._answers: dict[str, Callable[[Json], ReplayAnswer]] = {}
        self.replicas: dict[str, int] = {}
        self.slow = False

    def fail_next(self, why: str, *, manifest: str) -> None:
        """Have apps of an artifact fail to start."""
        self._fail[manifest] = why

    def answer(self, answer: Callable[[Json], ReplayAnswer], *, manifest: str) -> None:
        """Have apps of an artifact answer replayed rows so; others answer every row."""
        self._answers[manifest] = answer

    def ensure_endpoint(self, model_key: str, replicas: int) -> None:
        """Have the endpoint app of a model_key run with that many replicas."""
        self._states.setdefault(endpoint_app(model_key), "starting")
        self.replicas[endpoint_app(model_key)] = replicas

    def ensure_pool(self, replicas: int) -> None:
        """Have the pool run with that many replicas."""
        self._states.setdefault(POOL_APP, "starting")
        self.replicas[POOL_APP] = replicas

    def start_candidate(self, app: str, model_key: str, version: str, manifest: str) -> None:
        """Have one version run on its own."""
        self._states.setdefault(app, "starting")
        self._manifests[app] = manifest
        if manifest in self._fail:
            self._failures[app] = self._fail[manifest]

    def delete(self, app: str) -> None:
        """Have the app go."""
        if app in self._states:
            self._states[app] = "deleting"

    def states(self) -> dict[str, AppState]:
        """List our apps; each look moves them on by one state."""
        shown = dict(self._states)
        for app, state in shown.items():
            if state == "deleting":
                del self._states[app]
            elif state == "starting":
                self._states[app] = "failed" if app in self._failures else "running"
        return shown

    def failure(self, app: str) -> str | None:
        """Say why an app failed."""
        return self._failures.get(app) if self._states.get(app) == "failed" else None

    def replay(self, app: str, inputs: Sequence[Json]) -> Sequence[ReplayAnswer] | None:
        """Have a candidate asked these rows; while ``slow`` is set, answers do not come."""
        if self.slow:
            return None
        answer = self._answers.get(self._manifests.get(app, ""))
        return [ReplayAnswer(status=200) if answer is None else answer(record) for record in inputs]
