"""The look that all our pages share: style, blocks and marks. What any page says is elsewhere (``card``).

A page carries its style and drawings, loads nothing and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from mldl_ray.evaluation._drawings import WIDTH, number, short, svg, text
from mldl_ray.evaluation._markup import beside, paragraph, section, table
from mldl_ray.evaluation._sections import tiles

__all__ = ["WIDTH", "beside", "number", "page", "paragraph", "section", "short", "svg", "table", "text", "tiles"]


_STYLE = """
:root{--ink:#16202b;--soft:#54636f;--line:#dce2e8;--paper:#fff;--back:#f3f5f7;--blue:#1f5fa8;--orange:#b8501a;
--amber:#c98a00;color-scheme:light}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:66rem;margin:0 auto;padding:1.5rem 1rem 3rem}
header h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0;overflow-wrap:anywhere}
section,.tile{background:var(--paper);border:1px solid var(--line);border-radius:10px}
section{padding:1rem 1.1rem 1.2rem;margin-top:1rem}
h2{font-size:1.15rem;margin:0 0 .4rem}h3{font-size:.95rem;margin:1.1rem 0 .3rem;overflow-wrap:anywhere}
p{margin:.35rem 0;max-width:44rem;overflow-wrap:anywhere}.soft,figcaption{color:var(--soft)}.small{font-size:.88rem}
.tag{display:inline-block;padding:0 .6rem;margin:.15rem .3rem .15rem 0;background:#e7edf4;border-radius:1rem;
font-size:.85rem;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin-top:1rem}
.tile{padding:.7rem .9rem;min-width:0}.tile b{display:block;font-size:1.5rem;line-height:1.25;
font-variant-numeric:tabular-nums}.tile span{display:block;font-size:.85rem;color:var(--soft);overflow-wrap:anywhere}
.notes{border-left:5px solid var(--amber)}.notes ul{margin:.3rem 0 0;padding-left:1.1rem}.notes li{margin:.25rem 0;
overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(18rem,100%),1fr));gap:1rem 1.6rem;
margin-top:.6rem}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:0 2rem;
align-items:start}.beside>div{min-width:0}.num{white-space:nowrap;display:inline-block;min-width:8.2rem}
figure{margin:0;min-width:0}figcaption{font-size:.88rem;margin-bottom:.3rem;max-width:22rem;overflow-wrap:anywhere}
figcaption strong{color:var(--ink);display:block;font-size:.95rem}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .7rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft);font-size:.85rem}tr:last-child td{border-bottom:0}
.wide{overflow-x:auto}.facts td:first-child{color:var(--soft);width:8.5rem}
.facts td{overflow-wrap:anywhere}.facts table{table-layout:fixed}
code{font:.85em ui-monospace,SFMono-Regular,Menlo,monospace}
details{margin-top:.6rem}summary{cursor:pointer;color:var(--blue);overflow-wrap:anywhere}
.legend{list-style:none;margin:.2rem 0 0;padding:0;font-size:.85rem;display:flex;flex-wrap:wrap;gap:.1rem 1rem}
.legend span{font-weight:600}.legend li::before{content:"";display:inline-block;width:.9rem;height:3px;
margin-right:.35rem;vertical-align:middle;background:currentColor}.legend li{overflow-wrap:anywhere}
.legend .c0{color:#1f5fa8}.legend .c1{color:#b8501a}.legend .c2{color:#1d7a55}.legend .c3{color:#8a3d8f}
.legend .c4{color:#7a6a00}.legend .c5{color:#4d5a66}
svg{display:block;max-width:100%;height:auto}svg.reach{display:inline-block;width:100px;vertical-align:middle}
svg text{fill:var(--ink);font-size:12px}
svg .soft{fill:var(--soft)}svg .pale{fill:#fff}svg .grid{stroke:var(--line)}svg .axis{stroke:var(--soft);fill:none}
svg .dashed{stroke-dasharray:4 4}svg .mark{fill:var(--blue)}svg .dot{fill:var(--blue);fill-opacity:.35}
svg .whisker{stroke:var(--blue);stroke-width:5;stroke-opacity:.3;stroke-linecap:round}
svg .thread{stroke:var(--blue);fill:none;stroke-width:2}svg .point{fill:var(--blue)}
svg .right{fill:var(--blue)}svg .wrong{fill:var(--orange)}
svg .thread.c1,svg .whisker.c1{stroke:#b8501a}svg .point.c1{fill:#b8501a}svg .thread.c2{stroke:#1d7a55}
svg .thread.c3{stroke:#8a3d8f}svg .thread.c4{stroke:#7a6a00}svg .thread.c5{stroke:#4d5a66}
@media print{body{background:none}section,.tile{break-inside:avoid}}
"""


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
