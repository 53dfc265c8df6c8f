"""The model card: what a person should know before trusting a version, on one page and as JSON. Not here: any figure.

The page carries its own style and drawings, loads nothing and runs nothing, so it can be kept, mailed and printed. All
text from outside goes through ``_text``.

Source: Mitchell et al., *Model Cards for Model Reporting* (FAT* 2019), for what belongs on it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.records import Evaluation, TrainedBundle
from contracts.specs import Json
from mldl_ray.evaluation import _drawings
from mldl_ray.evaluation._drawings import number
from mldl_ray.evaluation._remarks import remarks
from mldl_ray.evaluation.metrics import METRICS

_STYLE = """
:root{--ink:#1c2733;--soft:#5b6b7b;--line:#dde3e9;--paper:#fff;--back:#f5f7f9;--blue:#2563a8;--amber:#a55b00}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#9aa9b8;--line:#33404d;--paper:#18212a;--back:#10171e;
--blue:#6fa8e8;--amber:#e0a04a}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:2rem auto;padding:2rem 2.5rem;background:var(--paper);border:1px solid var(--line);
border-radius:8px}h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem;padding-bottom:.2rem;
border-bottom:1px solid var(--line)}h3{font-size:.95rem;margin:1.2rem 0 .3rem}p{margin:.4rem 0}
.soft{color:var(--soft)}.tag{display:inline-block;padding:0 .5rem;margin-right:.3rem;border:1px solid var(--line);
border-radius:1rem;font-size:.85rem}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}.notes{padding:.5rem 1rem;border-left:4px solid
var(--amber);background:var(--back)}.notes ul{margin:.2rem 0;padding-left:1.2rem}.wide{overflow-x:auto}
code{font-size:.85em;overflow-wrap:anywhere}svg{max-width:100%;height:auto}svg text{fill:var(--ink);font-size:12px}
svg .soft{fill:var(--soft)}svg .axis{stroke:var(--soft);fill:none}svg .grid{stroke:var(--line);fill:none}
svg .mark{fill:var(--blue)}svg .thread{stroke:var(--blue);fill:none;stroke-width:2}
@media print{body{background:none}main{border:0;margin:0;max-width:none}}
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
        _head(bundle, title),
        _remarks(bundle, evaluation),
        _quality(evaluation),
        _calibration(evaluation),
        _fairness(evaluation),
        _robustness(evaluation),
        _origin(bundle, evaluation),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}: model card</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in sections if part)}\n</main></body></html>\n"
    )


def _head(bundle: TrainedBundle, title: str) -> str:
    kind = " ".join(part for part in (bundle.family, bundle.task) if part)
    tags = "".join(f'<span class="tag">{_text(tag)}</span>' for tag in bundle.tags)
    made = f"Model card · {_text(kind)} · made {_text(bundle.created_at)}"
    return f'<header><h1>{_text(title)}</h1><p class="soft">{made}</p>{tags and f"<p>{tags}</p>"}</header>'


