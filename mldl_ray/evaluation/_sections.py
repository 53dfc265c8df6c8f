"""The card's sections: each says in a sentence what it shows, then shows it; empty where nothing was measured.

Fairness and robustness have theirs in ``_trust``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from contracts.evaluations import Calibration, Evaluation
from contracts.records import TrainedBundle
from mldl_ray.evaluation import _drawings, _plots
from mldl_ray.evaluation._drawings import number, text
from mldl_ray.evaluation._markup import beside, facts, figures, paragraph, section, table
from mldl_ray.evaluation.metrics import METRICS

SHOWN_COLUMNS = 12


def tiles(entries: Iterable[tuple[str, str, str]]) -> str:
    """Show figures large: what, how much, and a word about it."""
    shown = "".join(
        f'<div class="tile"><span>{text(name)}</span><b>{text(value)}</b><span>{text(note)}</span></div>'
        for name, value, note in entries
    )
    return f'<div class="tiles">{shown}</div>' if shown else ""


def quality(evaluation: Evaluation) -> str:
    """Give every figure with its range, curves, the confusion of classes, and the stable version beside it."""
    rows = []
    for name, value in evaluation.metrics.items():
        sure, metric = evaluation.intervals.get(name), METRICS.get(name)
        way = "" if metric is None else " ↑" if metric.higher_is_better else " ↓"
        drawn = _drawings.reach(value, sure.low, sure.high) if sure and 0 <= sure.low <= sure.high <= 1 else ""
        span = f"{number(sure.low)} to {number(sure.high)}" if sure else "–"
        where = f'<span class="num">{text(span)}</span> {drawn}'
        rows.append(f"<tr><td>{text(name)}{way}</td><td>{number(value)}</td><td>{where}</td></tr>")
    missing = [f"<tr><td>{text(name)}</td><td>–</td><td>{text(why)}</td></tr>"
               for name, why in evaluation.left_out.items()]  # fmt: skip
    if not rows and not missing:
        return ""
    lead = "↑ more is better, ↓ less is better. The bar spans 0 to 1; its shade is the 95% range."
    head = "<thead><tr><th>figure</th><th>value</th><th>95% range</th></tr></thead>"
    shown = f'<div class="wide"><table>{head}<tbody>{"".join(rows + missing)}</tbody></table></div>'
    return section("Quality", lead, shown, _beside_stable(evaluation), _interval(evaluation), _pictures(evaluation))


def _beside_stable(evaluation: Evaluation) -> str:
    found = evaluation.against_stable
    if found is None:
        return ""
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "not surely different"
    return paragraph(
        f"Beside the stable version {found.version or ''} on the same {found.rows:,} rows, "
        f"{found.metric} is {verdict}: "
        f"{number(found.candidate)} against {number(found.stable)}, a difference of {found.difference:+.4f} "
        f"({found.low:+.4f} to {found.high:+.4f}; above 0 is better)."
    )


def _interval(evaluation: Evaluation) -> str:
    found = evaluation.prediction_interval
    if found is None:
        return ""
    held = found.coverage
    kept = f" On the judged rows it held {held.value:.1%} ({held.low:.1%} to {held.high:.1%})." if held else ""
    return paragraph(
        f"The true value lies within ± {number(found.half_width)} of an answer {found.level:.0%} of the time.{kept}"
    )


def _pictures(evaluation: Evaluation) -> str:
    found = evaluation.picture
    base = list(found.base_rates.values())
    rate = base[-1] if len(base) == 2 else sum(share**2 for share in base)
    roc = _plots.curves(
        found.roc, "false positive rate", "true positive rate", "ROC curve", chance=[(0.0, 0.0), (1.0, 1.0)]
    )
    pr = _plots.curves(
        found.precision_recall, "recall", "precision", "Precision over recall", chance=[(0.0, rate), (1.0, rate)]
    )
    one = f" It is about {found.roc[0].name}." if len(found.roc) == 1 else ""
    return figures(
        (f"ROC: rows of the class found, over false alarms.{one} Dashed: guessing.", roc,
         _plots.legend(found.roc, "area")),
        ("Precision over recall: how pure the found rows are. Dashed: guessing.", pr,
         _plots.legend(found.precision_recall, "average precision")),
        ("Confusion: each row is a true class, each column an answer.", _plots.confusion(found.labels, found.confusion),
         ""),
        ("Answers over true values, some rows. On the dashed line both are the same.", _plots.scatter(found.answers),
         ""),
        ("Answers: rows of each, largest first.",
         _drawings.bars([(name, rows) for name, rows in list(found.sizes.items())[:SHOWN_COLUMNS]]), ""),
    )  # fmt: skip


def calibration(evaluation: Evaluation) -> str:
    """Show confidence against accuracy."""
    found = evaluation.calibration
    if found.ece is None:
        return ""
    rows = [
        ("expected calibration error", number(found.ece), "equal-width bins, the figure commonly quoted"),
        ("sampling bias removed", number(found.ece_debiased), "equal-mass bins"),
        ("before calibration", number(found.ece_uncalibrated), f"method: {found.method}"),
    ]
    lead = (
        "How often it is right when it says how sure it is. 0 is perfect; a dot on the dashed line is as sure as right."
    )
    drawing = _plots.reliability(found.reliability)
    shown = figures(("Accuracy over stated confidence; larger dots hold more rows.", drawing, ""))
    return section("Calibration", lead, beside(table(("error", "value", ""), rows) + _class_errors(found), shown))


def _class_errors(found: Calibration) -> str:
    if not found.by_class:
        return ""
    rows = [(name, number(errors.equal_mass_debiased)) for name, errors in found.by_class.items()]
    shown = table(("class", "error of its own probability, bias removed"), rows)
    return f"<details><summary>each class</summary>{shown}</details>"


def influence(evaluation: Evaluation) -> str:
    """Show which columns move the answers most."""
    found = evaluation.picture
    if not found.influence:
        return ""
    shown = list(found.influence.items())[:SHOWN_COLUMNS]
    lead = (
        f"How much each column moves the raw score, on average over {found.influence_rows:,} rows. This says what the "
        "model uses, not what causes what."
    )
    return section("What it looks at", lead, figures(("", _drawings.bars(shown, "Influence of columns"), "")))


def serving(bundle: TrainedBundle) -> str:
    """Tell what serves the version, and the proof that this is the model."""
    form = bundle.serving_form
    if form is None:
        return ""
    if form.kind == "native":
        why = f": {form.why_native}" if form.why_native else ""
        return section("How it serves", f"By the native model itself{why}. Nothing was converted.")
    rows = [
        ("form", f"ONNX graph{f', {form.file}' if form.file else ''}"),
        ("rows compared", f"{form.rows_compared:,}"),
        ("largest difference", "–" if form.largest_difference is None else f"{form.largest_difference:.2g}"),
        ("allowed", "–" if form.tolerance is None else f"{form.tolerance:.2g}"),
    ]
    lead = (
        "As a compiled graph, proven to give the same answers as the model, on rows with missing and unseen values too."
    )
    return section("How it serves", lead, facts(rows))


def origin(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Tell data, settings, search, cost and digests."""
    lineage, cost = bundle.lineage, bundle.cost
    seconds = [
        f"{held:,.1f} {unit}-seconds" for held, unit in ((cost.cpu_seconds, "cpu"), (cost.gpu_seconds, "gpu")) if held
    ]
    known = {
        "dataset": " ".join(part for part in (lineage.dataset_id, lineage.version) if part),
        "dataset digest": evaluation.dataset_digest or lineage.dataset_digest,
        "feature view": lineage.feature_view,
        "job": lineage.job_id,
        "follows version": lineage.parent,
        "evaluation": evaluation.evaluation_id,
        "settings": json.dumps(bundle.hyperparams, sort_keys=True, default=str) if bundle.hyperparams else None,
        "search": f"{cost.trials:,} trials" if cost.trials else None,
        "cross-validated": None if bundle.cv_score is None else number(bundle.cv_score),
        "cost": ", ".join([f"{cost.cost_units:.4g} units", *seconds]) if cost.cost_units or seconds else None,
        "inputs": _inputs(bundle),
        "trained by": lineage.trainer_hash,
        "artifact": bundle.artifact_uri,
        "validation hash": bundle.validation_hash,
    }
    return section("Where it comes from", "", facts([(name, value) for name, value in known.items() if value]))


def _inputs(bundle: TrainedBundle) -> str | None:
    columns = bundle.input_schema.get("columns")
    if not isinstance(columns, list) or not columns:
        return None
    named = [f"{column.get('name')} ({column.get('kind')})" for column in columns if isinstance(column, dict)]
    more = f" and {len(named) - 30} more" if len(named) > 30 else ""
    return ", ".join(named[:30]) + more
