"""What a policy earns when it plays: the mean return of its episodes, with its uncertainty."""

from __future__ import annotations

from typing import Any

import numpy as np

from contracts.evaluations import Evaluation
from mldl_ray.evaluation._bootstrap import Resamples


def evaluate_policy(
    returns: Any, *, model_key: str, seed: int = 0, created_at: str, evaluation_id: str, version: str | None = None
) -> Evaluation:
    """Judge a policy by the episodes that it played.

    Args:
        returns: The sum of rewards of each episode.
        model_key: Whose policy this is.
        seed: Of the bootstrap.
        created_at: When, ISO 8601.
        evaluation_id: Its name.
        version: Of the policy, once registered.

    Returns:
        ``mean_return`` with its interval; ``rows`` counts the episodes.

    >>> evaluate_policy([1.0, 0.0], model_key="m", created_at="", evaluation_id="e").metrics
    {'mean_return': 0.5}
    """
    played = np.asarray(returns, dtype=np.float64)
    draws = Resamples.draw(np.zeros(len(played)), seed)
    mean = float(played.mean())
    drawn = draws.figures(lambda kept, mass: mass @ played[kept] / mass.sum(axis=1), np.ones(len(played)))
    interval = draws.interval(mean, drawn, -np.inf, np.inf)
    return Evaluation(
        evaluation_id=evaluation_id,
        model_key=model_key,
        version=version,
        rows=len(played),
        metrics={"mean_return": mean},
        intervals={} if interval is None else {"mean_return": interval},
        left_out={} if interval is not None else {"mean_return interval": "all episodes ended alike"},
        created_at=created_at,
    )
