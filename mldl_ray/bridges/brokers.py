"""The one place that makes the brokers' sinks which the configuration names."""

from __future__ import annotations

from contracts.ports import EventSink, Journal
from mldl_ray.bridges._nats import NatsSink
from mldl_ray.settings import MeshDefaults


def brokers(mesh: MeshDefaults, journal: Journal) -> dict[str, EventSink]:
    """Give each configured broker's sink by its name; nothing is connected yet."""
    if mesh.nats is None:
        return {}
    nats = mesh.nats
    sink = NatsSink(
        nats.url, stream=nats.stream, prefix=nats.subject_prefix, journal=lambda: journal.seal(as_of=1).head
    )
    return {"nats": sink}
