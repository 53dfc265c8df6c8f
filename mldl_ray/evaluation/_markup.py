"""The card's building blocks: sections, tables, drawings side by side. All text is made harmless here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mldl_ray.evaluation._drawings import text


def section(title: str, lead: str, *parts: str) -> str:
    """Frame a part of the page: its title, a sentence that leads in, and what it shows."""
    return f"<section><h2>{text(title)}</h2>{paragraph(lead) if lead else ''}{''.join(parts)}</section>"


def paragraph(words: str) -> str:
    """Write a paragraph."""
    return f"<p>{text(words)}</p>"


def figures(*found: tuple[str, str, str]) -> str:
    """Set drawings side by side where there is room; one without a drawing is left away."""
    shown = "".join(
        f"<figure>{f'<figcaption>{text(caption)}</figcaption>' if caption else ''}{drawing}{legend}</figure>"
        for caption, drawing, legend in found
        if drawing
    )
    return f'<div class="figures">{shown}</div>' if shown else ""


def beside(words: str, drawing: str) -> str:
    """Set a drawing beside words where there is room, beneath them otherwise."""
    return f'<div class="beside"><div>{words}</div>{drawing}</div>' if drawing else words


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Write a table; it scrolls by itself where it is too wide."""
    first = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(rows: Iterable[Sequence[Any]]) -> str:
    """Write names and values, one pair a row; long values break anywhere."""
    body = "".join(f"<tr><td>{text(name)}</td><td><code>{text(value)}</code></td></tr>" for name, value in rows)
    return f'<div class="facts"><table><tbody>{body}</tbody></table></div>'
