"""Harm to errors, latency and share, and the absolute guardrails: each a reason to roll back, with its finding."""

from __future__ import annotations

import math
from collections.abc import Iterator

from contracts.specs import Json
from contracts.telemetry import LATENCY_EDGES_MS
from mldl_ray.deployment.arms import harm, latency_counts, requests_and_errors
from mldl_ray.deployment.evidence import quantile_bounds, quantile_estimate, rate_bounds
from mldl_ray.deployment.findings import Case, Ground, Verdict, e_finding, finding

LATENCY_RATIO, LATENCY_FLOOR_MS = 1.5, 10.0
"""A candidate's p95 is harmful when it is surely above ratio × stable's + floor."""
LATENCY_LEAST_REQUESTS = 50
"""Requests of an epoch before its latency is judged: the first few of a new process are slow, all together."""
SHARE_RATIO, SHARE_FLOOR = 1.5, 0.02
"""An observed share is wrong when it is surely above ratio × intended + floor, or below intended / ratio − floor."""
CAUSES = {"drift": "drift_spike", "slo": "metric_drop", "guardrail": "violation", "data_quality": "violation"}


def errors_in_a_row(case: Case, evidence: Json) -> Iterator[Ground]:
    """Look at the row of failures that is going on."""
    limit = case.deployment.spec.guardrails.max_consecutive_errors
    row = case.telemetry.candidate[-1].errors_in_a_row if case.telemetry.candidate else 0
    if not row:
        return
    words = f"{row} requests in a row failed on {case.deployment.version}; at most {limit - 1} are tolerated"
    evidence["errors_in_a_row"] = finding(
        "harm" if row >= limit else "no_harm", words, statistic=row, bound=limit, n=row
    )
    if row >= limit:
        yield Ground("max_consecutive_errors", words)


def errors(case: Case, evidence: Json) -> Iterator[Ground]:
    """Test whether errors are the candidate's more often than its share."""
    candidate, stable = requests_and_errors(case.telemetry.candidate), requests_and_errors(case.telemetry.stable)
    e_value = harm(case.telemetry, "errors", "requests", ("error_keys", "keys"))
    words = f"{candidate[1]} of {candidate[0]} candidate requests failed against {stable[1]} of {stable[0]} on stable"
    evidence["errors"] = e_finding(
        case,
        e_value,
        words,
        candidate[0],
        stable[0],
        candidate={"requests": candidate[0], "errors": candidate[1]},
        stable={"requests": stable[0], "errors": stable[1]},
    )
    if e_value >= 1 / case.alpha:
        yield Ground("error_rate", f"{words}; evidence {e_value:.3g} ≥ {1 / case.alpha:.3g}")


def latency(case: Case, evidence: Json) -> Iterator[Ground]:
    """Compare the arms within each epoch, where a busy moment slows both; the k-th epoch may spend alpha / k(k + 1)."""
    telemetry = case.telemetry
    theirs, ours = latency_counts(telemetry.candidate), latency_counts(telemetry.stable)
    n, n_stable, stable_ms = sum(theirs), sum(ours), round(quantile_estimate(ours, LATENCY_EDGES_MS, 0.95), 3)
    p95_ms = round(quantile_estimate(theirs, LATENCY_EDGES_MS, 0.95), 3)
    low: float | None = None
    bound, found = math.inf, list[Ground]()
    stable = {arm.epoch: arm for arm in telemetry.stable}
    for k, arm in enumerate(telemetry.candidate, start=1):
        if arm.requests < LATENCY_LEAST_REQUESTS:
            continue
        spent = case.alpha / 2 / (k * (k + 1))
        low = quantile_bounds(arm.latency_counts, LATENCY_EDGES_MS, 0.95, spent).low
        other = stable.get(arm.epoch)
        high = quantile_bounds(other.latency_counts, LATENCY_EDGES_MS, 0.95, spent).high if other else math.inf
        bound = LATENCY_RATIO * high + LATENCY_FLOOR_MS
        found = list(slow(low, high, case.deployment.spec.guardrails.max_latency_p95_ms))
        if found:
            break
    evidence["latency_p95_ms"] = finding(
        "harm" if found else "not_observed" if not n else "too_little" if low is None else "no_harm",
        f"the candidate's p95 is about {p95_ms:g} ms, stable's {stable_ms:g} ms",
        statistic=p95_ms if n else None,
        bound=bound,
        n=n,
        n_stable=n_stable,
        needed=LATENCY_LEAST_REQUESTS if low is None else None,
        stable=stable_ms,
        lower_bound=low,
    )
    yield from found


