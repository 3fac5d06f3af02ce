"""DenseNet-121 (Huang, Liu, van der Maaten, Weinberger, CVPR 2017, table 1), with one input channel.

Stem 7x7/2 and 3x3/2 max pooling; four dense blocks of 6, 12, 24 and 16 layers with growth rate 32, each layer
a 1x1 convolution to 4 x 32 channels and a 3x3 convolution to 32, joined to all that came before; between them
a 1x1 convolution that halves the channels and 2x2 average pooling. Normalisation and activation stand before
the convolutions. The 1024 pooled channels are the embedding.

With three channels and 1000 classes this is the ImageNet network of 7,978,856 parameters; one channel saves
2 x 64 x 7 x 7 = 6,272 of them.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.data.images import Pixels
from hilum.models import AveragePool, ChestModel
from hilum.models.resnet import he_initialise


class DenseLayer(nn.Module):
    """x -> [x, F(x)]: adds `growth` channels."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        middle = 4 * growth
        self.norm1 = nn.BatchNorm2d(inside)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inside, middle, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.act2 = nn.ReLU()
        self.conv2 = nn.Conv2d(middle, growth, 3, padding=1, bias=False)

    def forward(self, x: Float[Tensor, "batch inside rows cols"]) -> Float[Tensor, "batch outside rows cols"]:
        """The same rows and columns.

        >>> DenseLayer(8, 4)(torch.zeros(1, 8, 5, 5)).shape
        torch.Size([1, 12, 5, 5])
        """
        grown = self.conv1(self.act1(self.norm1(x)))
        return torch.cat([x, self.conv2(self.act2(self.norm2(grown)))], dim=1)


def build(
    classes: Sequence[str],
    pixels: Pixels,
    blocks: Sequence[int] = (6, 12, 24, 16),
    growth: int = 32,
    width: int = 64,
    dropout: float = 0.0,
) -> ChestModel:
    """`blocks`: layers per dense block; `growth`: channels that each adds; `width`: channels of the stem;
    `dropout`: on the embedding.

    >>> from hilum.models import parameters
    >>> parameters(build(("normal", "bacteria", "virus"), Pixels(size=(224, 224))))
    6950659
    """
    layers: list[nn.Module] = [
        nn.Conv2d(pixels.channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inside = width
    for number, depth in enumerate(blocks):
        if number:
            layers += [
                nn.BatchNorm2d(inside),
                nn.ReLU(),
                nn.Conv2d(inside, inside // 2, 1, bias=False),
                nn.AvgPool2d(2, ceil_mode=True),  # a map of one pixel stays one
            ]
            inside //= 2
        for _ in range(depth):
            layers.append(DenseLayer(inside, growth))
            inside += growth
    layers += [nn.BatchNorm2d(inside), nn.ReLU()]
    model = ChestModel(
        classes,
        pixels,
        features=nn.Sequential(*layers),
        pool=AveragePool(),
        neck=nn.Dropout(dropout),
        head=nn.Linear(inside, len(classes)),
    )
    he_initialise(model)
    return model
