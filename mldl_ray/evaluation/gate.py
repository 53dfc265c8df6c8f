"""Whether an evaluation keeps a policy's bounds: on the worse end of each interval, so that luck does not pass."""

from __future__ import annotations

from collections.abc import Iterator

from contracts.evaluations import Adversarial, Evaluation, Interval
from contracts.policies import Policy, PolicyFinding
from mldl_ray.evaluation.metrics import METRICS


def gate(evaluation: Evaluation, policy: Policy, *, stable: str | None = None) -> list[str]:
    """Say why an evaluation fails a policy; empty when it passes.

    A metric passes when the *lower* end of its interval reaches the policy's bound; one where lower is better (rmse)
    when the *upper* end does not exceed it. ``fairness_delta_max`` and ``max_ece`` are compared with upper ends too,
    the latter with that of the debiased error, as the plain one is never 0 by chance alone. ``stable_margin`` passes
    when the lower end of the paired difference shows that the version is not worse by more. What was not measured, or
    has no interval, fails: a policy that asks is not met by silence.

    Args:
        evaluation: Of the version.
        policy: What must hold.
        stable: The version that serves now, when it is another one: the comparison must be with it. Where nothing
            serves there is nothing to compare with, and ``stable_margin`` asks for nothing.

    >>> from contracts.evaluations import Evaluation, Interval
    >>> sure = {"f1": Interval(value=0.82, low=0.79, high=0.85)}
    >>> measured = Evaluation(model_key="m", rows=500, metrics={"f1": 0.82}, intervals=sure)
    >>> gate(measured, Policy(metric_bounds={"f1": 0.75}))
    []
    >>> gate(measured, Policy(metric_bounds={"f1": 0.8}))
    ['f1 is 0.820, but no more than 0.790 is sure (95%, 500 rows); the policy asks for at least 0.8']
    """
    return [finding.sentence for finding in findings(evaluation, policy, stable=stable)]


def findings(evaluation: Evaluation, policy: Policy, *, stable: str | None = None) -> list[PolicyFinding]:
    """Give the rules that an evaluation fails, each with its value and bound; see ``gate``."""
    found = [*_failures(evaluation, policy)]
    if policy.stable_margin is not None:
        found += _against_stable(evaluation, policy.stable_margin, stable)
    return found


def _failures(evaluation: Evaluation, policy: Policy) -> Iterator[PolicyFinding]:
    for name, bound in policy.metric_bounds.items():
        rule = f"metric_bounds.{name}"
        if name not in METRICS:
            there = f"the policy bounds {name!r}, which is no metric; there are: {', '.join(METRICS)}"
            yield PolicyFinding(rule=rule, bound=bound, sentence=there)
        elif METRICS[name].higher_is_better:
            yield from _at_least(evaluation, rule, name, bound)
        else:
            yield from _at_most(evaluation, rule, name, name, bound)
    for rule, figure, title in (
        ("fairness_delta_max", "fairness_delta", "the fairness delta"),
        ("max_ece", "ece_debiased", "the debiased calibration error"),
    ):
        if (limit := getattr(policy, rule)) is not None:
            yield from _at_most(evaluation, rule, figure, title, limit)
    if policy.max_noise_sensitivity is not None:
        yield from _under_noise(evaluation, policy.max_noise_sensitivity)
    for eps, bound in policy.adversarial_bounds.items():
        yield from _under_attack(evaluation.robustness.adversarial, eps, bound)


def _at_least(evaluation: Evaluation, rule: str, name: str, bound: float) -> Iterator[PolicyFinding]:
    interval = evaluation.intervals.get(name)
    if interval is None:
        sentence = _unmeasured(evaluation, name, name, f"at least {bound:g}")
        yield PolicyFinding(rule=rule, bound=bound, sentence=sentence)
    elif interval.low < bound:
        sure = f"no more than {interval.low:.3f} is sure"
        sentence = f"{name} is {interval.value:.3f}, but {sure} {_grounds(evaluation, interval)} at least {bound:g}"
        yield PolicyFinding(rule=rule, value=interval.low, bound=bound, sentence=sentence)


