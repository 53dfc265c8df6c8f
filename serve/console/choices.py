"""What a person may choose from in a form or an address, checked. Not here: what a page makes of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from contracts.errors import Incompatible

HOUR_S = 3600.0


def one_of(given: Mapping[str, str], name: str, options: Collection[str]) -> str | None:
    """Give what was chosen; None when nothing was.

    Raises:
        Incompatible: It is none of the options.

    >>> one_of({"status": "open"}, "status", ("open", "resolved")), one_of({}, "status", ("open",))
    ('open', None)
    """
    value = given.get(name, "").strip()
    if value and value not in options:
        raise Incompatible(f"{name} {value[:60]!r} is none of: {', '.join(options)}")
    return value or None


def text_of(given: Mapping[str, str], name: str) -> str | None:
    """Give what was typed; None when nothing was.

    >>> text_of({"model": " income "}, "model"), text_of({"model": " "}, "model")
    ('income', None)
    """
    return given.get(name, "").strip()[:300] or None


def hours_s(given: Mapping[str, str], name: str) -> float:
    """Give a number of hours in seconds.

    Raises:
        Incompatible: It is no number above 0.

    >>> hours_s({"hours": "1.5"}, "hours")
    5400.0
    """
    text = given.get(name, "").strip()
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise Incompatible(f"{text[:60]!r} is no number of hours above 0")
    return hours * HOUR_S


def position_of(given: Mapping[str, str], name: str) -> int | None:
    """Give a position in the journal; None when none was given.

    Raises:
        Incompatible: It is none.

    >>> position_of({"before": "12"}, "before"), position_of({}, "before")
    (12, None)
    """
    text = given.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Incompatible(f"{name} {text[:60]!r} is no position in the journal")
    return int(text)
