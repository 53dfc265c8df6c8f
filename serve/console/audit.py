"""The audit's page: who did what, when and why, the newest first; and whether anybody rewrote it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.responses import Response

from contracts.errors import Incompatible
from contracts.events import EVENT_TYPES
from contracts.http import AuditEntry
from contracts.ports import Verification
from serve.console.choices import position_of, text_of
from serve.console.door import Page, shown
from serve.routes import LARGEST
from serve.routes.audit import PAGE, entries

ROWS, MOST_READ = 50, 2000
QUICKLY_CHECKED = 500
"""A journal of up to so many appends is checked with each look; a longer one when somebody asks."""
LEADS = {"dep": "deployments", "job": "jobs", "snap": "snapshots", "alert": "alerts"}
FILTERS = ("actor", "kind", "subject", "since", "until")


class Told(NamedTuple):
    """A page of entries, the newest first; ``before``: where the next one goes on, None at the beginning of time."""

    entries: list[AuditEntry]
    before: int | None


def _list(page: Page) -> Response:
    wanted = {name: text_of(page.query, name) for name in FILTERS}
    told = _told(page, wanted)
    kept = {name: value for name, value in wanted.items() if value}
    return page.render(
        "audit.html",
        title="Audit",
        entries=told.entries,
        lead=lead,
        older=f"{page.at}?{urlencode(kept | {'before': told.before})}" if told.before else None,
        newest=f"{page.at}?{urlencode(kept)}" if page.query.get("before") else None,
        position=(position := page.actors.journal.position()),
        chain=page.actors.journal.verify() if position <= QUICKLY_CHECKED else None,
        types=EVENT_TYPES,
    )


def _told(page: Page, wanted: dict[str, str | None]) -> Told:
    """Read back from a position until a page is full; no more than ``MOST_READ`` appends, so that it comes at once."""
    before, found = position_of(page.query, "before") or LARGEST, list[AuditEntry]()
    asked: dict[str, Any] = {name: wanted[name] for name in ("actor", "kind", "subject")}
    asked |= {"since_s": day_s(wanted["since"]), "until_s": day_s(wanted["until"], end=True)}
    for _ in range(MOST_READ // PAGE):
        appends = page.actors.journal.appends(before=before, limit=PAGE, **asked)
        for append in appends:
            found += entries(append, routine=wanted["kind"] is not None)
            before = append.position
            if len(found) >= ROWS:
                return Told(found, before if before > 1 else None)
        if len(appends) < PAGE:
            return Told(found, None)
    return Told(found, before)


def day_s(text: str | None, *, end: bool = False) -> float | None:
    """Give the begin, or the end, of a day in UTC as Unix seconds.

    Raises:
        Incompatible: It is no day.

    >>> day_s("1970-01-02"), day_s("1970-01-01", end=True), day_s(None)
    (86400.0, 86399.999, None)
    """
    if text is None:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return (day + timedelta(days=1)).timestamp() - 0.001 if end else day.timestamp()
    except (ValueError, OverflowError) as error:
        raise Incompatible(f"{text[:60]!r} is no day; write it as 2026-01-31") from error


def lead(subject: str) -> str | None:
    """Give the page of what an entry is about, where its name says which.

    >>> lead("dep-1f0c"), lead("churn")
    ('/console/deployments/dep-1f0c', None)
    """
    noun = LEADS.get(subject.partition("-")[0]) if "-" in subject else None
    return f"/console/{noun}/{subject}" if noun else None


def _chain(page: Page) -> Response:
    found: Verification = page.actors.journal.verify()
    return page.render("chain.html", title="The journal's chain", chain=found)


ROUTES = (
    shown("/console/audit", _list),
    shown("/console/audit/chain", _chain),
)
