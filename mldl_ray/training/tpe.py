"""Our axes in Optuna's words: a tree-structured Parzen estimator proposes the configurations of a ``bayes`` search.

Source:
    Bergstra et al., Algorithms for Hyper-Parameter Optimization (NIPS 2011); axes together: Falkner, Klein & Hutter,
    BOHB (ICML 2018). An axis that is there only for some configurations is estimated from the trials that have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.records import TrialRecord
from contracts.specs import Json, SearchDimension
from mldl_ray.training.conditions import active

if TYPE_CHECKING:
    from mldl_ray.training.problem import Problem


class Bayes:
    """Proposes configurations, each by the search's seed, its number and the records so far: by nothing else.

    So a search that is taken up again from its records goes on as it would have. No state of a sampler is kept, and
    trials at work do not count.
    """

    def __init__(self, problem: Problem) -> None:
        import optuna  # noqa: PLC0415  # slow to load, and only this strategy needs it

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it warns of axes that are drawn one by one
        self._space, self._axes = problem.space, distributions(problem.space)
        self._together = {
            name: self._axes[name]
            for name, axis in problem.space.items()
            if axis.when is None and not self._axes[name].single()
        }
        self._sign, self._seed, self._told = problem.sign, problem.seed, 0
        self._study = optuna.create_study(direction="maximize")

    def propose(self, number: int, records: Sequence[TrialRecord]) -> Json:
        """Give the configuration of the n-th trial of a search, from 0, after these records in this order."""
        import optuna  # noqa: PLC0415  # as above

        for record in records[self._told :]:
            self._learn(record)
        self._told = len(records)
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._study.sampler = _sampler(seed, self._together)
        asked = self._study.ask()
        config: Json = {}
        for name, axis in self._space.items():
            if active(axis, config):
                config[name] = _suggested(asked, name, axis)
        self._study.tell(asked, state=optuna.trial.TrialState.FAIL)  # it comes back as a record, in the order of ends
        return config

    def _learn(self, record: TrialRecord) -> None:
        import optuna  # noqa: PLC0415  # as above

        if record.score is None:
            return
        axes = {name: self._axes[name] for name in record.config}
        self._study.add_trial(
            optuna.trial.create_trial(params=record.config, distributions=axes, value=self._sign * record.score)
        )


def _sampler(seed: int, together: Mapping[str, Any]) -> Any:
    """Make a sampler for one proposal; the axes that are always there are drawn together, the others one by one.

    Optuna would find the axes that all trials have by going through all trials, at each proposal.
    """
    import optuna  # noqa: PLC0415  # as above

    class Sampler(optuna.samplers.TPESampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return dict(together)

    return Sampler(seed=seed, multivariate=True, constant_liar=False)


def distributions(space: Mapping[str, SearchDimension]) -> dict[str, Any]:
    """Give each axis as an Optuna distribution.

    >>> distributions({"C": SearchDimension(kind="float", low=0.1, high=10, log=True)})
    {'C': FloatDistribution(high=10.0, log=True, low=0.1, step=None)}
    """
    return {name: _distribution(axis) for name, axis in space.items()}


def _suggested(asked: Any, name: str, axis: SearchDimension) -> Any:
    if axis.kind == "categorical":
        return asked.suggest_categorical(name, axis.choices or ())
    assert axis.low is not None  # the contract refuses an axis of numbers without ends
    assert axis.high is not None
    if axis.kind == "int":
        return asked.suggest_int(name, int(axis.low), int(axis.high), log=axis.log)
    return asked.suggest_float(name, axis.low, axis.high, log=axis.log)


def _distribution(axis: SearchDimension) -> Any:
    import optuna  # noqa: PLC0415  # as above

    if axis.kind == "categorical":
        return optuna.distributions.CategoricalDistribution(axis.choices or ())
    assert axis.low is not None  # as above
    assert axis.high is not None
    if axis.kind == "int":
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
