"""A search in this process, one trial after the other: for rule tests, and for scripts without a cluster.

It keeps the same rules as the search over Ray Tune (``actors/trials.py``) and passes the same conformance tests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from contracts.errors import MldlError
from contracts.ports import Clock, SearchOutcome
from contracts.records import TrialRecord
from contracts.specs import Json
from mldl_ray.training.ledger import Ledger
from mldl_ray.training.problem import Problem
from mldl_ray.training.trial import Trial

log = logging.getLogger(__name__)


class SerialTrials:
    """Runs a search here and now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def search(self, problem: Problem, on_trial: Callable[[TrialRecord], None]) -> SearchOutcome:
        """Try configurations until the limits; report each as it ends."""
        ledger = Ledger(problem, self._clock, on_trial)
        for number, config in self._proposed(problem, ledger):
            if ledger.over():
                break
            self._run(problem, ledger, number, config)
        return ledger.outcome()

    def _run(self, problem: Problem, ledger: Ledger, number: int, config: Json) -> None:
        trial_id = f"t{number:04d}"
        ledger.began(trial_id, config, number)
        trial = Trial(problem, config, quantum_s=0.0)
        try:
            while not trial.done:
                trial.advance()
                if not ledger.stepped(trial_id, trial.scores, trial.step_s, trial.figures) or ledger.over():
                    break
        except MldlError as error:
            ledger.tried(trial_id, trial.attempts)
            ledger.failed(trial_id, error.message)
            return
        ledger.tried(trial_id, trial.attempts)
        ledger.ended(trial_id)

    def _proposed(self, problem: Problem, ledger: Ledger) -> Iterator[tuple[int, Json]]:
        """Give numbers, which go on from those of an earlier run, and configurations."""
        bayes = None
        for number in ledger.missing():
            if number < len(problem.points):
                yield number, problem.points[number]
                continue
            if bayes is None:
                from mldl_ray.training.tpe import Bayes  # noqa: PLC0415  # Optuna is slow to load

                bayes = Bayes(problem)
            yield number, bayes.propose(number, ledger.known(number))
