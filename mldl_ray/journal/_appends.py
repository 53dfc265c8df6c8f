"""Which appends somebody wants to see: the same question to a dictionary and to a database."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sqlalchemy import Select, func, or_, select

from mldl_ray.journal._schema import appends, documents, events


class Wanted(NamedTuple):
    """Filters; None: any."""

    actor: str | None = None
    kind: str | None = None
    """Of a document or, as its type, of an event."""
    subject: str | None = None
    """Of an event, or the key of a document."""
    since_s: float | None = None
    until_s: float | None = None

    def has(self, content: Any) -> bool:
        """Say whether an append, by its content, is wanted.

        >>> content = {"actor": "ann", "at_s": 5.0, "documents": [["policy", "default", 1, "…"]], "events": []}
        >>> Wanted(actor="ann", kind="policy").has(content), Wanted(until_s=4.0).has(content)
        (True, False)
        """
        told = [(kind, key) for kind, key, *_ in content["documents"]]
        told += [(event["type"], event["subject"]) for event in content["events"]]
        return (
            self.actor in {None, content["actor"]}
            and (self.kind is None or any(kind == self.kind for kind, _ in told))
            and (self.subject is None or any(subject == self.subject for _, subject in told))
            and (self.since_s is None or content["at_s"] >= self.since_s)
            and (self.until_s is None or content["at_s"] <= self.until_s)
        )

    def query(self, after: int, limit: int, *, before: int | None = None) -> Select[Any]:
        """Ask a database for them, in order; for those before a position, the newest first."""
        asked = select(appends.c.position, appends.c.content, appends.c.previous_hash, appends.c.hash)
        where = [appends.c.position > after]
        if before is not None:
            where.append(appends.c.position < before)
        if self.actor is not None:
            begins = f'{{"actor":{json.dumps(self.actor, ensure_ascii=False)},'  # content is canonical: sorted keys
            where.append(func.substr(appends.c.content, 1, len(begins)) == begins)
        if self.kind is not None:
            where.append(_one_of(documents.c.kind == self.kind, events.c.type == self.kind))
        if self.subject is not None:
            where.append(_one_of(documents.c.key == self.subject, events.c.subject == self.subject))
        if self.since_s is not None:
            where.append(appends.c.at_s >= self.since_s)
        if self.until_s is not None:
            where.append(appends.c.at_s <= self.until_s)
        place = appends.c.position if before is None else appends.c.position.desc()
        return asked.where(*where).order_by(place).limit(max(0, limit))


def _one_of(of_document: Any, of_event: Any) -> Any:
    return or_(
        appends.c.position.in_(select(documents.c.position).where(of_document)),
        appends.c.position.in_(select(events.c.position).where(of_event)),
    )
