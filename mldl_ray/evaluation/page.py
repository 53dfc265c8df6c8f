"""The look that our pages share, for rooms that write one of their own: the card's style, blocks and marks.

A page carries its style and drawings, loads nothing and runs nothing. Not here: what any page says.
"""

from __future__ import annotations

from collections.abc import Iterable

from mldl_ray.evaluation._drawings import WIDTH, number, short, svg, text
from mldl_ray.evaluation._markup import beside, paragraph, section, table
from mldl_ray.evaluation._sections import tiles
from mldl_ray.evaluation.card import _STYLE

__all__ = ["WIDTH", "beside", "number", "page", "paragraph", "section", "short", "svg", "table", "text", "tiles"]


def page(title: str, parts: Iterable[str], style: str = "") -> str:
    """Write a whole page.

    Args:
        title: Of the window.
        parts: Its body, harmless already; empty ones are left away.
        style: CSS of this page alone.
    """
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}{style}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )
