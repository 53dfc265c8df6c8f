"""The audit as a file: one append a line, and the check of such a file that needs neither us nor the journal.

A line is ``{"position", "content", "previous_hash", "hash"}``. Whoever has the file and a head that was noted elsewhere
(``mldl audit verify`` prints it) can tell that nothing in it was edited, removed or reordered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from contracts.ports import Append, Journal, Verification
from mldl_ray.journal import _chain

PAGE = 500


def lines(journal: Journal, *, after: int = 0, until: int | None = None) -> Iterator[str]:
    """Write the appends after a position, up to one (or as it is when asked), a line each."""
    last = journal.position() if until is None else until
    while page := [append for append in journal.appends(after=after, limit=PAGE) if append.position <= last]:
        for append in page:
            yield append.model_dump_json() + "\n"
        after = page[-1].position


def check(exported: Iterable[str], *, head: str | None = None) -> Verification:
    """Check an exported file.

    Args:
        exported: Its lines.
        head: What its last hash must be; not compared when absent.

    >>> check(['{"position": 1, "content": "{}", "previous_hash": "00", "hash": "11"}']).problem
    'append 1 does not begin at the beginning of the chain'
    """
    previous: str | None = None
    number = 0
    for line in exported:
        append = _read(line)
        problem = f"line {number + 1} is no append" if append is None else _problem(append, number, previous)
        if append is None or problem:
            return Verification(ok=False, positions=number, head=previous or _chain.GENESIS, problem=problem)
        previous, number = append.hash, append.position
    found = previous or _chain.GENESIS
    problem = None if head in {None, found} else f"the file ends with {found}, not with {head}: its end was cut off"
    return Verification(ok=problem is None, positions=number, head=found, problem=problem)


def _read(line: str) -> Append | None:
    try:
        return Append.model_validate_json(line)
    except ValidationError:
        return None


def _problem(append: Append, before: int, previous: str | None) -> str | None:
    number = append.position
    if previous is not None and number != before + 1:
        return f"append {before + 1} is missing; the next one found is {number}"
    if previous is None and number == 1 and append.previous_hash != _chain.GENESIS:
        return f"append {number} does not begin at the beginning of the chain"
    follows = previous in {None, append.previous_hash}
    if not follows or _chain.link(append.previous_hash, append.content) != append.hash:
        return f"append {number} was edited, or does not follow from the one before it"
    if json.loads(append.content)["position"] != number:
        return f"append {number} says another position"
    return None
