"""The remote kernels of the bridges and the counts of what is answered here; how both are shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, get_args

from contracts.bridges import BridgeName, BridgeView, RemoteView
from contracts.errors import Unavailable
from contracts.specs import Json
from mldl_ray.bridges._remote import RemoteKernel
from mldl_ray.bridges.calls import Calls
from mldl_ray.settings import BridgeUrls

log = logging.getLogger(__name__)
T = TypeVar("T")
BRIDGES: tuple[BridgeName, ...] = get_args(BridgeName)
NEEDED: dict[BridgeName, frozenset[str]] = {
    "intelligence": frozenset({"verdict", "why"}),
    "ingress": frozenset({"status", "findings"}),
    "mlt": frozenset({"items"}),
    "memory": frozenset({"items"}),
}
"""What a kernel's answers must hold. Governance is asked by those whom it may stop, and not from here."""


class Kernels:
    """Ask the remote kernels there are, and answer here where there is none, or while it is down."""

    def __init__(self, urls: BridgeUrls) -> None:
        self._calls = {name: Calls() for name in BRIDGES}
        found = ((name, getattr(urls, name)) for name in NEEDED)
        self.remote = {name: RemoteKernel.of(url, NEEDED[name]) for name, url in found if url is not None}

    def here(self, bridge: BridgeName, answer: Callable[[], T]) -> T:
        """Answer here, and count it."""
        with self._calls[bridge].timed():
            return answer()

    def asked(self, bridge: BridgeName, verb: str, question: Callable[[], Json], here: Callable[[], Json]) -> Json:
        """Ask the remote kernel if there is one, else answer here; while it is down, the answer says so."""
        kernel = self.remote.get(bridge)
        if kernel is None:
            return self.here(bridge, here)
        try:
            return kernel.ask(verb, question())
        except Unavailable as error:
            log.warning("the %s bridge answers here: %s", bridge, error.message)
            return self.here(bridge, here) | {"remote_error": error.message}

    def trouble(self, bridge: BridgeName) -> str | None:
        """Say what is wrong with a bridge's remote kernel; None when nothing is, or there is none."""
        kernel = self.remote.get(bridge)
        return None if kernel is None else kernel.trouble

    def probe(self) -> None:
        """Look whether kernels that were left alone are back."""
        for kernel in self.remote.values():
            kernel.probe()

    def view(self, bridge: BridgeName, status: str, waiting: int | None = None) -> BridgeView:
        """Show a bridge."""
        kernel = self.remote.get(bridge)
        remote = kernel and RemoteView.model_validate(
            {
                "url": kernel.url,
                "circuit": kernel.circuit,
                "trouble": kernel.trouble,
                "counts": kernel.counts,
                "waiting": waiting,
            }
        )
        return BridgeView(bridge=bridge, status=status, embedded=self._calls[bridge].counts, remote=remote)

    def close(self) -> None:
        """Let go of connections."""
        for kernel in self.remote.values():
            kernel.close()


def prometheus(views: Iterable[BridgeView]) -> str:
    """Write what is shown of the bridges in Prometheus' text format.

    >>> print(prometheus([BridgeView(bridge="ingress", status="ok")]).splitlines()[2])
    mldl_bridge_up{bridge="ingress"} 1
    """
    return "\n".join(_lines(list(views))) + "\n"


def _lines(views: list[BridgeView]) -> Iterator[str]:
    yield from _head("mldl_bridge_up", "gauge", "Whether a bridge is well.")
    yield from (_sample("up", view.bridge, None, int(view.status == "ok")) for view in views)
    yield from _head("mldl_bridge_circuit_open", "gauge", "Whether a remote kernel is left alone.")
    yield from (
        _sample("circuit_open", view.bridge, None, int(view.remote.circuit != "closed"))
        for view in views
        if view.remote
    )
    counts = [(view.bridge, "embedded", view.embedded) for view in views]
    counts += [(view.bridge, "remote", view.remote.counts) for view in views if view.remote]
    for name, what in (
        ("calls", "Questions put to a bridge."),
        ("failures", "Of these, without an answer after all attempts."),
        ("seconds", "Time that they took."),
    ):
        yield from _head(f"mldl_bridge_{name}_total", "counter", what)
        for bridge, side, of in counts:
            yield _sample(f"{name}_total", bridge, side, getattr(of, name))


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _sample(name: str, bridge: str, side: str | None, value: float) -> str:
    labels = f'bridge="{bridge}"' + (f',side="{side}"' if side else "")
    return f"mldl_bridge_{name}{{{labels}}} {value}"
