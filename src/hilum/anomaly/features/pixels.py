"""Raw pixels as features: every square of the image is its own feature vector, no network."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hilum.anomaly.feature_net import FeatureNet
from hilum.data.images import Pixels
from hilum.errors import RecipeError


class PixelNet(FeatureNet):
    """Squares of side x side pixels, without overlap; rows and columns that are left over are cut off."""

    description = "raw pixels"

    def __init__(self, pixels: Pixels, side: int) -> None:
        super().__init__(pixels)
        self.side = side

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """One map "batch side*side rows/side cols/side"."""
        rows, cols = (size // self.side * self.side for size in x.shape[-2:])
        return (functional.pixel_unshuffle(x[..., :rows, :cols], self.side),)


def build(pixels: Pixels, side: int = 8) -> PixelNet:
    """`side`: of a square, in pixels.

    >>> import torch
    >>> [tuple(scale.shape) for scale in build(Pixels(size=(20, 16)), side=4)(torch.zeros(1, 1, 20, 16))]
    [(1, 16, 5, 4)]
    """
    if not 1 <= side <= min(pixels.size):
        raise RecipeError(f"squares of {side} pixels do not fit images of {pixels.size}", "choose side: 8")
    return PixelNet(pixels, side)
