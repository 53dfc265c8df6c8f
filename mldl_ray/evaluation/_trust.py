"""The card's sections about people and about disturbed inputs: fairness and robustness. The others: ``_sections``."""

from __future__ import annotations

from contracts.evaluations import Adversarial, Evaluation, Fairness
from mldl_ray.evaluation import _drawings, _plots
from mldl_ray.evaluation._drawings import number, text
from mldl_ray.evaluation._markup import beside, figures, paragraph, section, table

SHOWN_COLUMNS = 12
_METHODS = {
    "closed_form": "the exact worst case of a linear model",
    "pgd": "projected gradient descent, checked by a search that sees answers alone",
    "decision_based": "a search that sees answers alone",
}


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
    return section("Fairness", _fairness_lead(evaluation), _by_class(found), figures(*drawings), details, notes)


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
    return table(("largest difference, by class", *(rate.replace("_", " ") for rate in rates)), rows)


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
    shown = table((column, *(rate.replace("_", " ") for rate in rates)), rows)
    return f"<details><summary>{text(column)}, all rates</summary>{shown}</details>"


def robustness(evaluation: Evaluation) -> str:
    """Show what noise, missing values and an attacker cost."""
    found, attacked = evaluation.robustness, evaluation.robustness.adversarial
    if found.clean is None:
        return ""
    rows = [("undisturbed", number(found.clean), "")]
    rows += [(f"noise, {sigma} deviations", number(v), _change(evaluation, sigma)) for sigma, v in found.noise.items()]
    rows += [(f"{float(share):.0%} of values missing", number(v), "") for share, v in found.missing.items()]
    words = table(("inputs", found.metric or "score", ""), rows)
    if attacked is not None:
        words += _attack(attacked)
    return section("Robustness", "What disturbed inputs cost. Changes are in standard deviations of each column in "
                    "training.", beside(words, _decline(evaluation)))  # fmt: skip


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
    shown = table(("attack", found.metric, "95% range"), rows)
    return f"<h3>Under attack</h3>{''.join(paragraph(note) for note in notes)}{shown}"


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
    return figures((f"{metric} as the change grows.", _plots.decline(lines, bounds, metric), legend))
