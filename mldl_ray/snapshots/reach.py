"""Whom a rollback reaches: requests a minute, callers whose columns break, approvals and feedback. Pure.

Live figures are the monitor's, as ``GET /metrics/live`` gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from contracts.consequences import Affected, FeedbackLost, SchemaBreak
from contracts.errors import Broken
from contracts.records import Impact
from contracts.specs import Json
from mldl_ray.adapters.schema import InputSchema


def per_minute(live: Json) -> dict[str, float]:
    """Read from the live figures how many requests a minute each endpoint answers.

    >>> per_minute({"endpoints": {"m": {"versions": {"1.0.0": {"qps": 1.5}, "1.1.0": {"qps": 0.5}}}}})
    {'m': 120.0}
    """
    return {
        key: 60.0 * sum(float(figures.get("qps") or 0.0) for figures in endpoint["versions"].values())
        for key, endpoint in live.get("endpoints", {}).items()
    }


def affected(found: Sequence[Impact], live: Json) -> tuple[Affected, ...]:
    """List the endpoints that would answer with another version, or not at all, and how much they answer now."""
    rates = per_minute(live)
    return tuple(
        Affected(model_key=i.key, before=i.before, after=i.after, requests_per_minute=rates[i.key])
        for i in found
        if i.kind == "endpoint" and i.before != i.after and i.key in rates
    )


def told(reached: Sequence[Affected]) -> tuple[str, ...]:
    """Say how many requests a minute would be answered by another version, or by none."""
    return tuple(
        f"{r.model_key} answers {r.requests_per_minute:.0f} requests a minute now; all of them would be affected"
        for r in reached
    )


def feedback_lost(found: Sequence[Impact], live: Json) -> tuple[FeedbackLost, ...]:
    """List the labels of versions that would no longer serve, or be in the registry."""
    lost = (
        FeedbackLost(model_key=model_key, version=version, labels=labels)
        for model_key, version in _left(found)
        if (labels := _labels(live, model_key, version))
    )
    return tuple(lost)


def approvals_voided(found: Sequence[Impact]) -> tuple[str, ...]:
    """List the approvals (no rejections) that would no longer count."""
    gone = (impact for impact in found if impact.kind == "approval" and impact.effect == "withdrawn")
    return tuple(impact.key for impact in gone if impact.before == "approved")


def schema_break(key: str, before: str, after: str, schemas: Mapping[str, Json]) -> SchemaBreak | None:
    """Say which columns keep callers of one version from using another; None: none, or a schema is not known.

    Args:
        key: The endpoint.
        before: Version that its callers call now.
        after: The one that they would get.
        schemas: Version → its input schema as JSON; empty where it was not recorded.
    """
    old, new = _schema(schemas.get(before)), _schema(schemas.get(after))
    columns = tuple(new.breaks(old)) if old is not None and new is not None else ()
    return SchemaBreak(model_key=key, before=before, after=after, columns=columns) if columns else None


def _schema(document: Json | None) -> InputSchema | None:
    try:
        return InputSchema.from_json(document) if document else None
    except Broken:
        return None  # a foreign version's record may say it in another way; it is judged by its number then


def _left(found: Sequence[Impact]) -> Iterator[tuple[str, str]]:
    left: dict[tuple[str, str], None] = {}
    for impact in found:
        if impact.kind == "endpoint" and impact.before is not None and impact.before != impact.after:
            left[impact.key, impact.before] = None
        if impact.kind == "model_version" and impact.effect == "withdrawn":
            model_key, _, version = impact.key.partition("@")
            left[model_key, version] = None
    yield from left


def _labels(live: Json, model_key: str, version: str) -> int:
    figures = live.get("endpoints", {}).get(model_key, {}).get("versions", {}).get(version, {})
    return int(figures.get("labelled") or 0)
