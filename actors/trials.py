"""A search as Ray Tune trials across the cluster: the port ``Trials`` in production.

The rules (what to try, when to stop a trial, when to stop the search) are in ``mldl_ray.training``; here they are
handed to Tune. Trial actors are reused, all with the same resources; the encoded folds are put in the object store
once and read there without a copy. Tune's own loggers and snapshots are off: the job's record is in the journal.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import BasicVariantGenerator, Searcher

from actors.memory import contain
from contracts.errors import MldlError
from contracts.ports import Clock, SearchOutcome
from contracts.records import TrialRecord
from contracts.specs import Json
from mldl_ray.training.ledger import Ledger
from mldl_ray.training.problem import Problem
from mldl_ray.training.queue import needs_of
from mldl_ray.training.trial import ATTEMPTS, Trial

QUANTUM_S = 0.1
"""A report costs Tune several milliseconds, so a trial takes steps for about this long before it reports."""
TRIAL_NICENESS = 10
"""Training makes way for predictions on the same machine."""
POINT, NUMBER = "point", "number"
_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they cost more than small trials, and leak per trial
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # a search is taken up again from the journal, not from Tune's snapshot
    "TUNE_FORCE_TRIAL_CLEANUP_S": "1",  # a trial that must stop does not finish its fold first
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # errors are part of the trial's record
    "RAY_AIR_NEW_OUTPUT": "0",  # its tables are printed at any verbosity
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


class RayTrials:
    """Runs a search on the cluster that this process is connected to.

    At a limit no trial goes on; one in the middle of a fold is killed.
    """

    def __init__(self, clock: Clock, *, quantum_s: float = QUANTUM_S) -> None:
        self._clock, self._quantum_s = clock, quantum_s

    def search(self, problem: Problem, on_trial: Callable[[TrialRecord], None]) -> SearchOutcome:
        """Try configurations until the limits; report each as it ends."""
        ledger = Ledger(problem, self._clock, on_trial)
        if not ledger.missing() or ledger.over():
            return ledger.outcome()
        with _quiet(), tempfile.TemporaryDirectory(prefix="mldl-tune-") as folder:
            self._fit(problem, ledger, folder)
        for trial_id in ledger.running:
            ledger.ended(trial_id)  # the search was over before it reported anything
        return ledger.outcome()

    def _fit(self, problem: Problem, ledger: Ledger, folder: str) -> None:
        watcher, left = _Watcher(book := _Book(ledger)), ledger.missing()
        proposes = problem.prunes or left[-1] >= len(problem.points)  # a trial may have to wait for others
        algorithm = (
            _Proposer(book, problem, left) if proposes else BasicVariantGenerator(max_concurrent=problem.max_concurrent)
        )
        points = [{NUMBER: number, POINT: problem.points[number]} for number in left] if not proposes else []
        trainable = tune.with_parameters(TuneTrial, problem=problem, quantum_s=self._quantum_s)
        tune.Tuner(
            tune.with_resources(trainable, needs_of(problem.resources)),
            param_space={} if proposes else {POINT: tune.grid_search(points)},
            tune_config=tune.TuneConfig(
                metric="gain",
                mode="max",
                num_samples=len(left) if proposes else 1,
                search_alg=algorithm,
                scheduler=_Judge(watcher, problem.max_concurrent),
                max_concurrent_trials=problem.max_concurrent if proposes else None,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=folder,
                verbose=0,
                callbacks=[watcher],
                stop=_Limits(watcher),
                failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            ),
        ).fit()


class TuneTrial(tune.Trainable):
    """One trial after another in one process; the problem stays, with all that frameworks built from its arrays."""

    def setup(self, config: Json, problem: Problem, quantum_s: float) -> None:  # type: ignore[override]  # with_parameters
        """Take the problem from the object store and the first configuration."""
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415  # trials only

        self._limits = threadpool_limits(max(1, int(problem.resources.cpus)))
        os.nice(TRIAL_NICENESS)
        contain(problem.resources.memory_bytes)
        self._problem, self._quantum_s = problem, quantum_s
        self._begin(config)

    def step(self) -> Json:
        """Take as many steps as fit a report; a configuration that breaks down ends with the reason."""
        error = None
        try:
            self._trial.advance()
        except MldlError as broken:
            error = broken.message
        scores = self._trial.scores
        return {
            "gain": self._problem.sign * self._problem.whole(scores) if scores and error is None else None,
            "scores": scores,
            "step_s": self._trial.step_s,
            "figures": self._trial.figures,
            "error": error,
            "attempts": self._trial.attempts,
            "done": error is not None or self._trial.done,
        }

    def reset_config(self, new_config: Json) -> bool:
        """Go on with another configuration."""
        self._begin(new_config)
        return True

    def _begin(self, config: Json) -> None:
        self._trial = Trial(self._problem, config[POINT][POINT], self._quantum_s)


class _Book:
    """The one ledger of a search, which Tune must neither copy nor write to disk with its settings."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def __deepcopy__(self, memo: Any) -> _Book:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()


