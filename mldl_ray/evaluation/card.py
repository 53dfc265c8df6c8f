"""The model card: what a person should know before trusting a version, on one page and as JSON. Not here: any figure.

The page carries its own style and drawings, loads nothing and runs nothing, so it can be kept, mailed and printed. It
is read from top to bottom: what it is and how good, what to watch for, then the evidence (``_sections``, ``_trust``).

Source: Mitchell et al., *Model Cards for Model Reporting* (FAT* 2019), for what belongs on it.
"""

from __future__ import annotations

from contracts.evaluations import Evaluation
from contracts.records import TrainedBundle
from contracts.specs import Json
from mldl_ray.evaluation import _sections, _trust
from mldl_ray.evaluation._drawings import number, text
from mldl_ray.evaluation._remarks import remarks

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


def card_json(bundle: TrainedBundle, evaluation: Evaluation) -> Json:
    """Give the card's content as JSON values: both records whole, and what one should watch for."""
    return {
        "model": bundle.model_dump(mode="json"),
        "evaluation": evaluation.model_dump(mode="json"),
        "remarks": remarks(bundle, evaluation),
    }


def card_html(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Write the card as one HTML page that needs nothing else.

    Args:
        bundle: The version.
        evaluation: What was found about it, with intervals; its sections are left away where nothing was measured.
    """
    title = f"{bundle.model_key} {bundle.version}" if bundle.version else bundle.model_key
    sections = (
        _head(bundle, evaluation, title),
        _tiles(bundle, evaluation),
        _remarks(bundle, evaluation),
        _sections.quality(evaluation),
        _sections.calibration(evaluation),
        _trust.fairness(evaluation),
        _trust.robustness(evaluation),
        _sections.influence(evaluation),
        _sections.serving(bundle),
        _sections.origin(bundle, evaluation),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}: model card</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in sections if part)}\n</main></body></html>\n"
    )


def _head(bundle: TrainedBundle, evaluation: Evaluation, title: str) -> str:
    kind = " for ".join(part for part in (bundle.family, (bundle.task or "").replace("_", " ")) if part)
    made = " · ".join(part for part in ("Model card", kind, bundle.created_at and f"made {bundle.created_at}") if part)
    tags = "".join(f'<span class="tag">{text(tag)}</span>' for tag in bundle.tags)
    seen = "episodes that it played" if bundle.task == "reinforcement" else "rows that it had not seen"
    judged = f"Judged on {evaluation.rows:,} {seen}. Ranges hold the true figure with 95% confidence."
    return f'<header><p class="soft small">{text(made)}</p><h1>{text(title)}</h1>{tags}<p>{judged}</p></header>'


def _tiles(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Show the few figures that are asked for first."""
    tiles = []
    for name, value in list(evaluation.metrics.items())[:2]:
        sure = evaluation.intervals.get(name)
        tiles.append(
            (name.replace("_", " "), number(value), f"{number(sure.low)} to {number(sure.high)}" if sure else "")
        )
    found, attacked = evaluation.calibration, evaluation.robustness.adversarial
    if found.ece is not None:
        tiles.append(("calibration error", number(found.ece), "0 is perfect"))
    if evaluation.fairness.delta is not None:
        tiles.append(("largest gap between groups", number(evaluation.fairness.delta), "0 is equal"))
    if attacked is not None and attacked.robust:
        eps = list(attacked.robust)[len(attacked.robust) // 2]
        note = f"{number(attacked.clean)} before; changes up to {eps} deviations"
        tiles.append((f"{attacked.metric} under attack", number(attacked.robust[eps]), note))
    if bundle.cost.cpu_seconds or bundle.cost.gpu_seconds or bundle.cost.cost_units:
        tiles.append(("cost of training", number(bundle.cost.cost_units), f"units; {bundle.cost.trials:,} trials"))
    return _sections.tiles(tiles)


def _remarks(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    notes = remarks(bundle, evaluation)
    if not notes:
        return ""
    items = "".join(f"<li>{text(note)}</li>" for note in notes)
    return f'<section class="notes"><h2>Before you trust it</h2><ul>{items}</ul></section>'
