"""When drift has a version trained again, and with what. Pure; who asks and who submits is in ``actors.retraining``."""

from __future__ import annotations

from contracts.records import Alert
from contracts.retraining import Retraining, RetrainingRecord
from contracts.specs import Budget, JobSpec
from mldl_ray.monitoring.alerts import GRAVITY


def concerns(alert: Alert, rule: Retraining, stable: str | None) -> bool:
    """Say whether a rule is for an alert: drift, grave enough, of what serves, which nobody has taken in hand yet.

    Args:
        alert: As it is now.
        rule: The policy's.
        stable: The version that serves; a candidate's drift ends its rollout, and is no reason to train.
    """
    grave = alert.kind == "drift" and GRAVITY.index(alert.severity) >= GRAVITY.index(rule.drift)
    untouched = alert.status == "open" and alert.retraining is None
    wanted = rule.models is None or alert.model_key in rule.models
    return grave and untouched and wanted and alert.version is not None and alert.version == stable


def rested(last: RetrainingRecord | None, rule: Retraining, now_s: float) -> bool:
    """Say whether the cooldown since a model's latest such job is over."""
    return last is None or now_s - last.at_s >= rule.cooldown_s


def again(job: JobSpec, rule: Retraining) -> JobSpec:
    """Give the job that trains again: as the version's own was, on its dataset's newest rows, within both budgets."""
    data = job.data
    if data is not None and data.dataset_id is not None:
        data = data.model_copy(update={"version": None})
    return job.model_copy(update={"data": data, "budget": tighter(job.budget, rule.budget)})


def tighter(one: Budget, other: Budget) -> Budget:
    """Give the caps that keep both.

    >>> tighter(Budget(max_seconds=60), Budget(max_seconds=30, max_trials=5))
    Budget(cost_units=None, max_seconds=30.0, max_trials=5)
    """

    def least(name: str) -> float | None:
        return min((cap for cap in (getattr(one, name), getattr(other, name)) if cap is not None), default=None)

    return Budget.model_validate({name: least(name) for name in Budget.model_fields})
