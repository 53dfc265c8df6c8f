"""What the demo found out, as one JSON document, and the story told from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from contracts.specs import Json


@dataclass
class Facts:
    """Every figure of the story; each is filled from an answer of the running system."""

    trained: list[Json] = field(default_factory=list)
    registered: list[Json] = field(default_factory=list)
    canary: Json = field(default_factory=dict)
    bad_candidate: Json = field(default_factory=dict)
    drift_alert: Json | None = None
    snapshot_id: str | None = None
    impact: list[str] = field(default_factory=list)
    restored: bool = False
    predictions_served: int = 0
    failed_requests: int = 0
    events: dict[str, int] = field(default_factory=dict)
    journal_verified: bool = False
    seconds: float = 0.0

    def as_json(self) -> Json:
        """Give the facts as JSON values."""
        return asdict(self)


def story(facts: Facts) -> str:
    """Tell what happened, in the order in which it happened, with the figures."""
    parts = [_trained(facts), _canary(facts.canary), _bad(facts.bad_candidate), _drift(facts.drift_alert)]
    parts.append(_restore(facts))
    parts.append(
        f"{facts.predictions_served:,} predictions were served over HTTP and {facts.failed_requests} failed. "
        f"{sum(facts.events.values())} events of {len(facts.events)} kinds are in the journal, whose hash chain "
        f"{'verifies' if facts.journal_verified else 'DOES NOT VERIFY'}. All of it took {facts.seconds:.0f} s."
    )
    return "\n\n".join(part for part in parts if part)


def _trained(facts: Facts) -> str:
    lines = []
    for trained, registered in zip(facts.trained, facts.registered, strict=False):
        metrics = ", ".join(f"{name} {value:.3f}" for name, value in trained["metrics"].items())
        lines.append(
            f"{trained['family']} was trained in {trained['trials']} trials ({trained['cost_units']:.4f} cost units): "
            f"{metrics}; calibration error {trained['ece']:.3f}; selection rates differ by "
            f"{trained['fairness_delta']:.2f} between groups. It became version {registered['version']}, served as "
            f"{registered['serving_form']}."
        )
    return "\n".join(lines)


def _canary(canary: Json) -> str:
    if not canary:
        return ""
    steps = " → ".join(f"{step['pct']:g}%" for step in canary["steps"])
    end = "was promoted" if canary["promoted"] else f"was not promoted ({canary['status']})"
    return f"Version {canary['version']} met live users at {steps} and {end} after {canary['seconds']:.0f} s."


def _bad(bad: Json) -> str:
    if not bad:
        return ""
    return (
        f"Version {bad['version']} was broken: it needs a column that callers do not send. It saw "
        f"{bad['requests_to_candidate']} requests, each answered by the stable version instead, and was "
        f"{'rolled back' if bad['rolled_back'] else 'NOT rolled back'}: {bad['reason']}"
    )


def _drift(alert: Json | None) -> str:
    return f"Then the callers changed, and an alert opened: {alert['message']}" if alert else ""


def _restore(facts: Facts) -> str:
    if facts.snapshot_id is None:
        return ""
    impact: Any = "; ".join(facts.impact) or "nothing"
    end = "everything is as it was" if facts.restored else "IT DID NOT COME BACK"
    return f"Snapshot {facts.snapshot_id} was taken and things were changed. Going back meant: {impact}. Now {end}."
