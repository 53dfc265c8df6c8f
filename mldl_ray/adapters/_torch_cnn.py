"""Convolutional network (``cnn``): images as rows of pixels; two classes or more, and regression."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from contracts.errors import Incompatible
from contracts.specs import EarlyStopping, SearchDimension
from mldl_ray.adapters.base import Capabilities
from mldl_ray.adapters.encoder import Matrix
from mldl_ray.adapters.hyperparams import Hyperparam
from mldl_ray.adapters.links import Doubles
from mldl_ray.adapters.torch_base import NEEDS, TorchAdapter, training

if TYPE_CHECKING:
    import torch

_CONVOLUTIONS = 2  # in each block, before its size is halved


class CNNAdapter(TorchAdapter):
    """Blocks of 3×3 convolutions, each half the size and twice the channels of the one before, then a hidden layer.

    The columns are the pixels of an image, row by row, and the channels of a pixel side by side.
    """

    family: ClassVar[str] = "cnn"
    capabilities: ClassVar[Capabilities] = Capabilities(
        tasks=frozenset({"classification", "regression"}),
        style="plain",
        explain="sampled",
        early_stopping=True,
        resource="epochs",
        needs=NEEDS,
    )
    settings: ClassVar[tuple[Hyperparam, ...]] = (
        Hyperparam("height", "int", 0, low=0, high=4096),  # these three: 0 finds out, see image_size
        Hyperparam("width", "int", 0, low=0, high=4096),
        Hyperparam("channels", "int", 0, low=0, high=1024),
        Hyperparam(
            "filters",
            "int",
            16,
            low=1,
            high=4096,
            search=SearchDimension(kind="int", low=8, high=32, log=True),
            grid=(8, 16),
        ),
        Hyperparam("blocks", "int", 2, low=0, high=8),
        Hyperparam("hidden", "int", 128, low=1, high=16_384),
        Hyperparam(
            "dropout",
            "float",
            0.3,
            low=0.0,
            high=0.9,
            search=SearchDimension(kind="float", low=0.0, high=0.5),
        ),
        Hyperparam("shift", "int", 0, low=0, high=64),  # augmentation: pixels that an image is moved by at most
        *training(epochs=15),
    )
    rows_at_once: ClassVar[int] = 32  # 0.8 ms a row of Fashion-MNIST, against 1.8 for 512: they stay in the cache

    _level = (0.0, 1.0)  # mean and deviation of all pixels in training; those of a loaded model lie in its network

    def _fit(self, M: Matrix, answers: npt.NDArray[Any], weights: Doubles | None,
             valid: tuple[Matrix, npt.NDArray[Any]] | None, stopping: EarlyStopping | None) -> None:  # fmt: skip
        foreign = [column.name for column in self.schema.columns if column.kind != "numeric" and not column.empty]
        if foreign:
            raise Incompatible(
                f"family cnn takes pixels, which are numbers; column {foreign[0]!r} is none: drop it",
                {"column": foreign[0]},
            )
        seen = np.asarray(M[~np.isnan(M)], dtype=np.float64)
        self._level = (float(seen.mean()), float(seen.std()) or 1.0)
        super()._fit(M, answers, weights, valid, stopping)

    def _network(self, width: int, outputs: int) -> torch.nn.Module:
        from torch import nn  # noqa: PLC0415  # torch loads when first used

        from mldl_ray.adapters.torch_layers import Pixels  # noqa: PLC0415  # as above

        height, across, channels = self._size(width)
        layers: list[nn.Module] = [Pixels((height, across, channels), *self._level)]
        for block in range(self.hyperparams["blocks"]):
            filters = self.hyperparams["filters"] * 2**block
            for _ in range(_CONVOLUTIONS):
                layers.append(nn.Conv2d(channels, filters, 3, padding=1, bias=False))
                layers += [nn.BatchNorm2d(filters), nn.ReLU()]
                channels = filters
            layers.append(nn.MaxPool2d(2))
            height, across = height // 2, across // 2
        layers += [nn.Flatten(), nn.Dropout(self.hyperparams["dropout"])]
        layers += [nn.Linear(height * across * channels, self.hyperparams["hidden"]), nn.ReLU()]
        return nn.Sequential(
            *layers, nn.Dropout(self.hyperparams["dropout"]), nn.Linear(self.hyperparams["hidden"], outputs)
        )

    def _size(self, width: int) -> tuple[int, int, int]:
        size = image_size(width, *(self.hyperparams[name] for name in ("height", "width", "channels")))
        blocks = self.hyperparams["blocks"]
        if min(size[:2]) < 2**blocks:
            raise Incompatible(
                f"an image of {size[0]}×{size[1]} pixels cannot be halved {blocks} times; lower blocks",
                {"blocks": blocks},
            )
        return size

    def _change(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Move each image a little, with the setting ``shift``."""
        if self.hyperparams["shift"] == 0:
            return inputs
        from mldl_ray.adapters.torch_layers import shifted  # noqa: PLC0415  # as above

        size = self._size(inputs.shape[1])
        images = inputs.reshape(-1, *size).permute(0, 3, 1, 2)
        return shifted(images, self.hyperparams["shift"], generator).permute(0, 2, 3, 1).flatten(1)


def image_size(pixels: int, height: int = 0, width: int = 0, channels: int = 0) -> tuple[int, int, int]:
    """Find the size of images with so many columns: what is 0 is worked out.

    Without channels there is one, or three when one gives no square; without height and width they are equal.

    Raises:
        Incompatible: No size fits.

    >>> image_size(784), image_size(3072), image_size(12, height=3)
    ((28, 28, 1), (32, 32, 3), (3, 4, 1))
    """
    square = not (height or width)
    for depth in (channels,) if channels else (1, 3) if square else (1,):
        high = height or (math.isqrt(pixels // depth) if square else pixels // depth // width)
        wide = width or (high if square else pixels // depth // high)
        if high * wide * depth == pixels:
            return high, wide, depth
    raise Incompatible(
        f"{pixels} columns are no image of height {height or 'any'}, width {width or 'any'} and {channels or 'any'} "
        "channel(s); set height, width and channels, and drop the columns that are no pixels",
        {"columns": pixels},
    )
