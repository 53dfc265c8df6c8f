"""Recurrent networks over series (``rnn``, ``lstm``): two classes or more, and regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from contracts.specs import SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.torch_base import NEEDS, training
from mldl_ray.adapters.torch_sequences import SequenceAdapter

if TYPE_CHECKING:
    import torch

SHAPE = (
    Hyperparam(
        "hidden",
        "int",
        64,
        low=1,
        high=4096,
        search=SearchDimension(kind="int", low=16, high=128, log=True),
        grid=(32, 64),
    ),
    Hyperparam("layers", "int", 1, low=1, high=16, search=SearchDimension(kind="int", low=1, high=2)),
    Hyperparam("bidirectional", "bool", True),
    Hyperparam("dropout", "float", 0.3, low=0.0, high=0.9, search=SearchDimension(kind="float", low=0.0, high=0.5)),
)


class LSTMAdapter(SequenceAdapter):
    """Long short-term memory in both directions; mean and largest state over the steps of a series.

    Source:
        Hochreiter & Schmidhuber, "Long Short-Term Memory" (1997); Schuster & Paliwal (1997) for both directions.
    """

    family: ClassVar[str] = "lstm"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="sequence",
        explain="sampled",
        sequence=True,
        early_stopping=True,
        resource="epochs",
        needs=NEEDS,
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (*SHAPE, *training(epochs=30))

    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        from torch import nn  # noqa: PLC0415  # torch loads when first used

        return self._recurrent(nn.LSTM, outputs)

    def _recurrent(self, kind: type[torch.nn.RNN | torch.nn.LSTM], outputs: int) -> torch.nn.Module:
        from mldl_ray.adapters.torch_steps import Recurrent  # noqa: PLC0415  # as above

        return Recurrent(
            kind,
            self.encoder.step_width,
            outputs,
            hidden=self.hyperparams["hidden"],
            layers=self.hyperparams["layers"],
            both=self.hyperparams["bidirectional"],
            dropout=self.hyperparams["dropout"],
        )


class RNNAdapter(LSTMAdapter):
    """Plain recurrence with tanh: half the arithmetic of ``lstm``, and a shorter memory.

    Source:
        Elman, "Finding Structure in Time" (1990).
    """

    family: ClassVar[str] = "rnn"

    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        from torch import nn  # noqa: PLC0415  # as above

        return self._recurrent(nn.RNN, outputs)
