"""How a network learns: mini-batches in a shuffled order, a learning-rate schedule, clipped gradients, early stopping.

What is learned (which network, from which rows, for which loss) is the caller's. The same seed on a CPU gives the same
weights, bit for bit, as long as the number of threads is the same.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping

Loss = Callable[[Tensor, Tensor], Tensor]
"""From raw outputs ``(n, outputs)`` and answers ``(n,)`` to one loss per row."""
Change = Callable[[Tensor, torch.Generator], Tensor]
"""From a batch of inputs to a disturbed one of the same shape: augmentation."""

ROWS_AT_ONCE = 512  # of a validation pass: bounds its memory, and changes nothing else
_WARM_UP = {"one_cycle": 0.3, "cosine": 0.05, "constant": 0.0}  # share of the steps in which the rate rises

_generator = threading.RLock()  # torch has one random generator per process, and two fits must not mix theirs


@dataclass(frozen=True)
class Recipe:
    """How to train; all of it comes from hyperparameters and the seed."""

    epochs: int
    batch_size: int
    learning_rate: float  # the highest of the schedule
    weight_decay: float
    schedule: str  # one_cycle, cosine or constant
    clip_norm: float  # of the whole gradient; 0 does not clip
    seed: int


@dataclass(frozen=True)
class Rows:
    """Rows as tensors on one device; weights have mean 1."""

    inputs: Tensor
    answers: Tensor
    weights: Tensor | None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give torch's generator a seed for a while, alone, and put back its state."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with _generator, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def rate(step: int, steps: int, schedule: str) -> float:
    """Give the share of the highest learning rate at a step: up along half a cosine, then down to almost nothing.

    Source:
        one_cycle: Smith & Topin, "Super-convergence" (2018); cosine: Loshchilov & Hutter, "SGDR" (ICLR 2017).

    >>> [round(rate(step, 10, "one_cycle"), 2) for step in (0, 3, 9)]
    [0.1, 1.0, 0.06]
    >>> rate(9, 10, "constant")
    1.0
    """
    if schedule == "constant":
        return 1.0
    rising = max(1, round(steps * _WARM_UP[schedule]))
    if step < rising:
        return 0.5 - 0.5 * math.cos(math.pi * (step + 0.75) / (rising + 0.75))
    return 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, steps - rising + 0.1))


def train(
    network: nn.Module,
    rows: Rows,
    recipe: Recipe,
    loss: Loss,
    *,
    valid: Rows | None = None,
    stopping: EarlyStopping | None = None,
    change: Change | None = None,
) -> int:
    """Train a network in place; call it within ``seeded``.

    With ``valid`` and ``stopping`` the weights of the best epoch are put back at the end.

    Returns:
        How many epochs the kept weights have seen.

    Raises:
        Incompatible: The loss is no longer a number.
    """
    walk = _Walk(network, rows, recipe, loss, change)
    best = _Best(math.inf, 0, None)
    for epoch in range(1, recipe.epochs + 1):
        walk.epoch(epoch)
        if valid is None or stopping is None:
            continue
        best = best.after(epoch, mean_loss(network, valid, loss), stopping.min_delta, network)
        if epoch - best.epoch >= stopping.patience:
            break
    network.eval()
    if best.weights is None:
        return recipe.epochs
    network.load_state_dict(best.weights)
    return best.epoch


@dataclass(frozen=True)
class _Best:
    loss: float
    epoch: int
    weights: dict[str, Tensor] | None

    def after(self, epoch: int, loss: float, least_gain: float, network: nn.Module) -> _Best:
        if not loss < self.loss - (least_gain if self.weights is not None else 0.0):
            return self
        return _Best(loss, epoch, copy.deepcopy(network.state_dict()))


class _Walk:
    """The optimiser on its way through the epochs."""

    def __init__(self, network: nn.Module, rows: Rows, recipe: Recipe, loss: Loss, change: Change | None) -> None:
        self._network, self._rows, self._recipe, self._loss, self._change = network, rows, recipe, loss, change
        self._optimiser = torch.optim.AdamW(_groups(network, recipe.weight_decay), lr=recipe.learning_rate)
        self._order = torch.Generator().manual_seed(recipe.seed)
        self._batches = math.ceil(len(rows.inputs) / recipe.batch_size)
        self._step = 0

    def epoch(self, number: int) -> None:
        self._network.train()
        order = torch.randperm(len(self._rows.inputs), generator=self._order).to(self._rows.inputs.device)
        total = sum(self._batch(places) for places in torch.tensor_split(order, self._batches))  # even parts: none tiny
        if not math.isfinite(float(total)):
            raise Incompatible(
                f"training diverged in epoch {number}: the loss is {float(total)}; lower learning_rate "
                f"(it is {self._recipe.learning_rate})",
                {"epoch": number, "learning_rate": self._recipe.learning_rate},
            )

    def _batch(self, places: Tensor) -> Tensor:
        for group in self._optimiser.param_groups:
            share = rate(self._step, self._batches * self._recipe.epochs, self._recipe.schedule)
            group["lr"] = self._recipe.learning_rate * share
        inputs = self._rows.inputs[places]
        if self._change is not None:
            inputs = self._change(inputs, self._order)
        losses = self._loss(self._network(inputs), self._rows.answers[places])
        if self._rows.weights is not None:
            losses = losses * self._rows.weights[places]
        loss = losses.mean()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self._recipe.clip_norm > 0:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._recipe.clip_norm)
        self._optimiser.step()
        self._step += 1
        return loss.detach()


def mean_loss(network: nn.Module, rows: Rows, loss: Loss) -> float:
    """Judge a network on rows that it did not learn from."""
    network.eval()
    batches = zip(torch.split(rows.inputs, ROWS_AT_ONCE), torch.split(rows.answers, ROWS_AT_ONCE), strict=True)
    with torch.no_grad():
        parts = [loss(network(inputs), answers).double().sum() for inputs, answers in batches]
    return float(sum(parts)) / len(rows.inputs)


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Let weights decay, but not offsets and norms, which have one dimension."""
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in learned if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in learned if one.ndim < 2], "weight_decay": 0.0},
    ]
