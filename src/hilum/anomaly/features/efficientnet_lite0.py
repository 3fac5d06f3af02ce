"""Features of EfficientNet-Lite0 trained on ImageNet: declared as pretrained, never on chest images.

The network is that of hilum.models.efficientnet_lite0.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hilum.anomaly.feature_net import FeatureNet
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.models.efficientnet_lite0 import trunk

SCALES = (4, 10, 15)
"""The blocks whose outputs are the features: 40, 112 and 320 channels at strides 8, 16 and 32."""


class EfficientNetLite0(FeatureNet):
    """Frozen; the image is resized to `side`."""

    pretrained = True
    description = "EfficientNet-Lite0 pretrained on ImageNet"

    def __init__(self, pixels: Pixels, side: int) -> None:
        super().__init__(pixels)
        self.side = side
        resize, scale, stem, *blocks, _ = trunk(pixels, side)
        self.stem = nn.Sequential(resize, scale, stem)
        self.blocks = nn.ModuleList(blocks)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Stays in eval mode: its batch norms keep ImageNet's statistics."""
        return super().train(False)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 8, 16 and 32 of the image resized to side x side pixels, the finest first."""
        y = self.stem(x)
        maps = []
        for number, block in enumerate(self.blocks):
            y = block(y)
            if number in SCALES:
                maps.append(y)
        return tuple(maps)


def build(pixels: Pixels, side: int = 224) -> EfficientNetLite0:
    """`side`: rows and columns that images are resized to; the network was trained at 224.

    >>> build(Pixels(size=(64, 64)), side=16)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: efficientnet_lite0: side is 16; choose 32 or more, 224 is usual
    """
    if side < 32:
        raise RecipeError(f"efficientnet_lite0: side is {side}", "choose 32 or more, 224 is usual")
    return EfficientNetLite0(pixels, side)
