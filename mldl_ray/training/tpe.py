"""Our axes in Optuna's words: a tree-structured Parzen estimator proposes the configurations of a ``bayes`` search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from contracts.specs import SearchDimension

if TYPE_CHECKING:
    from mldl_ray.training.problem import Problem


def distributions(space: Mapping[str, SearchDimension]) -> dict[str, Any]:
    """Give each axis as an Optuna distribution.

    >>> distributions({"C": SearchDimension(kind="float", low=0.1, high=10, log=True)})
    {'C': FloatDistribution(high=10.0, log=True, low=0.1, step=None)}
    """
    return {name: _distribution(axis) for name, axis in space.items()}


def sampler(problem: Problem) -> Any:
    """Make the sampler; a search that is taken up again draws other numbers than before, still by the job's seed."""
    import optuna  # noqa: PLC0415  # slow to load

    return optuna.samplers.TPESampler(seed=problem.seed + len(problem.done))


def _distribution(axis: SearchDimension) -> Any:
    import optuna  # noqa: PLC0415  # as above

    if axis.kind == "categorical":
        return optuna.distributions.CategoricalDistribution(axis.choices or ())
    assert axis.low is not None  # the contract refuses an axis of numbers without ends
    assert axis.high is not None
    if axis.kind == "int":
        return optuna.distributions.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