def slow(low: float, high: float, limit: float | None) -> Iterator[Ground]:
    """Say in which way a p95 surely above ``low`` is too slow, with stable's surely below ``high`` (milliseconds)."""
    if low > LATENCY_RATIO * high + LATENCY_FLOOR_MS:
        yield Ground(
            "latency",
            f"the candidate's p95 is surely above {low:.1f} ms, stable's surely below {high:.1f} ms; "
            f"{LATENCY_RATIO:g} × that + {LATENCY_FLOOR_MS:g} ms is tolerated",
        )
    if limit is not None and low > limit:
        yield Ground(
            "max_latency_p95_ms", f"the candidate's p95 is surely above {low:.1f} ms; {limit:g} ms is the limit"
        )


def share(case: Case, evidence: Json) -> Iterator[Ground]:
    """Compare the share of sticky keys now with the intended one, in the current epoch; copies have no share."""
    telemetry = case.telemetry
    if not telemetry.candidate or not telemetry.stable or case.deployment.strategy == "shadow":
        return
    candidate = telemetry.candidate[-1]
    stable = next((arm for arm in telemetry.stable if arm.epoch == candidate.epoch), None)
    if stable is None or not 0 < candidate.share < 1:
        return
    total, intended = candidate.keys + stable.keys, candidate.share
    seen = rate_bounds(candidate.keys, total, case.alpha)
    too_much = seen.low > SHARE_RATIO * intended + SHARE_FLOOR
    too_little = seen.high < intended / SHARE_RATIO - SHARE_FLOOR
    words = f"the candidate has between {seen.low:.1%} and {seen.high:.1%} of the keys; {intended:.1%} was intended"
    evidence["share"] = finding(
        "harm" if too_much or too_little else "no_harm" if total else "not_observed",
        words,
        statistic=candidate.keys / total if total else None,
        bound=SHARE_RATIO * intended + SHARE_FLOOR,
        n=candidate.keys,
        n_stable=stable.keys,
        intended=intended,
        low=round(seen.low, 4),
        high=round(seen.high, 4),
    )
    if (too_much or too_little) and "violation" in case.deployment.spec.guardrails.rollback_on:
        yield Ground("share_mismatch", words)


def live_guardrails(case: Case, evidence: Json) -> Iterator[Ground]:
    """Hold live calibration and fairness to their limits, where limits are set."""
    guardrails, telemetry = case.deployment.spec.guardrails, case.telemetry
    labelled = sum(arm.labelled for arm in telemetry.candidate)
    if (least := guardrails.min_calibration) is not None:
        best = None if telemetry.ece_sure is None else 1 - telemetry.ece_sure
        bad = best is not None and best < least
        seen = "" if telemetry.ece is None else f", by estimate {1 - telemetry.ece:.3f}"
        words = (
            "no labels to tell"
            if best is None
            else f"live calibration is surely at most {best:.3f}{seen}; {least:g} is the least"
        )
        evidence["calibration"] = finding(_word(best, bad), words, statistic=best, bound=least, n=labelled)
        if bad:
            yield Ground("min_calibration", words)
    if (limit := guardrails.fairness_delta_max) is not None:
        delta = telemetry.fairness_delta
        bad = delta is not None and delta > limit
        words = (
            "no groups to compare" if delta is None else f"live fairness delta is {delta:.3f}; {limit:g} is the most"
        )
        evidence["fairness_delta"] = finding(_word(delta, bad), words, statistic=delta, bound=limit)
        if bad:
            yield Ground("fairness_delta_max", words)


def causes(case: Case, evidence: Json) -> Iterator[Ground]:
    """Look at the alerts that are open on the candidate."""
    listed = case.deployment.spec.guardrails.rollback_on
    for kind in case.telemetry.open_causes:
        bad = CAUSES.get(kind) in listed
        words = f"an alert of kind {kind} is open on {case.deployment.version}"
        evidence[f"alert_{kind}"] = finding("harm" if bad else "not_judged", words, statistic=1, bound=1)
        if bad:
            yield Ground(CAUSES[kind], words)


def _word(figure: float | None, bad: bool) -> Verdict:
    return "harm" if bad else "not_observed" if figure is None else "no_harm"
