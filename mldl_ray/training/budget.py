"""Hard caps: what a job has used, what it still needs to end well, and whether that fits. Pure; time is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from contracts.specs import Budget, Constraints, TrialResources

AFTER_S, AFTER_SHARE = 3.0, 0.25
"""What judging, compiling and storing the winner is expected to take: at most so many seconds, or so much of a cap."""


@dataclass(frozen=True)
class Caps:
    """What a job may use, and what it pays; None is no cap.

    ``price`` is in cost units per cpu-second, ``gpu_price`` per gpu-second; a trial holds ``cpus`` and ``gpus``.
    """

    seconds: float | None = None
    cost_units: float | None = None
    price: float = 0.0
    gpu_price: float = 0.0
    cpus: float = 1.0
    gpus: float = 0.0

    @classmethod
    def of(
        cls,
        budget: Budget,
        constraints: Constraints,
        price: float,
        *,
        gpu_price: float = 0.0,
        held: TrialResources | None = None,
    ) -> Caps:
        """Take the tighter of the job's budget and the model's constraint.

        >>> Caps.of(Budget(cost_units=2), Constraints(cost_units=1), 0.1).cost_units
        1.0
        """
        costs = [cost for cost in (budget.cost_units, constraints.cost_units) if cost is not None]
        held = held or TrialResources()
        return cls(budget.max_seconds, min(costs, default=None), price, gpu_price, held.cpus, held.gpus)

    @property
    def trial_price(self) -> float:
        """Give the cost units of one second of one trial.

        >>> Caps(price=0.5, gpu_price=2.0, cpus=2, gpus=0.5).trial_price
        2.0
        """
        return self.cpus * self.price + self.gpus * self.gpu_price

    def cost(self, spent: Spent) -> float:
        """Give what was spent in cost units."""
        return spent.cpu_seconds * self.price + spent.gpu_seconds * self.gpu_price


@dataclass(frozen=True)
class Spent:
    """What was used so far: wall seconds since the job began, and cpu- and gpu-seconds held by trials."""

    seconds: float
    cpu_seconds: float
    gpu_seconds: float = 0.0

    def more(self, seconds: float) -> Spent:
        """Add what one cpu took meanwhile."""
        return Spent(self.seconds + seconds, self.cpu_seconds + seconds, self.gpu_seconds)


def finish_s(fold_s: float, folds: int) -> float:
    """Predict how long the winner's refit takes: every fold once more for the calibrator, then all rows at once.

    Args:
        fold_s: Seconds that a fit on one fold takes.
        folds: How many folds judge every row once, repeats left out; 0 where no rows do, and one training is all.

    >>> finish_s(1.0, folds=3)
    4.5
    >>> finish_s(1.0, folds=0)
    1.0
    """
    return fold_s * (folds + folds / (folds - 1)) if folds else fold_s


def shortfall(caps: Caps, spent: Spent, finish: float) -> str | None:
    """Say why the refit of a winner no longer fits the caps; None when it does.

    >>> shortfall(Caps(seconds=10), Spent(7.0, 14.0), finish=4.0)
    'max_seconds is 10, 7 were used, and the refit of the winner is expected to take 4 more'
    >>> shortfall(Caps(seconds=12), Spent(7.0, 14.0), finish=4.0)
    """
    if caps.seconds is not None and spent.seconds + finish > caps.seconds:
        return _short("max_seconds", caps.seconds, spent.seconds, finish)
    if caps.cost_units is not None and caps.cost(spent) + finish * caps.price > caps.cost_units:
        return _short("cost_units", caps.cost_units, caps.cost(spent), finish * caps.price)
    return None


def _short(cap: str, limit: float, used: float, needed: float) -> str:
    return (
        f"{cap} is {limit:.3g}, {used:.3g} were used, and the refit of the winner is expected to take {needed:.3g} more"
    )


def breach(caps: Caps, spent: Spent, *, step_s: Sequence[float], folds: int, running: int) -> str | None:
    """Say which cap the job would break if it went on for one more step; None when it fits.

    One more step means: every running trial fits one more fold, then the winner is refitted, judged and stored.

    Args:
        caps: The limits.
        spent: What was used.
        step_s: Seconds that fits on one fold took so far; none yet predicts nothing.
        folds: As for ``finish_s``.
        running: Trials at work.

    >>> caps = Caps(seconds=10)
    >>> breach(caps, Spent(4.0, 8.0), step_s=[0.5], folds=2, running=2)
    >>> breach(caps, Spent(6.0, 12.0), step_s=[0.5], folds=2, running=2)
    'max_seconds'
    """
    step = fmean(step_s) if step_s else 0.0
    finish = finish_s(step, folds)
    if caps.seconds is not None:
        after = min(AFTER_S, AFTER_SHARE * caps.seconds)
        if spent.seconds + step + finish + after >= caps.seconds:
            return "max_seconds"
    if caps.cost_units is not None and caps.trial_price > 0:
        after = min(AFTER_S * caps.price, AFTER_SHARE * caps.cost_units)
        more = step * running * caps.trial_price + finish * caps.price + after
        if caps.cost(spent) + more >= caps.cost_units:
            return "cost_units"
    return None
