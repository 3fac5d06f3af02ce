"""Residual networks of basic blocks (He et al., CVPR 2016), with configurable activation, width and depth.

Stem 7x7/2 and 3x3/2 max pooling; stages of basic blocks, each stage halving the size and doubling the
channels; global average pooling; a linear layer to the embedding; a linear head. The input has one channel.
Shortcuts that change shape are 1x1 convolutions (option B). Stages (2, 2, 2, 2) make ResNet18, (3, 4, 6, 3)
ResNet34.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from hilum.data.images import Pixels
from hilum.models import AveragePool, ChestModel

ACTIVATIONS = {"gelu": nn.GELU, "relu": nn.ReLU}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the shortcut around them: act(shortcut(x) + F(x))."""

    def __init__(self, inside: int, outside: int, stride: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.act2 = activation()
        self.shortcut = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(
        self, x: Float[Tensor, "batch inside rows cols"]
    ) -> Float[Tensor, "batch outside out_rows out_cols"]:
        """Rows and columns are divided by the stride, rounded up.

        >>> import torch
        >>> BasicBlock(4, 8, 2, nn.ReLU)(torch.zeros(1, 4, 10, 10)).shape
        torch.Size([1, 8, 5, 5])
        """
        inner = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        return self.act2(self.shortcut(x) + inner)


def build(
    classes: Sequence[str],
    pixels: Pixels,
    stages: Sequence[int] = (2, 2, 2, 2),
    width: int = 64,
    activation: Literal["gelu", "relu"] = "relu",
    embedding: int = 512,
    dropout: float = 0.0,
) -> ChestModel:
    """`stages`: basic blocks per stage; `width`: channels of the first stage; `embedding`: length of the
    vector before the head; `dropout`: on that vector.

    >>> from hilum.models import parameters
    >>> parameters(build(("normal", "pneumonia"), Pixels(size=(96, 96)), width=32, embedding=256))
    2862050
    """
    act = ACTIVATIONS[activation]
    layers: list[nn.Module] = [
        nn.Conv2d(pixels.channels, width, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(width),
        act(),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    inside = width
    for stage, blocks in enumerate(stages):
        outside = width * 2**stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(BasicBlock(inside, outside, stride, act))
            inside = outside
    model = ChestModel(
        classes,
        pixels,
        features=nn.Sequential(*layers),
        pool=AveragePool(),
        neck=nn.Sequential(nn.Linear(inside, embedding), nn.Dropout(dropout)),
        head=nn.Linear(embedding, len(classes)),
    )
    he_initialise(model)
    return model


def he_initialise(model: nn.Module) -> None:
    """Draws the weights of all convolutions anew, in place: normal with the standard deviation
    sqrt(2 / (filters x kernel pixels)).

    He et al. 2015 (arXiv:1502.01852), eq. 14: keeps the variance of gradients through layers with ReLU.

    >>> layer = nn.Conv2d(16, 64, 3)
    >>> he_initialise(layer)
    >>> round(float(layer.weight.detach().std()), 2)
    0.06
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
