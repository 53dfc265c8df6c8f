"""What a person should hear about a version before they trust it, in sentences, from its figures alone."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.records import Evaluation, TrainedBundle
from mldl_ray.evaluation._drawings import number

FEW_ROWS = 300
WIDE = 0.1
"""An interval of a figure between 0 and 1 that is wider than this leaves much open."""
UNEQUAL = 0.1
SENSITIVE_TO_NOISE = 0.05
"""Share of the clean score that noise of a quarter deviation may cost before it is worth a word."""


def remarks(bundle: TrainedBundle, evaluation: Evaluation) -> list[str]:
    """List what to watch for, most general first; empty when nothing stands out.

    >>> few = Evaluation(model_key="m", rows=40, metrics={})
    >>> remarks(TrainedBundle(model_key="m", artifact_uri="", validation_hash="", created_at=""), few)[0]
    'Judged on 40 rows only: every figure here is rough.'
    """
    return [*_rows(evaluation), *_calibration(evaluation), *_fairness(evaluation), *_robustness(evaluation),
            *_serving(bundle)]  # fmt: skip


def _rows(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.rows < FEW_ROWS:
        yield f"Judged on {evaluation.rows:,} rows only: every figure here is rough."
    for name in evaluation.metrics:
        interval = evaluation.intervals.get(name)
        if interval is not None and interval.low >= 0 and interval.high <= 1 and interval.high - interval.low > WIDE:
            yield f"{name} is only known to lie between {interval.low:.2f} and {interval.high:.2f}."
    for name, why in evaluation.left_out.items():
        yield f"{name} is not given: {why}."


def _calibration(evaluation: Evaluation) -> Iterator[str]:
    found, bound = evaluation.calibration, evaluation.intervals.get("ece_debiased")
    if bound is not None and bound.low > 0.02:
        yield f"Its confidence is off by {bound.value:.3f} on average, beyond what chance explains."
    before = found.ece_uncalibrated
    if found.method != "none" and found.ece is not None and before is not None and found.ece > before + 0.01:
        yield f"Calibration by {found.method} made confidence worse here: {before:.3f} before, {found.ece:.3f} after."


def _fairness(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.fairness
    rate = "mean_prediction" if found.selected is None else "selection_rate"
    for column in found.groups:
        difference = found.by_column.get(column, {}).get(rate, 0.0)
        if difference > UNEQUAL:
            yield _unequal(evaluation, column, rate, difference)
    if not found.groups and not found.left_out:
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


def _serving(bundle: TrainedBundle) -> Iterator[str]:
    form = bundle.serving_form
    if form is not None and form.kind == "native" and form.why_native:
        yield f"It serves in its native form, which is slower: {form.why_native}."
