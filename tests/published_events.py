"""Every event that the product makes in a test is held against ``contracts/mldl.events.yaml``, as published.

Events that tests make up themselves are not: only a ``Fact`` made in ``mldl_ray`` or ``actors`` is looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

import contracts
from contracts.events import Event, EventType, Fact
from mldl_ray.journal import _chain

ROOT = Path(contracts.__file__).parents[1]
_PRODUCT = (str(ROOT / "mldl_ray"), str(ROOT / "actors"))
_make, _number = Fact.__init__, _chain.numbered


def document() -> dict[str, Any]:
    """Read the published document."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "contracts/mldl.events.yaml").read_text(encoding="utf-8"))
    return found


@cache
def payload_of(name: EventType) -> jsonschema.Draft7Validator:
    """Give what checks the payload of a type's message."""
    published = _published()
    schema = {"$ref": f"#/components/messages/{name}/payload", "components": published["components"]}
    return jsonschema.Draft7Validator(schema)


def problem_of(event: Event) -> str | None:
    """Say how an event differs from what is published; None: it does not."""
    told = event.model_dump(mode="json")
    error = jsonschema.exceptions.best_match(payload_of(event.type).iter_errors(told))
    return None if error is None else f"{event.type} at {'.'.join(map(str, error.path))}: {error.message}"


def watch() -> None:
    """From now on, fail whoever appends an event of the product that is not as published."""
    made: dict[int, Fact] = {}

    def noted(self: Fact, **given: Any) -> None:
        _make(self, **given)
        file = sys._getframe(1).f_code.co_filename
        if type(self) is Fact and file.startswith(_PRODUCT):
            made[id(self)] = self

    def checked(facts: Sequence[Fact], *place: Any) -> list[Event]:
        events = _number(facts, *place)
        for fact, event in zip(facts, events, strict=True):
            if made.pop(id(fact), None) is fact:
                problem = problem_of(event)
                assert problem is None, f"{problem}; its shape belongs into contracts/facts.py"
        return events

    Fact.__init__ = noted  # type: ignore[method-assign]  # the one place that every fact comes through
    _chain.numbered = checked


@cache
def _published() -> dict[str, Any]:
    return document()
