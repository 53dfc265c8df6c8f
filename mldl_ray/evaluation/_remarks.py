"""What a person should hear about a version before they trust it, in sentences, from its figures alone."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.evaluations import Evaluation
from contracts.records import TrainedBundle
from mldl_ray.evaluation._drawings import number

FEW_ROWS = 300
WIDE = 0.1
"""An interval of a figure between 0 and 1 that is wider than this leaves much open."""
UNEQUAL = 0.1
SENSITIVE_TO_NOISE = 0.05
"""Share of the clean score that noise of a quarter deviation may cost before it is worth a word."""
BREAKS = 0.3
"""Share of right answers that a change of a quarter deviation, made on purpose, may turn before it is worth a word."""
ONE_COLUMN = 0.8
"""Share of all influence that one column may have: more is often a leak of the answer."""


def remarks(bundle: TrainedBundle, evaluation: Evaluation) -> list[str]:
    """List what to watch for, most general first; empty when nothing stands out.

    >>> few = Evaluation(model_key="m", rows=40, metrics={})
    >>> remarks(TrainedBundle(model_key="m", artifact_uri="", validation_hash="", created_at=""), few)[0]
    'Judged on 40 rows only: every figure here is rough.'
    """
    return [*_rows(evaluation), *_stable(evaluation), *_calibration(evaluation), *_fairness(bundle, evaluation),
            *_robustness(evaluation), *_attack(evaluation), *_influence(evaluation), *_serving(bundle)]  # fmt: skip


def _rows(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.rows < FEW_ROWS:
        yield f"Judged on {evaluation.rows:,} rows only: every figure here is rough."
    for name in evaluation.metrics:
        interval = evaluation.intervals.get(name)
        if interval is not None and interval.low >= 0 and interval.high <= 1 and interval.high - interval.low > WIDE:
            yield f"{name} is only known to lie between {interval.low:.2f} and {interval.high:.2f}."
    for name, why in evaluation.left_out.items():
        yield f"{name} is not given: {why}."


def _stable(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.against_stable
    if found is not None and found.high < 0:
        yield (
            f"It is worse than the stable version {found.version or ''}".rstrip()
            + f": {found.metric} {number(found.candidate)} against {number(found.stable)} on the same rows."
        )


def _calibration(evaluation: Evaluation) -> Iterator[str]:
    found, bound = evaluation.calibration, evaluation.intervals.get("ece_debiased")
    if bound is not None and bound.low > 0.02:
        yield f"Its confidence is off by {bound.value:.3f} on average, beyond what chance explains."
    before = found.ece_uncalibrated
    if found.method != "none" and found.ece is not None and before is not None and found.ece > before + 0.01:
        yield f"Calibration by {found.method} made confidence worse here: {before:.3f} before, {found.ece:.3f} after."


def _fairness(bundle: TrainedBundle, evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.fairness
    rate = "mean_prediction" if found.selected is None else "selection_rate"
    for column in found.groups:
        difference = found.by_column.get(column, {}).get(rate, 0.0)
        if difference > UNEQUAL:
            yield _unequal(evaluation, column, rate, difference)
    if found.worst_class is not None and (found.delta or 0.0) > UNEQUAL and found.worst_class != found.selected:
        yield f"Groups differ most in how often they are predicted as {found.worst_class!r}: by {found.delta:.2f}."
    inner = found.intersectional_delta
    if inner is not None and inner > UNEQUAL and inner > (found.delta or 0.0) + UNEQUAL:
        yield f"Groups that columns define together differ by {inner:.2f}, more than any column shows alone."
    if found.insufficient and (few := {n for n in found.insufficient if " × " not in n}):
        groups = sum(len(found.insufficient[name]) for name in few)
        yield (
            f"{groups} {'group' if groups == 1 else 'groups'} of {', '.join(sorted(few))} had too few rows to be "
            "judged: nothing is known about them."
        )
    if bundle.task in (None, "classification", "regression") and not found.groups and not found.left_out:
        yield "Fairness was not looked at: no sensitive column was named."


def _unequal(evaluation: Evaluation, column: str, rate: str, difference: float) -> str:
    found = evaluation.fairness
    groups = {group: facts for group, facts in found.by_group[column].items() if rate in facts}
    low, high = (end(groups, key=lambda group: groups[group][rate]) for end in (min, max))
    values = f"{number(groups[high][rate])} for {high}, {number(groups[low][rate])} for {low}"
    if found.selected is None:
        return f"Mean predictions differ by {difference:.2f} target deviations within {column}: {values}."
    return f"{found.selected!r} is predicted at rates that differ by {difference:.2f} within {column}: {values}."


def _robustness(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.robustness
    loss, clean = found.noise_sensitivity, found.clean
    if loss is not None and clean and loss > SENSITIVE_TO_NOISE * abs(clean):
        yield (
            f"Small errors in its numbers cost it much: noise of a quarter standard deviation makes "
            f"{found.metric or 'its score'} worse by {loss:.3f}, from {clean:.3f}."
        )


def _attack(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.robustness.adversarial
    if found is None:
        return
    eps = "0.25"
    if found.metric == "accuracy" and found.clean and found.robust.get(eps, found.clean) < (1 - BREAKS) * found.clean:
        yield (
            f"It can be made wrong on purpose: changing numbers by up to {eps} deviations takes accuracy from "
            f"{found.clean:.3f} to {found.robust[eps]:.3f}."
        )
    if found.gradient_masking:
        yield f"Its gradient misleads an attacker ({found.why}), so it may be less robust than it looks."


def _influence(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.picture.influence
    whole = sum(found.values())
    if len(found) < 3 or not whole:
        return
    name, most = next(iter(found.items()))
    if most > ONE_COLUMN * whole:
        yield f"It hangs on one column, {name} ({most / whole:.0%} of all influence): is that known when it is asked?"


def _serving(bundle: TrainedBundle) -> Iterator[str]:
    form = bundle.serving_form
    if form is not None and form.kind == "native" and form.why_native:
        yield f"It serves in its native form, which is slower: {form.why_native}."
