"""Searches for the change that makes a model wrong, within a ``Reach``. What their findings mean is in ``adversarial``.

Sources: Goodfellow, Shlens & Szegedy (ICLR 2015) for the linear case; Madry et al. (ICLR 2018) for projected gradient
descent; Chen & Gu, *RayS* (KDD 2020) for the search by answers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mldl_ray.adapters.encoder import Matrix
from mldl_ray.evaluation._reach import Reach

Doubles = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Harm = Callable[[Matrix, Places], Doubles]
"""How wrong the model is about moved rows; takes also which rows these are. Classes: 1 when wrong, otherwise 0."""
Gradient = Callable[[Matrix, Places], Doubles]

STEPS = 20
STARTS = 4  # the row itself, and corners at random: more than two classes have hills of their own
LOOKED = 5  # steps between looks at the answers
STRIDE = 2.5  # a step is so many times eps / STEPS: enough to cross the box from any start
FAR = 8.0  # deviations from which the search by answers comes nearer
HALVINGS = 8
PASSES = 8  # times that the search by answers starts anew
SPRINKLED = 6  # points tried at random for every eps


def closed_form(
    reach: Reach, truth: npt.NDArray[Any], weights: Doubles, epsilons: Sequence[float], harm: Harm
) -> Doubles:
    """Find the worst that can be done to a linear model, exactly: it lies in a corner that the weights' signs name.

    Without the range, the margin shrinks by eps times the weights' dual norm: the sum of their sizes.

    Args:
        reach: Rows and how they may move.
        truth: Class positions, or values for regression.
        weights: Of the raw scores, ``(outputs, width)``.
        epsilons: Sizes, in training deviations.
        harm: How wrong the model is.

    Returns:
        Worst harm, ``(epsilons, rows)``.
    """
    rows = np.arange(len(reach.start))
    if len(weights) == 1:  # both ends: whichever way a calibrator turns the margin, the worst is one of them
        corners = [np.tile(np.sign(weights[0]) * way, (len(rows), 1)) for way in (1.0, -1.0)]
    else:
        corners = [np.sign(weights[other] - weights[truth]) for other in range(len(weights))]
    return np.array([np.max([harm(reach.at(eps * corner), rows) for corner in corners], axis=0) for eps in epsilons])


def projected_gradient(
    reach: Reach, eps: float, gradient: Gradient, harm: Harm, random: np.random.Generator, *, enough: float
) -> Iterator[Doubles]:
    """Climb the loss by the sign of its gradient, kept within the box, from the row and then from random corners.

    Args:
        reach: Rows and how they may move.
        eps: Size, in training deviations.
        gradient: Of the loss.
        harm: How wrong the model is.
        random: Of the corners.
        enough: Harm from which a row is not attacked anew.

    Yields:
        The worst harm found so far, ``(rows,)``, once per step.
    """
    worst = np.zeros(len(reach.start))
    for start in range(STARTS):
        at = np.flatnonzero(worst < enough)
        shape = (len(at), reach.step.shape[1])
        offset = random.choice([-eps, eps], shape) if start else np.zeros(shape)
        for step in range(1, STEPS + 1) if len(at) else ():
            slope = np.sign(gradient(reach.at(offset, at), at))
            offset = np.clip(offset + STRIDE * eps / STEPS * slope, -eps, eps)
            if step % LOOKED == 0:
                worst[at] = np.maximum(worst[at], harm(reach.at(offset, at), at))
            yield worst


def sprinkled(
    reach: Reach, rows: Places, epsilons: Sequence[float], harm: Harm, random: np.random.Generator
) -> Iterator[tuple[Places, int, Doubles]]:
    """Try points of every box at random, corners and inner ones by turns: rows, place of the eps, harm."""
    for place, eps in enumerate(epsilons):
        for turn in range(SPRINKLED):
            offset = random.uniform(-1, 1, (len(rows), reach.step.shape[1]))
            offset = np.sign(offset) if turn % 2 else offset
            yield rows, place, harm(reach.at(eps * offset, rows), rows)


def rays(reach: Reach, rows: Places, harm: Harm, random: np.random.Generator) -> Iterator[Doubles]:
    """Find how near a wrong answer is, by answers alone: rays to the corners, and halving along those that hit.

    A hierarchical search flips ever smaller blocks of signs and keeps a ray only when it is wrong nearer than the
    nearest so far. After a pass it starts anew in random directions.

    Yields:
        The smallest radius found so far, ``(rows,)`` in training deviations; inf while none was. Once per question.
    """
    movable = reach.movable
    nearest = np.full(len(rows), np.inf)

    def wrong(signs: npt.NDArray[np.float64], radius: Doubles, at: Places) -> npt.NDArray[np.bool_]:
        offset = np.zeros((len(at), reach.step.shape[1]))
        offset[:, movable] = signs * radius[:, None]
        return np.asarray(harm(reach.at(offset, rows[at]), rows[at]) > 0)

    for turn in range(PASSES):
        signs = random.choice([-1.0, 1.0], (len(rows), len(movable))) if turn else np.ones((len(rows), len(movable)))
        for block in _blocks(len(movable)):
            tried = signs.copy()
            tried[:, block] *= -1
            everyone = np.arange(len(rows))
            hits = everyone[wrong(tried, np.minimum(nearest, FAR), everyone)]
            yield nearest
            signs[hits] = tried[hits]
            low, high = np.zeros(len(hits)), np.minimum(nearest[hits], FAR)
            for _ in range(HALVINGS if len(hits) else 0):
                middle = (low + high) / 2
                still = wrong(tried[hits], middle, hits)
                low, high = np.where(still, low, middle), np.where(still, middle, high)
                nearest[hits] = high
                yield nearest


def _blocks(width: int) -> Iterator[slice]:
    """Give the blocks of a hierarchical search: nothing, everything, halves, quarters, down to single columns.

    >>> [(block.start, block.stop) for block in _blocks(2)]
    [(0, 0), (0, 2), (0, 1), (1, 2)]
    """
    yield slice(0, 0)
    parts = 1
    while True:
        edges = np.unique(np.linspace(0, width, parts + 1).astype(int))
        yield from (slice(int(a), int(b)) for a, b in pairwise(edges))
        if parts >= width:
            return
        parts = min(parts * 2, width)


def climbed(reach: Reach, rows: Places, eps: float, harm: Harm, random: np.random.Generator) -> Iterator[Doubles]:
    """Find a bad corner of the box for a model that answers with values: flip blocks of signs while it gets worse.

    Yields:
        The worst harm found so far, ``(rows,)``, once per question.
    """
    movable = reach.movable
    worst = np.zeros(len(rows))
    for _ in range(2):
        signs = random.choice([-1.0, 1.0], (len(rows), len(movable)))
        mine = np.zeros(len(rows))
        for block in _blocks(len(movable)):
            tried = signs.copy()
            tried[:, block] *= -1
            offset = np.zeros((len(rows), reach.step.shape[1]))
            offset[:, movable] = eps * tried
            found = harm(reach.at(offset, rows), rows)
            better = found > mine
            mine[better], signs[better] = found[better], tried[better]
            worst = np.maximum(worst, mine)
            yield worst
