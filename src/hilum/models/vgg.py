"""The seed report's VGG-like network (task 1a): blocks of 3x3 convolutions, then a few dense layers.

The report gives no layer sizes; it names a filter layer `conv2d_8`, so there are at least nine convolutions.
Ours: 32-32-M 64-64-M 128-128-M 256-256-256-M (M = 2x2 max pooling), after Simonyan & Zisserman (ICLR 2015),
with batch normalisation (Ioffe & Szegedy 2015) so that it trains from scratch in a few epochs.
"""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.models import AveragePool, ChestModel, SingleLogit
from hilum.models.resnet import he_initialise


def build(
    classes: Sequence[str],
    pixels: Pixels,
    blocks: Sequence[Sequence[int]] = ((32, 32), (64, 64), (128, 128), (256, 256, 256)),
    dense: Sequence[int] = (256, 128),
    pool: Literal["average", "flatten"] = "average",
    dropout: float = 0.3,
) -> ChestModel:
    """`blocks`: channels of the convolutions, each block ending in 2x2 max pooling. `dense`: widths of the
    hidden dense layers; the last one is the embedding. `pool`: 'average' works for every image size,
    'flatten' keeps the place of each feature and ties the weights to `pixels.size`.

    RecipeError when the image is too small for the number of blocks.

    >>> model = build(("normal", "pneumonia"), Pixels(size=(200, 224)))
    >>> sum(isinstance(layer, nn.Conv2d) for layer in model.features)
    9
    """
    rows, cols = (side // 2 ** len(blocks) for side in pixels.size)
    if min(rows, cols) < 1:
        raise RecipeError(
            f"an image of {pixels.size[0]} x {pixels.size[1]} px is too small for {len(blocks)} poolings",
            f"use at least {2 ** len(blocks)} px or fewer blocks",
        )
    channels = [pixels.channels, *(width for block in blocks for width in block)]
    layers: list[nn.Module] = []
    position = 0
    for block in blocks:
        for _ in block:
            layers += [
                nn.Conv2d(channels[position], channels[position + 1], 3, padding=1, bias=False),
                nn.BatchNorm2d(channels[position + 1]),
                nn.ReLU(inplace=True),
            ]
            position += 1
        layers.append(nn.MaxPool2d(2))
    width = channels[-1] * (rows * cols if pool == "flatten" else 1)
    neck: list[nn.Module] = []
    for hidden in dense:
        neck += [nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        width = hidden
    head = SingleLogit(width) if len(classes) == 2 else nn.Linear(width, len(classes))
    model = ChestModel(
        classes,
        pixels,
        features=nn.Sequential(*layers),
        pool=nn.Flatten() if pool == "flatten" else AveragePool(),
        neck=nn.Sequential(*neck),
        head=head,
    )
    he_initialise(model)
    return model
