"""The contract of a feature network: from an image to the patch features that detectors read; building by name.

Every file in features/ is one network; its file name is the value of a detector's option `features`, and it offers
`build(pixels, **options) -> FeatureNet`. A dotted name loads somebody else's.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly import features
from hilum.anomaly.healthy import HealthyImages
from hilum.builders import built, find_build, with_build
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance


class FeatureNet(nn.Module):
    """A network with maps of features at one or more scales.

    A file implements `learn` (fixed networks have nothing to learn) and `forward`, and states in `description`,
    for the report, where the features come from.
    """

    pretrained: bool = False
    """True when its weights come from elsewhere."""
    description: str = ""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.pixels = pixels

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains on healthy images, or does nothing. torch's global generator is already seeded."""

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps "batch dim rows cols" of each scale, the finest first."""
        raise NotImplementedError


def names() -> list[str]:
    """The networks that this package brings.

    >>> names()
    ['contrastive', 'efficientnet_lite0', 'pixels', 'pretext', 'random']
    """
    return with_build(features.__name__, features.__path__)


def build(name: str, pixels: Pixels, options: dict[str, Any] | None = None) -> FeatureNet:
    """A feature network. RecipeError for an unknown name or option, with the nearest known one.

    >>> maps = build("random", Pixels(size=(64, 64)))(torch.zeros(2, 1, 64, 64))
    >>> [tuple(scale.shape) for scale in maps]
    [(2, 32, 16, 16), (2, 64, 8, 8), (2, 128, 4, 4)]
    """
    options = options or {}
    maker = find_build("feature network", name, features.__name__, names(), options, given=1)
    return built("feature network", name, maker, pixels, **options)


def chosen_scales(maps: tuple[Tensor, ...], layers: Sequence[int] | None) -> tuple[Tensor, ...]:
    """The scales at these positions (0 = finest), or all for None; RecipeError if one does not exist.

    >>> [scale.shape[1] for scale in chosen_scales((torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4)), [1])]
    [3]
    """
    if layers is None:
        return maps
    for layer in layers:
        if not 0 <= layer < len(maps):
            raise RecipeError(
                f"layer {layer} does not exist, the features have {len(maps)} scales",
                f"choose from 0 to {len(maps) - 1}",
            )
    return tuple(maps[layer] for layer in sorted(set(layers)))


def patch_features(maps: tuple[Tensor, ...], neighbourhood: int = 3) -> Float[Tensor, "batch dim rows cols"]:
    """One vector per place of the finest map: each scale averaged over a neighbourhood of places, the coarser
    ones interpolated to the finest, all laid end to end (Roth et al., PatchCore, CVPR 2022, section 3.1).

    >>> patch_features((torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4))).shape
    torch.Size([1, 5, 8, 8])
    """
    size = maps[0].shape[-2:]
    averaged = []
    for scale in maps:
        if neighbourhood > 1:
            scale = functional.avg_pool2d(
                scale, neighbourhood, stride=1, padding=neighbourhood // 2, count_include_pad=False
            )
        if scale.shape[-2:] != size:
            scale = functional.interpolate(scale, size=size, mode="bilinear", align_corners=False)
        averaged.append(scale)
    return torch.cat(averaged, dim=1)
