"""From a model's raw scores to probabilities. Training, evaluation and serving all go through here, so they agree."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Link = Literal["sigmoid", "softmax", "identity"]
Doubles = npt.NDArray[np.float64]


def probabilities(raw: npt.NDArray[Any], link: Link) -> Doubles:
    """Turn raw scores into class probabilities.

    Args:
        raw: ``(n, 1)`` margins of the second class (sigmoid), or ``(n, k)`` margins (softmax) or probabilities.
        link: How raw scores relate to probabilities.

    Returns:
        Shape ``(n, k)``, rows sum to 1.

    >>> probabilities(np.array([[0.0]]), "sigmoid")
    array([[0.5, 0.5]])
    """
    scores = raw.astype(np.float64, copy=False)
    if link == "sigmoid":
        result = np.empty((len(scores), 2))
        expit(scores[:, 0], out=result[:, 1])
        np.subtract(1.0, result[:, 1], out=result[:, 0])
        return result
    if link == "softmax":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return scores
