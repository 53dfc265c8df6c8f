"""Reading and writing documents as models, on top of the port: what every owner of a kind needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from contracts.errors import Conflict
from contracts.ports import Document, Journal, Once, Receipt, Write
from contracts.specs import Words

M = TypeVar("M", bound=Words)
_NEVER = 2**31 - 1
_PAGE = 1000


def load(journal: Journal, kind: str, key: str, model: type[M]) -> tuple[M | None, int]:
    """Give a document and its version, as ``Write.expected_version`` wants it; None when absent or withdrawn."""
    found = journal.read(kind, key)
    if found is not None:
        return model.model_validate(found.body), found.version
    past = journal.history(kind, key)
    return None, past[-1].version if past else 0


def scan_all(
    journal: Journal, kind: str, *, prefix: str = "", as_of: int | None = None, withdrawn: bool = False
) -> Iterator[Document]:
    """List every document of a kind in key order, page by page, however many there are."""
    after = ""
    while True:
        page = journal.scan(kind, prefix=prefix, after=after, limit=_PAGE, as_of=as_of, withdrawn=withdrawn)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].key


def write(kind: str, key: str, version: int, body: Words) -> Write:
    """Make the next version of a document."""
    return Write(kind=kind, key=key, expected_version=version, body=body.model_dump(mode="json"))


def first_answer(journal: Journal, once: Once | None) -> Receipt | None:
    """Give what a request with this idempotency key wrote the first time; None when it is new.

    Asks with a write that cannot succeed: a known key is answered before versions are compared.

    Raises:
        Conflict: The key was used for a different request.
    """
    if once is None:
        return None
    impossible = Write(kind="none", key="none", expected_version=_NEVER, body={})
    try:
        return journal.append([impossible], actor="none", reason="none", once=once)
    except Conflict as error:
        if error.facts.get("expected_version") == _NEVER:
            return None
        raise
