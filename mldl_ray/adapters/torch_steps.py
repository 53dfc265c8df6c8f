"""Networks over series: where a series ends, and what is made of its steps. Importing it loads torch.

The matrix has one block per step; a block of NaN is padding. Everything here gives the same for a series whatever
follows it, so neither the other rows of a batch nor the longest series of the training rows reaches an answer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def unpacked(rows: Tensor, step_width: int) -> tuple[Tensor, Tensor]:
    """Give steps ``(n, steps, step_width)``, zero where padding, and which are real ``(n, steps)``.

    Steps that are padding in all rows are left out, which spares work and changes nothing.
    """
    steps = rows.reshape(len(rows), -1, step_width)
    real = ~torch.isnan(steps[:, :, 0])
    longest = max(1, int(real.sum(dim=1).max())) if len(rows) else 1
    steps, real = steps[:, :longest], real[:, :longest]
    return torch.where(real[:, :, None], steps, 0.0), real


def pooled(states: Tensor, real: Tensor) -> Tensor:
    """Give the mean and the largest of each state over the real steps, ``(n, 2 · states)``."""
    mask = real[:, :, None]
    mean = torch.where(mask, states, 0.0).sum(dim=1) / mask.sum(dim=1)
    largest = torch.where(mask, states, -torch.inf).amax(dim=1)
    return torch.cat([mean, largest], dim=1)


class Recurrent(nn.Module):
    """A recurrent network in one or both directions, pooled over the steps of each series."""

    def __init__(self, kind: type[nn.RNN | nn.LSTM], step_width: int, outputs: int, *, hidden: int, layers: int,
                 both: bool, dropout: float) -> None:  # fmt: skip
        super().__init__()
        self.step_width = step_width
        between = dropout if layers > 1 else 0.0  # torch warns of dropout between layers where there is one
        self.cells = kind(step_width, hidden, layers, batch_first=True, bidirectional=both, dropout=between)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden * (1 + both), outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Give raw scores. Packing ends each series at its last step, for the way back too."""
        steps, real = unpacked(rows, self.step_width)
        lengths = real.sum(dim=1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(steps, lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.cells(packed)[0], batch_first=True)
        raw: Tensor = self.head(self.drop(pooled(states, real)))
        return raw


class Attention(nn.Module):
    """One layer of a transformer's encoder, norms first: every step looks at every real step of its series."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_looking, self.before_thinking = nn.LayerNorm(width), nn.LayerNorm(width)
        self.looks, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wider, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """Give the states after the layer; ``real`` has shape ``(n, steps)``."""
        n, steps, width = states.shape
        looks = self.looks(self.before_looking(states)).reshape(n, steps, 3, self.heads, width // self.heads)
        query, key, value = looks.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=real[:, None, None, :], dropout_p=self.dropout if self.training else 0.0
        )
        states = states + self.drop(self.out(seen.transpose(1, 2).reshape(n, steps, width)))
        wide = self.drop(nn.functional.silu(self.wider(self.before_thinking(states))))
        thought: Tensor = states + self.drop(self.back(wide))
        return thought


class Transformer(nn.Module):
    """Steps with their places, layers of attention, pooled over the steps of each series.

    Source:
        Vaswani et al., "Attention Is All You Need" (2017); norms first: Xiong et al. (ICML 2020).
    """

    def __init__(self, step_width: int, outputs: int, *, width: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.step_width = step_width
        self.enter = nn.Linear(step_width, width)
        self.layers = nn.ModuleList([Attention(width, heads, dropout) for _ in range(layers)])
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, rows: Tensor) -> Tensor:
        """Give raw scores."""
        steps, real = unpacked(rows, self.step_width)
        states = self.enter(steps)
        states = states + places(states)
        for layer in self.layers:
            states = layer(states, real)
        raw: Tensor = self.head(self.drop(pooled(self.norm(states), real)))
        return raw


def places(states: Tensor) -> Tensor:
    """Give the place of each step as sines and cosines, ``(steps, width)``; width is even.

    >>> places(torch.zeros(1, 2, 2).double()).numpy().round(4).tolist()
    [[0.0, 1.0], [0.8415, 0.5403]]
    """
    _, steps, width = states.shape
    speeds = 10_000 ** (-torch.arange(0, width, 2, dtype=states.dtype, device=states.device) / width)
    angles = torch.arange(steps, dtype=states.dtype, device=states.device)[:, None] * speeds
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(steps, width)