def _remarks(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    notes = remarks(bundle, evaluation)
    if not notes:
        return ""
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<section class="notes"><strong>Before you trust it</strong><ul>{items}</ul></section>'


def _quality(evaluation: Evaluation) -> str:
    rows = []
    for name, value in evaluation.metrics.items():
        interval, metric = evaluation.intervals.get(name), METRICS.get(name)
        sure = f"{number(interval.low)} to {number(interval.high)}" if interval else "–"
        better = "" if metric is None else "higher is better" if metric.higher_is_better else "lower is better"
        rows.append((name, number(value), sure, better))
    rows += [(name, "–", "–", f"not given: {why}") for name, why in evaluation.left_out.items()]
    lead = f"Judged on {evaluation.rows:,} rows. The range holds the figure with 95% confidence."
    return f"<section><h2>Quality</h2><p>{lead}</p>{_table(('metric', 'value', '95% range', ''), rows)}</section>"


def _calibration(evaluation: Evaluation) -> str:
    found = evaluation.calibration
    if found.ece is None:
        return ""
    rows = [
        ("expected calibration error", number(found.ece), "equal-width bins, the figure commonly quoted"),
        ("the same, sampling bias removed", number(found.ece_debiased), "equal-mass bins"),
        ("before calibration", number(found.ece_uncalibrated), f"method: {found.method}"),
    ]
    lead = "How often it is right when it says how sure it is. On the diagonal, both are the same."
    drawing = _drawings.reliability(found.reliability)
    return f"<section><h2>Calibration</h2><p>{lead}</p>{drawing}{_table(('error', 'value', ''), rows)}</section>"


def _fairness(evaluation: Evaluation) -> str:
    found = evaluation.fairness
    if found.delta is None and not found.left_out:
        return ""
    of_what = "mean_prediction" if found.selected is None else "selection_rate"
    title = "mean prediction" if found.selected is None else f"share predicted as {found.selected}"
    parts = [f"<section><h2>Fairness</h2><p>{_text(_fairness_lead(evaluation))}</p>"]
    for column in found.groups:
        rates = [(group, facts[of_what]) for group, facts in found.by_group.get(column, {}).items() if of_what in facts]
        if rates:
            parts.append(f"<h3>{_text(column)}: {_text(title)}</h3>{_drawings.bars(rates)}")
    parts += [_group_table(column, groups) for column, groups in found.by_group.items()]
    parts += [f'<p class="soft">{_text(column)}: {_text(why)}.</p>' for column, why in found.left_out.items()]
    return "".join(parts) + "</section>"


def _fairness_lead(evaluation: Evaluation) -> str:
    found, interval = evaluation.fairness, evaluation.intervals.get("fairness_delta")
    if found.delta is None:
        return "No sensitive column could be compared."
    unit = "standard deviations of the target" if found.selected is None else "in selection rate"
    sure = f" (95%: {interval.low:.3f} to {interval.high:.3f})" if interval else ""
    odds = f" Equalized odds differ by {found.equalized_odds:.3f}." if found.equalized_odds is not None else ""
    return f"The largest difference between two groups is {found.delta:.3f} {unit}{sure}.{odds}"


def _group_table(column: str, groups: dict[str, dict[str, Any]]) -> str:
    rates = list(dict.fromkeys(rate for facts in groups.values() for rate in facts))
    rows = [(group, *(number(facts.get(rate)) for rate in rates)) for group, facts in groups.items()]
    table = _table((column, *(rate.replace("_", " ") for rate in rates)), rows)
    return f"<details><summary>{_text(column)}, all rates</summary>{table}</details>"


def _robustness(evaluation: Evaluation) -> str:
    found = evaluation.robustness
    if found.clean is None:
        return ""
    rows = [("undisturbed", number(found.clean))]
    rows += [(f"noise of {sigma} standard deviations on every number", number(v)) for sigma, v in found.noise.items()]
    rows += [(f"{float(share):.0%} of all values missing", number(v)) for share, v in found.missing.items()]
    return f"<section><h2>Robustness</h2>{_table(('inputs', found.metric or 'score'), rows)}</section>"


def _origin(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    lineage, form = bundle.lineage, bundle.serving_form
    facts = {
        "dataset": " ".join(part for part in (lineage.dataset_id, lineage.version) if part),
        "dataset digest": evaluation.dataset_digest or lineage.dataset_digest,
        "job": lineage.job_id,
        "follows version": lineage.parent,
        "evaluation": evaluation.evaluation_id,
        "artifact": bundle.artifact_uri,
        "validation hash": bundle.validation_hash,
        "settings": json.dumps(bundle.hyperparams, sort_keys=True, default=str) if bundle.hyperparams else None,
        "search": f"{bundle.cost.trials} trials, {bundle.cost.cost_units:.4g} cost units"
        if bundle.cost.trials
        else None,
        "serving form": form and f"{form.kind}{f' ({form.why_native})' if form.why_native else ''}",
    }
    rows = [(name, value) for name, value in facts.items() if value]
    return f"<section><h2>Where it comes from</h2>{_table(('', ''), rows, code=True)}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, code: bool = False) -> str:
    first = "".join(f"<th>{_text(name)}</th>" for name in head) if any(head) else ""
    opened, closed = ("<code>", "</code>") if code else ("", "")
    body = "".join(
        f"<tr><td>{_text(row[0])}</td>"
        + "".join(f"<td>{opened}{_text(cell)}{closed}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table>{first and f"<thead><tr>{first}</tr></thead>"}<tbody>{body}</tbody></table></div>'


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
