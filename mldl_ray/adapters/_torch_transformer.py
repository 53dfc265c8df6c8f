"""Transformer encoder over series (``transformer``): two classes or more, and regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from contracts.errors import Incompatible
from contracts.specs import SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.torch_base import NEEDS, training
from mldl_ray.adapters.torch_sequences import SequenceAdapter

if TYPE_CHECKING:
    import torch


class TransformerAdapter(SequenceAdapter):
    """Layers of attention over the steps of a series; mean and largest state over them."""

    family: ClassVar[str] = "transformer"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="sequence",
        explain="sampled",
        sequence=True,
        early_stopping=True,
        resource="epochs",
        needs=NEEDS,
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "head_width",
            "int",
            16,
            low=2,
            high=512,
            grid=(8, 16),
        ),
        Hyperparam("heads", "int", 4, low=1, high=64, search=SearchDimension(kind="int", low=2, high=8)),
        Hyperparam("layers", "int", 2, low=1, high=48, search=SearchDimension(kind="int", low=1, high=3)),
        Hyperparam("dropout", "float", 0.2, low=0.0, high=0.9, search=SearchDimension(kind="float", low=0.0, high=0.5)),
        *training(epochs=40),
    )

    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        from mldl_ray.adapters.torch_steps import Transformer  # noqa: PLC0415  # torch loads when first used

        heads, head_width = self.hyperparams["heads"], self.hyperparams["head_width"]
        if heads * head_width % 2:
            raise Incompatible(f"heads × head_width is {heads} × {head_width}; the product must be even")
        return Transformer(
            self.encoder.step_width,
            outputs,
            width=heads * head_width,
            heads=heads,
            layers=self.hyperparams["layers"],
            dropout=self.hyperparams["dropout"],
        )
