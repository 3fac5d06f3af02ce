"""The network of the lung field: a small encoder-decoder (Ronneberger et al., MICCAI 2015)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEVELS = (12, 20, 32, 48)
"""Channels from the finest to the coarsest level."""


class LungNet(nn.Module):
    """From standardised images "batch 1 64 64" to the log-odds of lung, of the same shape.

    >>> LungNet()(torch.zeros(2, 1, 64, 64)).shape, sum(w.numel() for w in LungNet().parameters()) < 100_000
    (torch.Size([2, 1, 64, 64]), True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, LEVELS[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList(
            nn.Sequential(_conv(before, after), _conv(after, after))
            for before, after in zip((LEVELS[0], *LEVELS[:-1]), LEVELS, strict=True)
        )
        self.up = nn.ModuleList(
            _conv(below + here, here) for below, here in zip(LEVELS[:0:-1], LEVELS[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(LEVELS[0], 4, 1)

    def forward(self, x: Float[Tensor, "batch 1 64 64"]) -> Float[Tensor, "batch 1 64 64"]:
        """Log-odds."""
        x = self.stem(x)
        kept: list[Tensor] = []
        for level in self.down:
            x = level(nn.functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        for level, skipped in zip(self.up, kept[-2::-1], strict=True):
            wide = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = level(torch.cat([wide, skipped], 1))
        return nn.functional.pixel_shuffle(self.last(x), 2)


def _conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
