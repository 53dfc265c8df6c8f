"""Multilayer perceptron (``mlp``): two classes or more, and regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from contracts.specs import SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.torch_base import NEEDS, TorchAdapter, training

if TYPE_CHECKING:
    import torch


class MLPAdapter(TorchAdapter):
    """Fully connected layers of one width on scaled columns."""

    family: ClassVar[str] = "mlp"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="scaled",
        explain="sampled",
        early_stopping=True,
        resource="epochs",
        needs=NEEDS,
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam(
            "width",
            "int",
            128,
            low=1,
            high=16_384,
            search=SearchDimension(kind="int", low=32, high=256, log=True),
            grid=(64, 128),
        ),
        Hyperparam("depth", "int", 2, low=0, high=64, search=SearchDimension(kind="int", low=1, high=3)),
        Hyperparam(
            "dropout",
            "float",
            0.3,
            low=0.0,
            high=0.9,
            search=SearchDimension(kind="float", low=0.0, high=0.5),
        ),
        Hyperparam("activation", "choice", "relu", choices=("relu", "silu", "tanh")),
        *training(epochs=15),
    )

    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        from torch import nn  # noqa: PLC0415  # torch loads when first used

        from mldl_ray.adapters.torch_layers import ACTIVATIONS  # noqa: PLC0415  # as above

        layers: list[nn.Module] = []
        for _ in range(self.hyperparams["depth"]):
            layers += [nn.Linear(width, self.hyperparams["width"]), ACTIVATIONS[self.hyperparams["activation"]]()]
            layers.append(nn.Dropout(self.hyperparams["dropout"]))
            width = self.hyperparams["width"]
        return nn.Sequential(*layers, nn.Linear(width, outputs))
