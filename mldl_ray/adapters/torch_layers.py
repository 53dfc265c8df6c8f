"""Layers that torch lacks and several of our families use. Importing it loads torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Pixels(nn.Module):
    """From rows of pixels (row by row, the channels of a pixel side by side) to standardised images.

    One shift and one scale for all pixels: a scale of each its own would blow up the noise at the rim. A missing pixel
    is an average one.
    """

    level: Tensor

    def __init__(self, size: tuple[int, int, int], shift: float, scale: float) -> None:
        super().__init__()
        self.size = size  # height, width, channels
        self.register_buffer("level", torch.tensor([shift, scale]))

    def forward(self, rows: Tensor) -> Tensor:
        """Give images ``(n, channels, height, width)`` of rows ``(n, height · width · channels)``."""
        shift, scale = self.level
        scaled = torch.where(torch.isnan(rows), 0.0, (rows - shift) / scale)
        return scaled.reshape(-1, *self.size).permute(0, 3, 1, 2).contiguous()


def shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to ``most`` pixels in each direction; what comes in at the rim repeats the rim."""
    n, _, height, width = images.shape
    down, right = torch.randint(-most, most + 1, (2, n, 1), generator=generator).to(images.device)
    rows = (torch.arange(height, device=images.device) + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right).clamp(0, width - 1)
    moved = images.gather(2, rows[:, None, :, None].expand(images.shape))
    return moved.gather(3, columns[:, None, None, :].expand(images.shape))
