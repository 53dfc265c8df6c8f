"""Asking every component how it is: all at once, each with the same short patience, never twice at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.metadata import version
from typing import Any

from contracts.errors import MldlError
from contracts.http import Component, Health
from contracts.specs import Json
from mldl_ray.adapters import families
from serve.calls import Actors
from serve.environment import proxied

PATIENCE_S = 2.0
_OK = Component(status="ok")
Probe = Callable[[], Component]


class Probes:
    """Hold the questions that have no answer yet, so that a component that hangs costs one thread and not more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="probe")
        self._asked: dict[str, Future[Component]] = {}

    def __reduce__(self) -> tuple[type[Probes], tuple[()]]:
        return Probes, ()

    def health(self, actors: Actors) -> Health:
        """Ask everyone, for ``PATIENCE_S`` at most."""
        components = self.ask(_questions(actors)) | {"serve_proxy": _proxy()}
        failed = any(component.status == "failed" for component in components.values())
        return Health(
            status="degraded" if failed else "ok",
            version=version("mldl-ray"),
            components=components,
            adapters=families(),
        )

    def ask(self, questions: dict[str, Probe]) -> dict[str, Component]:
        """Put the questions; whoever does not answer in time has failed."""
        with self._lock:
            for name, probe in questions.items():
                if name not in self._asked or self._asked[name].done():
                    self._asked[name] = self._threads.submit(_answer, probe)
            asked = {name: self._asked[name] for name in questions}
        wait(asked.values(), timeout=PATIENCE_S)
        silent = Component(status="failed", detail=f"no answer within {PATIENCE_S:g} s")
        return {name: future.result() if future.done() else silent for name, future in asked.items()}


def _answer(probe: Probe) -> Component:
    try:
        return probe()
    except MldlError as error:
        return Component(status="failed", detail=error.message)


def _questions(actors: Actors) -> dict[str, Probe]:
    return {
        "journal": _alive(actors.journal.position),
        "registry": _alive(actors.registry.policy),
        "jobs": _alive(lambda: actors.jobs.jobs(limit=1)),
        "monitor": _alive(lambda: actors.monitor.alerts(limit=1)),
        "snapshots": _alive(actors.snapshots.snapshots),
        "deployments": _alive(lambda: actors.deployments.deployments(limit=1)),
        "bridges": lambda: _bridges(actors.bridges.health()),
        "endpoints": lambda: _endpoints(actors.deployments.endpoints()),
    }


def _alive(call: Callable[[], Any]) -> Probe:
    def probe() -> Component:
        call()
        return _OK

    return probe


def _bridges(states: dict[str, str]) -> Component:
    return _together(f"{name}: {state}" for name, state in sorted(states.items()) if state != "ok")


def _endpoints(endpoints: list[Json]) -> Component:
    """Find endpoints whose traffic is not yet what the journal says.

    >>> _endpoints([{"model_key": "churn", "stable": "1.0.0", "app_state": "starting", "applied": False}]).detail
    'churn: starting'
    """
    served = [endpoint for endpoint in endpoints if endpoint["stable"]]
    return _together(
        f"{e['model_key']}: {_state(e)}" for e in served if e["app_state"] != "running" or not e["applied"]
    )


def _state(endpoint: Json) -> str:
    return "not every replica has the route table" if endpoint["app_state"] == "running" else endpoint["app_state"]


def _together(troubles: Any) -> Component:
    detail = "; ".join(troubles)
    return Component(status="failed", detail=detail) if detail else _OK


def _proxy() -> Component:
    if proxied():
        return _OK
    return Component(
        status="slow",
        detail="predictions go through Serve's own proxy: this cluster started without `mldl environment`",
    )
