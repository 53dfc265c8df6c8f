"""The published events: a valid AsyncAPI 3 document, a shape for the data of every type, and nothing else passes."""

from __future__ import annotations

import warnings
from typing import get_args

import pytest

from contracts.events import EVENT_TYPES, Event, EventType
from contracts.facts import DATA
from mldl_ray.clock import SettableClock
from mldl_ray.journal import MemoryJournal
from tests.published_events import document, payload_of, problem_of


def event(kind: EventType, **data: object) -> Event:
    return Event(type=kind, subject="s", data=data, id="1.0", position=1, at_s=0.0, actor="a", reason="r")


def test_the_document_is_valid_asyncapi_3() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of its own field names shadow pydantic's
        asyncapi3 = pytest.importorskip("asyncapi3")
    found = asyncapi3.AsyncAPI3.model_validate(document())
    assert found.asyncapi == "3.0.0"


def test_every_reference_leads_somewhere() -> None:
    published = document()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for item in node.values() for found in references(item)]
        return [found for item in node for found in references(item)] if isinstance(node, list) else []

    for reference in set(references(published)):
        node = published
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_type_has_a_message_and_a_shape() -> None:
    published = document()
    for channel in ("events",):
        assert list(published["channels"][channel]["messages"]) == list(EVENT_TYPES)
    assert set(DATA) == set(get_args(EventType))
    for name in EVENT_TYPES:
        payload_of(name).check_schema(payload_of(name).schema)


def test_what_differs_from_the_published_shape_is_told() -> None:
    assert problem_of(event("MLDL_ENDPOINT_SCALED", **{"model_key": "m", "from": 1, "to": 2})) is None
    assert "to" in str(problem_of(event("MLDL_ENDPOINT_SCALED", **{"model_key": "m", "from": 1})))
    assert "more" in str(problem_of(event("MLDL_ENDPOINT_SCALED", **{"model_key": "m", "from": 1, "to": 2, "more": 3})))
    assert problem_of(event("MLDL_VIOLATION", rule="r")) is not None


def test_the_product_cannot_append_an_event_of_another_shape_in_tests() -> None:
    from mldl_ray.deployment.moves import fact_of  # makes events for others

    class Deployment:
        model_key, version, deployment_id = "m", "1.0.0", "d"

    fact = fact_of("MLDL_DEPLOYMENT_STEPPED", Deployment(), {"pct": "many"})  # type: ignore[arg-type]  # what it reads
    journal = MemoryJournal(SettableClock())
    with pytest.raises(AssertionError, match=r"contracts/facts\.py"):
        journal.append([], [fact], actor="a", reason="r")
