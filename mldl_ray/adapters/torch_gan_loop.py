"""Two networks against each other: one makes rows, the other tells them from real ones. Importing it loads torch.

The judge is held to a slope of about one (spectral norms) and loses by the hinge; the rows that count in the end are
made by an average of the maker's weights over the last steps, which wavers less than any of them.

Source:
    Goodfellow et al. (NeurIPS 2014); conditional: Mirza & Osindero (2014); spectral norm: Miyato et al. (ICLR 2018);
    Gumbel softmax for categories: Jang, Gu & Poole (ICLR 2017); averaged weights: Yazıcı et al. (ICLR 2019).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from contracts.errors import Incompatible

_SHARPNESS = 0.2  # temperature of a category's shares: near enough to one-hot for the judge, smooth enough to learn


@dataclass(frozen=True)
class Duel:
    """How to train; all of it comes from hyperparameters and the seed."""

    epochs: int
    batch_size: int
    learning_rate: float
    noise: int
    width: int
    depth: int
    average: float  # share of the averaged weights that stays at each step
    seed: int


class Maker(nn.Module):
    """From noise and a condition to rows: numbers in [−1, 1], and shares of categories."""

    def __init__(self, duel: Duel, levels: int, numbers: int, blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.numbers, self.blocks = numbers, blocks
        layers: list[nn.Module] = []
        width = duel.noise + levels
        for _ in range(duel.depth):
            layers += [nn.Linear(width, duel.width), nn.BatchNorm1d(duel.width), nn.ReLU()]
            width = duel.width
        self.body = nn.Sequential(*layers, nn.Linear(width, numbers + sum(blocks)))

    def forward(self, noise: Tensor, told: Tensor, gumbel: Tensor) -> Tensor:
        """Make rows.

        Args:
            noise: Shape ``(n, noise)``.
            told: Conditions, one-hot; shape ``(n, levels)``.
            gumbel: Standard Gumbel noise that draws the categories; shape ``(n, sum(blocks))``.
        """
        numbers, *shares = torch.split(self.body(torch.cat([noise, told], 1)), [self.numbers, *self.blocks], 1)
        drawn = torch.split(gumbel, list(self.blocks), 1)
        made = [functional.softmax((share + one) / _SHARPNESS, 1) for share, one in zip(shares, drawn, strict=False)]
        return torch.cat([torch.tanh(numbers), *made], 1)


def judge(duel: Duel, levels: int, width: int) -> nn.Module:
    """Build the network that tells real rows from made ones; it sees the condition too."""
    layers: list[nn.Module] = []
    width += levels
    for _ in range(duel.depth):
        layers += [spectral_norm(nn.Linear(width, duel.width)), nn.LeakyReLU(0.2)]
        width = duel.width
    return nn.Sequential(*layers, spectral_norm(nn.Linear(width, 1)))


def contest(maker: Maker, rows: Tensor, told: Tensor, duel: Duel, weights: Tensor | None) -> Maker:
    """Train a maker against a judge; call it within ``seeded``.

    Args:
        maker: Freshly built; changed.
        rows: Real rows as the maker makes them, shape ``(n, width)``.
        told: Their conditions, one-hot.
        duel: How to train.
        weights: How often a row is drawn, or None for all alike.

    Returns:
        The averaged maker, in evaluation mode.

    Raises:
        Incompatible: A loss is no longer a number.
    """
    other = judge(duel, told.shape[1], rows.shape[1]).to(rows.device)
    moves = torch.optim.Adam(maker.parameters(), lr=duel.learning_rate, betas=(0.5, 0.99))
    answers = torch.optim.Adam(other.parameters(), lr=duel.learning_rate, betas=(0.5, 0.99))
    averaged = copy.deepcopy(maker)
    order = torch.Generator().manual_seed(duel.seed)
    batches = math.ceil(len(rows) / duel.batch_size)
    for epoch in range(1, duel.epochs + 1):
        total = 0.0
        for places in torch.tensor_split(_order(len(rows), weights, order).to(rows.device), batches):
            real, under = rows[places], told[places]
            caught = functional.relu(1 + other(torch.cat([_make(maker, under, duel).detach(), under], 1))).mean()
            missed = functional.relu(1 - other(torch.cat([real, under], 1))).mean()
            _step(answers, caught + missed)
            loss = -other(torch.cat([_make(maker, under, duel), under], 1)).mean()
            _step(moves, loss)
            _follow(averaged, maker, duel.average)
            total += float(loss.detach())
        if not math.isfinite(total):
            raise Incompatible(f"training diverged in epoch {epoch}; lower learning_rate (it is {duel.learning_rate})")
    return averaged.eval()


def _make(maker: Maker, told: Tensor, duel: Duel) -> Tensor:
    noise = torch.randn(len(told), duel.noise, device=told.device)
    made: Tensor = maker(noise, told, gumbel(torch.rand(len(told), sum(maker.blocks), device=told.device)))
    return made


def gumbel(uniform: Tensor) -> Tensor:
    """Turn uniform noise into standard Gumbel noise."""
    tiny = 1e-9
    return -torch.log(-torch.log(uniform.clamp(tiny, 1 - 1e-7)))


def _order(rows: int, weights: Tensor | None, generator: torch.Generator) -> Tensor:
    if weights is None:
        return torch.randperm(rows, generator=generator)
    return torch.multinomial(weights, rows, replacement=True, generator=generator)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimiser.step()


def _follow(averaged: Maker, maker: Maker, stays: float) -> None:
    with torch.no_grad():
        for mine, new in zip(averaged.parameters(), maker.parameters(), strict=True):
            mine.lerp_(new, 1 - stays)
        for kept, now in zip(averaged.buffers(), maker.buffers(), strict=True):
            kept.copy_(now)
