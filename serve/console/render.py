"""Templates to HTML, everything escaped. Not here: what a page shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

NAV = (
    ("/", "Overview"),
    ("/console/models", "Models"),
    ("/console/deployments", "Deployments"),
    ("/console/jobs", "Jobs"),
    ("/console/snapshots", "Snapshots"),
    ("/console/drift", "Drift"),
    ("/console/alerts", "Alerts"),
    ("/console/audit", "Audit"),
)


def when(at_s: float | None) -> str:
    """Write a moment as people do, in UTC.

    >>> when(0), when(None)
    ('1970-01-01 00:00:00 UTC', '–')
    """
    return "–" if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def share(value: float | None) -> str:
    """Write a share in 0–1 as percent.

    >>> share(0.051), share(None)
    ('5.1%', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}%".replace(".0%", "%")


def figure(value: Any) -> str:
    """Write a number so that its size is seen.

    >>> figure(1234.5), figure(0.01234), figure(None), figure("a")
    ('1,234', '0.0123', '–', 'a')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def chance(p: float | None) -> str:
    """Write a small probability, of which the power of ten is what counts.

    >>> chance(0.034), chance(1.23e-7), chance(0.0), chance(None)
    ('0.034', '1.2e-07', 'below 1e-300', '–')
    """
    if p is None:
        return "–"
    return f"{p:.2g}" if p > 0 else "below 1e-300"


def lasting(seconds: float | None) -> str:
    """Write a time span.

    >>> lasting(42), lasting(600), lasting(7200), lasting(None)
    ('42 s', '10 min', '2.0 h', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


ENVIRONMENT = Environment(
    loader=PackageLoader("serve.console"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters.update(when=when, share=share, figure=figure, lasting=lasting, chance=chance)


def html(template: str, **values: Any) -> str:
    """Fill a template of ``templates/``."""
    return ENVIRONMENT.get_template(template).render(**values)
