"""All documents of a kind, page by page."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.ports import Document, Journal

PAGE = 1000


def every(journal: Journal, kind: str, prefix: str = "") -> Iterator[Document]:
    """Yield every document of a kind whose key begins so, in key order."""
    after = ""
    while page := journal.scan(kind, prefix=prefix, after=after, limit=PAGE):
        yield from page
        after = page[-1].key