class _Watcher(tune.Callback):
    """Writes what Tune does into the book."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._busy: dict[str, Any] = {}

    @property
    def _ledger(self) -> Ledger:
        return self._book.ledger

    def over(self) -> bool:
        """Say whether the search is over; then whoever is at work is killed, for which Tune would wait ten seconds."""
        if not self._ledger.over():
            return False
        while self._busy:
            ray.kill(self._busy.popitem()[1])
        return True

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if trial.temporary_state.ray_actor is not None:
            self._busy[trial.trial_id] = trial.temporary_state.ray_actor
        if trial.trial_id not in self._ledger.running:
            point = trial.config[POINT]
            self._ledger.began(trial.trial_id, point[POINT], point[NUMBER])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._busy.pop(trial.trial_id, None)
        if trial.trial_id not in self._ledger.running:
            return  # ended before it began: the search was over
        result = trial.last_result or {}
        if error := result.get("error"):
            self._ledger.tried(trial.trial_id, result["attempts"])
            self._ledger.failed(trial.trial_id, error)
            return
        self.note(trial, result)
        self._ledger.ended(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if any(record.trial_id == trial.trial_id for record in self._ledger.records):
            return
        self.on_trial_start(iteration, trials, trial)  # a process may die before its trial was said to begin
        self._busy.pop(trial.trial_id, None)
        self._ledger.failed(trial.trial_id, f"its process died: {_last_line(trial.get_error())}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.on_trial_start(iteration, trials, trial)  # as above
        self._busy.pop(trial.trial_id, None)
        self._ledger.died(trial.trial_id)

    def note(self, trial: Any, result: Json) -> bool:
        """Note a report; say whether the trial may go on."""
        self._ledger.tried(trial.trial_id, result.get("attempts", 1))
        return self._ledger.stepped(
            trial.trial_id, result.get("scores", []), result.get("step_s", []), result.get("figures", [])
        )


class _Judge(FIFOScheduler):
    """Asks the rules whether a trial may go on."""

    def __init__(self, watcher: _Watcher, workers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray's
        self._watcher, self._workers = watcher, workers

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Have Tune keep the processes of trials that ended: it stops those that no trial is waiting for at once."""
        if self._workers:
            tune_controller._actor_cache.increase_max(trial.placement_group_factory, by=self._workers)
            self._workers = 0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Json) -> str:
        keeps = self._watcher.note(trial, result)
        return str(TrialScheduler.CONTINUE if keeps else TrialScheduler.STOP)


class _Limits(tune.Stopper):
    """Ends the search at its limits; Tune asks at every turn of its loop."""

    def __init__(self, watcher: _Watcher) -> None:
        self._watcher = watcher

    def __call__(self, trial_id: str, result: Json) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._watcher.over()


class _Proposer(Searcher):
    """Hands Tune the next configuration once those have ended that it is proposed and raced by."""

    def __init__(self, book: _Book, problem: Problem, left: list[int]) -> None:
        super().__init__(metric="gain", mode="max")
        self._book, self._problem, self._left = book, problem, list(left)
        self._bayes: Any = None

    def suggest(self, trial_id: str) -> Json | None:
        if not self._left or not self._book.ledger.ready(self._left[0]):
            return None  # Tune asks again
        number = self._left.pop(0)
        return {POINT: {NUMBER: number, POINT: self._config(number)}}

    def _config(self, number: int) -> Json:
        if number < len(self._problem.points):
            return self._problem.points[number]
        if self._bayes is None:
            from mldl_ray.training.tpe import Bayes  # noqa: PLC0415  # slow to load, and only this strategy needs it

            self._bayes = Bayes(self._problem)
        found: Json = self._bayes.propose(number, self._book.ledger.known(number))
        return found

    def on_trial_complete(self, trial_id: str, result: Json | None = None, error: bool = False) -> None:
        """Do nothing: the book has it."""

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a search is taken up again from the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, as above."""


def _last_line(error: Exception | None) -> str:
    lines = str(error or "no reason was given").strip().splitlines()
    return lines[-1][:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Set what Tune reads from the environment, for as long as a search lasts."""
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    results = logging.getLogger("ray.tune.analysis.experiment_analysis")
    level = results.level
    results.setLevel(logging.ERROR)  # it misses the files of the loggers that are off
    try:
        yield
    finally:
        results.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
