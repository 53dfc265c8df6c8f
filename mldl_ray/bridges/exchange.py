"""Exchanging documents with a kernel on another machine: what is new here goes there, what is new there comes here.

Both ways go through the journal, so that nothing here ever waits for the other machine: training and serving read
their own journal, and an exchange catches up when it can. Where it stands is a document; a restart, or a kernel that
was away for a week, loses nothing. Documents may be sent twice, and are known by their kind and key.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from pydantic import Field, ValidationError

from contracts.bridges import BridgeName
from contracts.errors import Conflict, Refused, Unavailable
from contracts.ports import Document, Journal
from contracts.specs import Json, Words
from mldl_ray.bridges._remote import RemoteKernel
from mldl_ray.journal.documents import load, write

log = logging.getLogger(__name__)
KIND = "exchange"
ACTOR = "bridge"
"""Who writes what came from elsewhere; such documents are not sent back."""
BATCH = 50
"""Documents sent, and taken, at a time."""


class Standing(Words):
    """How far an exchange is."""

    sent: int = Field(default=0, description="Everything up to this journal position was sent.")
    after: str = Field(default="", max_length=200, description="What the kernel said to ask on from.")


class Exchange:
    """One bridge's exchange: ``POST <url>/<verb> {items, after}`` is answered with ``{items, next}``.

    Args:
        bridge: Whose.
        verb: What is posted to.
        kernel: Asks.
        journal: What is sent from, and written to.
        kinds: Of documents that are sent.
        take: Writes one item that came; false when it is known already.

    ``take`` raises ``Refused`` for an item that is none; that is logged, counted, and not asked for again.
    """

    def __init__(
        self,
        bridge: BridgeName,
        verb: str,
        kernel: RemoteKernel,
        journal: Journal,
        *,
        kinds: Sequence[str],
        take: Callable[[Json], bool],
    ) -> None:
        self.bridge, self.kernel = bridge, kernel
        self._verb, self._journal, self._kinds, self._take = verb, journal, tuple(kinds), take
        self.refused = 0

    def turn(self) -> bool:
        """Send and take one batch; say whether there may be more.

        Raises:
            Unavailable: The kernel or the journal does not answer; nothing is lost.
        """
        now, revision = load(self._journal, KIND, self.bridge, Standing)
        now = now or Standing()
        news = self._journal.changes(self._kinds, after=now.sent, limit=BATCH)
        mine = [sent_form(document) for document in news if document.actor != ACTOR]
        told = self.kernel.ask(self._verb, {"items": mine, "after": now.after})
        items = told.get("items", [])
        if not isinstance(items, list):
            raise Unavailable(f"{self.kernel.url}/{self._verb} answered items that are no list")
        taken = [self._taken(item) for item in items[: 10 * BATCH]]
        then = self._standing(news[-1].position if news else now.sent, told.get("next", now.after))
        if then != now:
            self._journal.append([write(KIND, self.bridge, revision, then)], actor=ACTOR, reason="exchanged")
        return bool(news) or any(taken)

    def waiting(self) -> int:
        """Count the documents that are yet to be sent, to a thousand."""
        now, _ = load(self._journal, KIND, self.bridge, Standing)
        news = self._journal.changes(self._kinds, after=now.sent if now else 0, limit=1000)
        return sum(document.actor != ACTOR for document in news)

    def _taken(self, item: object) -> bool:
        try:
            if not isinstance(item, dict):
                raise Refused(f"an item must be an object, got {type(item).__name__}")
            return self._take(item)
        except Conflict:
            return False  # it came twice at the same time
        except Refused as error:
            self.refused += 1
            log.warning("the %s bridge was given what it cannot take: %s", self.bridge, error.message)
            return False

    def _standing(self, sent: int, after: object) -> Standing:
        try:
            return Standing.model_validate({"sent": sent, "after": after})
        except ValidationError as error:
            raise Unavailable(
                f"{self.kernel.url}/{self._verb} answered next {after!r:.50}, which is no text"
            ) from error


def sent_form(document: Document) -> Json:
    """Give a document as it is sent; a version's is its lineage only, and what was withdrawn has no body.

    >>> document = Document(kind="dataset", key="d@1", version=1, body=None, position=3, at_s=0, actor="a", reason="")
    >>> sent_form(document)
    {'kind': 'dataset', 'key': 'd@1', 'version': 1, 'at_s': 0.0, 'body': None}
    """
    body = document.body
    if body is not None and document.kind == "model_version":
        body = {name: body.get(name) for name in ("model_key", "version", "family", "task", "lineage")}
    return {
        "kind": document.kind,
        "key": document.key,
        "version": document.version,
        "at_s": document.at_s,
        "body": body,
    }
