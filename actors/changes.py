"""What every change that the registry's actor makes goes through: a reason, fresh reads, and what was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from contracts.errors import Conflict, Incompatible, MldlError
from contracts.ports import Receipt
from contracts.specs import Json

T = TypeVar("T")
ATTEMPTS = 10


def settled(change: Callable[[], T]) -> T:
    """Make a change that depends on what was read; read and decide again when somebody else was faster."""
    for _ in range(ATTEMPTS - 1):
        try:
            return change()
        except Conflict as error:
            if not _stale(error):
                raise
    return change()


def written(receipt: Receipt, kind: str) -> Json:
    """Give the body of that kind that an append wrote.

    Raises:
        Conflict: It wrote other kinds: its idempotency key was used for another verb.
    """
    bodies = {document.kind: document.body for document in receipt.documents}
    if kind not in bodies:
        raise Conflict(f"this idempotency key was used for another kind of request, which wrote {', '.join(bodies)}")
    return bodies[kind] or {}


def check_reason(reason: str) -> None:
    """Refuse a change that says no reason.

    Raises:
        Incompatible: It is empty.
    """
    if not reason.strip():
        raise Incompatible("reason is missing: say why, for those who read the record later")


def _stale(error: MldlError) -> bool:
    """Tell a document that moved on from a refusal that stays."""
    return "expected_version" in error.facts
