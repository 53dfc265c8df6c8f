"""The card's sections: each says in a sentence what it shows, then shows it; empty where nothing was measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.records import Adversarial, Calibration, Evaluation, Fairness, TrainedBundle
from mldl_ray.evaluation import _drawings, _plots
from mldl_ray.evaluation._drawings import number, text
from mldl_ray.evaluation.metrics import METRICS

SHOWN_COLUMNS = 12
_METHODS = {
    "closed_form": "the exact worst case of a linear model",
    "pgd": "projected gradient descent, checked by a search that sees answers alone",
    "decision_based": "a search that sees answers alone",
}


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
    table = f'<div class="wide"><table>{head}<tbody>{"".join(rows + missing)}</tbody></table></div>'
    return _section("Quality", lead, table, _beside_stable(evaluation), _interval(evaluation), _pictures(evaluation))


def _beside_stable(evaluation: Evaluation) -> str:
    found = evaluation.against_stable
    if found is None:
        return ""
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "not surely different"
    return _p(
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
    return _p(
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
    return _figures(
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
    shown = _figures(("Accuracy over stated confidence; larger dots hold more rows.", drawing, ""))
    return _section("Calibration", lead, _beside(_table(("error", "value", ""), rows) + _class_errors(found), shown))


def _class_errors(found: Calibration) -> str:
    if not found.by_class:
        return ""
    rows = [(name, number(errors.equal_mass_debiased)) for name, errors in found.by_class.items()]
    table = _table(("class", "error of its own probability, bias removed"), rows)
    return f"<details><summary>each class</summary>{table}</details>"


def fairness(evaluation: Evaluation) -> str:
    """Show every group of every sensitive column with its interval, and which groups are too small to judge."""
    found = evaluation.fairness
    if found.delta is None and not found.left_out:
        return ""
    rate = "mean_prediction" if found.selected is None else "selection_rate"
    title = "mean prediction" if found.selected is None else f"share predicted as {found.selected}"
    drawings, axis = [], _axis(found, rate)
    for column in found.groups:
        drawing = _groups(found, column, rate, axis)
        drawings.append((f"{column}: {title}, with 95% intervals.", drawing, ""))
    details = "".join(_group_table(found, column) for column in found.by_group)
    notes = "".join(
        f'<p class="soft small">{text(column)}: {text(why)}. Insufficient, not passed.</p>'
        for column, why in found.left_out.items()
        if column not in found.by_group or " × " not in column
    )
    return _section("Fairness", _fairness_lead(evaluation), _by_class(found), _figures(*drawings), details, notes)


def _axis(found: Fairness, rate: str) -> tuple[float, float]:
    """Give one axis for all columns, so that their groups can be compared by eye."""
    values = [facts[rate] for c in found.groups for facts in found.by_group.get(c, {}).values() if rate in facts]
    sure = [known[rate] for c in found.groups for known in found.intervals.get(c, {}).values() if rate in known]
    ends = [*values, *(bound.low for bound in sure), *(bound.high for bound in sure)]
    return _drawings.axis_of(ends, share=rate != "mean_prediction")


def _groups(found: Fairness, column: str, rate: str, axis: tuple[float, float]) -> str:
    facts = {group: known for group, known in found.by_group.get(column, {}).items() if rate in known}
    if not facts:
        return ""
    sure = {g: known[rate] for g, known in found.intervals.get(column, {}).items() if rate in known and g in facts}
    ranked = sorted(facts, key=lambda group: -facts[group][rate])[:20]
    return _drawings.groups(
        {group: facts[group][rate] for group in ranked},
        {group: sure[group] for group in ranked if group in sure},
        {group: int(facts[group].get("rows", 0)) for group in ranked},
        found.insufficient.get(column, {}),
        axis=axis,
    )


def _fairness_lead(evaluation: Evaluation) -> str:
    found, sure = evaluation.fairness, evaluation.intervals.get("fairness_delta")
    if found.delta is None:
        return "No sensitive column could be compared: every group but one is too small. That is not a pass."
    unit = "standard deviations of the target" if found.selected is None else "in selection rate"
    of = f" (class {found.worst_class}, the worst)" if found.worst_class is not None else ""
    span = f" (95%: {sure.low:.3f} to {sure.high:.3f})" if sure else ""
    parts = [f"The largest difference between two groups is {found.delta:.3f} {unit}{of}{span}."]
    if found.equalized_odds is not None:
        parts.append(f"Equalized odds differ by {found.equalized_odds:.3f}.")
    if found.intersectional_delta is not None:
        parts.append(f"Between intersections of columns it is {found.intersectional_delta:.3f}.")
    if found.error_delta is not None:
        parts.append(f"Errors differ by {found.error_delta:.3f}.")
    return " ".join(parts)


def _by_class(found: Fairness) -> str:
    if not found.by_class:
        return ""
    rates = list(dict.fromkeys(rate for facts in found.by_class.values() for rate in facts))
    rows = [(name, *(number(facts.get(rate)) for rate in rates)) for name, facts in found.by_class.items()]
    return _table(("largest difference, by class", *(rate.replace("_", " ") for rate in rates)), rows)


def _group_table(found: Fairness, column: str) -> str:
    groups, sure = found.by_group[column], found.intervals.get(column, {})
    rates = list(dict.fromkeys(rate for facts in groups.values() for rate in facts))

    def cell(group: str, rate: str) -> str:
        bound = sure.get(group, {}).get(rate)
        span = f" ({number(bound.low)} to {number(bound.high)})" if bound else ""
        return f"{number(groups[group].get(rate))}{span}"

    rows = [(group, *(cell(group, rate) for rate in rates)) for group in groups]
    rows += [
        (group, f"{count:,}", "insufficient", *[""] * (len(rates) - 2))
        for group, count in list(found.insufficient.get(column, {}).items())[:50]
    ]
    table = _table((column, *(rate.replace("_", " ") for rate in rates)), rows)
    return f"<details><summary>{text(column)}, all rates</summary>{table}</details>"


def robustness(evaluation: Evaluation) -> str:
    """Show what noise, missing values and an attacker cost."""
    found, attacked = evaluation.robustness, evaluation.robustness.adversarial
    if found.clean is None:
        return ""
    rows = [("undisturbed", number(found.clean), "")]
    rows += [(f"noise, {sigma} deviations", number(v), _change(evaluation, sigma)) for sigma, v in found.noise.items()]
    rows += [(f"{float(share):.0%} of values missing", number(v), "") for share, v in found.missing.items()]
    words = _table(("inputs", found.metric or "score", ""), rows)
    if attacked is not None:
        words += _attack(attacked)
    return _section("Robustness", "What disturbed inputs cost. Changes are in standard deviations of each column in "
                    "training.", _beside(words, _decline(evaluation)))  # fmt: skip


def _change(evaluation: Evaluation, sigma: str) -> str:
    found = evaluation.robustness
    if sigma in found.flips:
        return f"{found.flips[sigma]:.1%} of answers change"
    return f"answers move by {found.moved[sigma]:.3f} deviations" if sigma in found.moved else ""


def _attack(found: Adversarial) -> str:
    rows = [("undisturbed", number(found.clean), "")]
    for eps, value in found.robust.items():
        bound = found.intervals.get(eps)
        span = f"{number(bound.low)} to {number(bound.high)}" if bound else ""
        rows.append((f"up to {eps} deviations", number(value), span))
    columns = ", ".join(found.columns[:SHOWN_COLUMNS])
    more = f" and {len(found.columns) - SHOWN_COLUMNS} more" if len(found.columns) > SHOWN_COLUMNS else ""
    sure = "No change within these bounds can do worse." if found.exact else "A stronger search might find worse."
    notes = [
        f"Numbers are changed on purpose to make it wrong, {found.rows:,} rows, by {_METHODS[found.method]}. {sure}",
        f"Moved, each within the range that was seen: {columns}{more}. Nothing else is touched.",
    ]
    if found.gradient_masking:
        notes.append(f"Gradient masking: {found.why}. Read these figures as an upper bound.")
    if found.stopped:
        notes.append(f"Note: {found.stopped}.")
    table = _table(("attack", found.metric, "95% range"), rows)
    return f"<h3>Under attack</h3>{''.join(_p(note) for note in notes)}{table}"


def _decline(evaluation: Evaluation) -> str:
    found, attacked = evaluation.robustness, evaluation.robustness.adversarial
    lines: dict[str, dict[float, float]] = {}
    metric = attacked.metric if attacked is not None else "accuracy"
    if metric == "accuracy" and found.accuracy:
        lines["noise"] = {float(sigma): value for sigma, value in found.accuracy.items()}
    bounds = {}
    if attacked is not None:
        lines.setdefault("noise", {})
        lines["attack"] = {0.0: attacked.clean} | {float(eps): value for eps, value in attacked.robust.items()}
        bounds = {float(eps): interval for eps, interval in attacked.intervals.items()}
    if not any(lines.values()):
        return ""
    names = "".join(f'<li class="c{i}"><span>{text(name)}</span></li>' for i, name in enumerate(lines) if lines[name])
    legend = f'<ul class="legend">{names}</ul>'
    return _figures((f"{metric} as the change grows.", _plots.decline(lines, bounds, metric), legend))


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
    return _section("What it looks at", lead, _figures(("", _drawings.bars(shown, "Influence of columns"), "")))


def serving(bundle: TrainedBundle) -> str:
    """Tell what serves the version, and the proof that this is the model."""
    form = bundle.serving_form
    if form is None:
        return ""
    if form.kind == "native":
        why = f": {form.why_native}" if form.why_native else ""
        return _section("How it serves", f"By the native model itself{why}. Nothing was converted.")
    rows = [
        ("form", f"ONNX graph{f', {form.file}' if form.file else ''}"),
        ("rows compared", f"{form.rows_compared:,}"),
        ("largest difference", "–" if form.largest_difference is None else f"{form.largest_difference:.2g}"),
        ("allowed", "–" if form.tolerance is None else f"{form.tolerance:.2g}"),
    ]
    lead = (
        "As a compiled graph, proven to give the same answers as the model, on rows with missing and unseen values too."
    )
    return _section("How it serves", lead, _facts(rows))


def origin(bundle: TrainedBundle, evaluation: Evaluation) -> str:
    """Tell data, settings, search, cost and digests."""
    lineage, cost = bundle.lineage, bundle.cost
    seconds = [
        f"{held:,.1f} {unit}-seconds" for held, unit in ((cost.cpu_seconds, "cpu"), (cost.gpu_seconds, "gpu")) if held
    ]
    facts = {
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
    return _section("Where it comes from", "", _facts([(name, value) for name, value in facts.items() if value]))


def _inputs(bundle: TrainedBundle) -> str | None:
    columns = bundle.input_schema.get("columns")
    if not isinstance(columns, list) or not columns:
        return None
    named = [f"{column.get('name')} ({column.get('kind')})" for column in columns if isinstance(column, dict)]
    more = f" and {len(named) - 30} more" if len(named) > 30 else ""
    return ", ".join(named[:30]) + more


def _section(title: str, lead: str, *parts: str) -> str:
    return f"<section><h2>{text(title)}</h2>{_p(lead) if lead else ''}{''.join(parts)}</section>"


def _p(words: str) -> str:
    return f"<p>{text(words)}</p>"


def _figures(*found: tuple[str, str, str]) -> str:
    """Set drawings side by side where there is room; one without a drawing is left away."""
    shown = "".join(
        f"<figure>{f'<figcaption>{text(caption)}</figcaption>' if caption else ''}{drawing}{legend}</figure>"
        for caption, drawing, legend in found
        if drawing
    )
    return f'<div class="figures">{shown}</div>' if shown else ""


def _beside(words: str, drawing: str) -> str:
    return f'<div class="beside"><div>{words}</div>{drawing}</div>' if drawing else words


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    first = "".join(f"<th>{text(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table></div>'


def _facts(rows: Iterable[Sequence[Any]]) -> str:
    body = "".join(f"<tr><td>{text(name)}</td><td><code>{text(value)}</code></td></tr>" for name, value in rows)
    return f'<div class="facts"><table><tbody>{body}</tbody></table></div>'
