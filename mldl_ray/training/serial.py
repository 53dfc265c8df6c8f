"""A search in this process, one trial after the other: for rule tests, and for scripts without a cluster.

It keeps the same rules as the search over Ray Tune (``actors/trials.py``) and passes the same conformance tests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

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
        for trial_id, config, tell in self._proposed(problem, ledger):
            if ledger.over():
                break
            self._run(problem, ledger, trial_id, config)
            tell(ledger.records[-1])
        return ledger.outcome()

    def _run(self, problem: Problem, ledger: Ledger, trial_id: str, config: Json) -> None:
        ledger.began(trial_id, config)
        trial = Trial(problem, config, quantum_s=0.0)
        try:
            while not trial.done:
                trial.advance()
                if not ledger.stepped(trial_id, trial.scores, trial.step_s) or ledger.over():
                    break
        except MldlError as error:
            ledger.failed(trial_id, error.message)
            return
        ledger.ended(trial_id)

    def _proposed(self, problem: Problem, ledger: Ledger) -> Iterator[tuple[str, Json, Callable[[TrialRecord], None]]]:
        if problem.strategy != "bayes":
            for number, config in enumerate(ledger.fresh_points()):
                yield f"t{number:04d}", config, lambda _: None
            return
        yield from self._bayes(problem, ledger)

    def _bayes(self, problem: Problem, ledger: Ledger) -> Iterator[tuple[str, Json, Callable[[TrialRecord], None]]]:
        import optuna  # noqa: PLC0415  # slow to load

        from mldl_ray.training.tpe import distributions, sampler  # noqa: PLC0415  # as above

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=sampler(problem))
        axes = distributions(problem.space)
        for record in ledger.records:
            if record.score is not None:
                study.add_trial(optuna.trial.create_trial(
                    params=record.config, distributions=axes, value=problem.sign * record.score))  # fmt: skip
        for point in ledger.fresh_points():
            study.enqueue_trial(point)
        for number in range(problem.max_trials - len(ledger.records)):
            asked = study.ask(fixed_distributions=axes)

            def tell(record: TrialRecord, asked: Any = asked) -> None:
                if record.score is None:
                    study.tell(asked, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(asked, problem.sign * record.score)

            yield f"t{number:04d}", dict(asked.params), tell