def _at_most(evaluation: Evaluation, rule: str, name: str, title: str, bound: float) -> Iterator[PolicyFinding]:
    interval = evaluation.intervals.get(name)
    if interval is None:
        sentence = _unmeasured(evaluation, name, title, f"at most {bound:g}")
        yield PolicyFinding(rule=rule, bound=bound, sentence=sentence)
    elif interval.high > bound:
        may = f"may be {interval.high:.3f}"
        sentence = f"{title} is {interval.value:.3f} and {may} {_grounds(evaluation, interval)} at most {bound:g}"
        yield PolicyFinding(rule=rule, value=interval.high, bound=bound, sentence=sentence)


def _under_noise(evaluation: Evaluation, bound: float) -> Iterator[PolicyFinding]:
    loss, asked = evaluation.robustness.noise_sensitivity, f"the policy asks for at most {bound:g}"
    if loss is None:
        sentence = f"what noise costs it was not measured; {asked}"
        yield PolicyFinding(rule="max_noise_sensitivity", bound=bound, sentence=sentence)
    elif loss > bound:
        sentence = f"noise costs it {loss:.3f} of its score; {asked}"
        yield PolicyFinding(rule="max_noise_sensitivity", value=loss, bound=bound, sentence=sentence)


def _under_attack(attacked: Adversarial | None, eps: str, bound: float) -> Iterator[PolicyFinding]:
    rule = f"adversarial_bounds.{eps}"
    figure = None if attacked is None else attacked.robust.get(eps)
    if attacked is None or figure is None:
        sizes = ", ".join(attacked.robust) if attacked is not None else ""
        there = f"; measured were: {sizes}" if sizes else ""
        sentence = f"it was not attacked with changes of {eps} deviations, which the policy asks for{there}"
        yield PolicyFinding(rule=rule, bound=bound, sentence=sentence)
        return
    sure = attacked.intervals.get(eps)
    worse = attacked.metric == "mae"
    worst = figure if sure is None else sure.high if worse else sure.low
    if (worst > bound) if worse else (worst < bound):
        asked = f"the policy asks for at {'most' if worse else 'least'} {bound:g}"
        sentence = f"attacked with changes of {eps} deviations, {attacked.metric} may be {worst:.3f}; {asked}"
        yield PolicyFinding(rule=rule, value=worst, bound=bound, sentence=sentence)


def _against_stable(evaluation: Evaluation, margin: float, stable: str | None) -> Iterator[PolicyFinding]:
    found, rule = evaluation.against_stable, "stable_margin"
    asked = f"the policy asks that it is surely not worse than stable by more than {margin:g}"
    if found is None:
        why = evaluation.left_out.get("against_stable")
        if why is not None or stable is not None:
            sentence = f"it was not compared with the stable version ({why or 'evaluate it again'}); {asked}"
            yield PolicyFinding(rule=rule, bound=margin, sentence=sentence)
    elif stable not in {None, found.version}:
        told = f"it was compared with version {found.version}, and {stable} is stable now; evaluate it again; {asked}"
        yield PolicyFinding(rule=rule, bound=margin, sentence=told)
    elif found.low < -margin:
        grounds = f"({found.level:.0%}, {found.rows:,} rows, paired with version {found.version})"
        may = f"may be worse by {-found.low:.3f}"
        sentence = f"{found.metric} differs from stable by {found.difference:+.3f} and {may} {grounds}; {asked}"
        yield PolicyFinding(rule=rule, value=-found.low, bound=margin, sentence=sentence)


def _grounds(evaluation: Evaluation, interval: Interval) -> str:
    return f"({interval.level:.0%}, {evaluation.rows:,} rows); the policy asks for"


def _unmeasured(evaluation: Evaluation, name: str, title: str, asked: str) -> str:
    why = evaluation.left_out.get(name) or evaluation.left_out.get(f"{name} interval")
    if why is None:
        why = {"fairness_delta": "no sensitive column was given", "ece_debiased": "there are no probabilities"}.get(
            name
        )
    why = why or "it was not asked for; name it among the metrics"
    return f"{title} is not known with its uncertainty ({why}); the policy asks for {asked}"
