"""The lung field of an image, and the share of an explanation that lies inside it.

A small encoder-decoder (Ronneberger et al., MICCAI 2015) reads the image at 64 x 64 and decides for each pixel
whether it is lung. It was trained on phantom images alone (hilum.data.sources.phantom), whose lungs are known,
under strong changes of shape, exposure and sharpness, so that a real image is one more change. The lung field
is the air-filled lung beside heart and mediastinum, opacities included. `card` has its error on phantoms;
hilum.explain.lung_training makes the weights again.
"""

from functools import cache
from importlib.resources import files

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import ArrayLike
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from hilum.artifacts.card import LungCard
from hilum.errors import DataError, ModelError
from hilum.files import digest

SIDE = 64
"""Rows and columns that the network reads and answers."""

FOLDER = files("hilum") / "weights" / "lung_field"
LEVELS = (12, 20, 32, 48)
LIMIT = 4.0
"""Log-odds beyond this count as this much when the outline is smoothed."""

SMOOTH = 0.8
"""Standard deviation of that smoothing, pixels of the 64 x 64."""

SMALLEST = 0.01
"""A part below this share of the image is no lung."""


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


def card() -> LungCard:
    """What is known about the weights: the command that makes them, their digest, the error on phantom images.

    >>> 0.5 < card().iou.mean < 1
    True
    """
    return LungCard.model_validate_json((FOLDER / "card.json").read_text(encoding="utf-8"))


def standardised(images: UInt8[np.ndarray, "images rows cols"]) -> Float[Tensor, "images 1 64 64"]:
    """Images as the network reads them: 64 x 64, each with mean 0 and variance 1.

    >>> standardised(np.zeros((1, 100, 80), np.uint8)).abs().max()  # a blank image stays finite
    tensor(0.)
    """
    small = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images])
    x = torch.from_numpy(small.astype(np.float32))[:, None]
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1.0)


@torch.no_grad()
def field_of(net: LungNet, image: UInt8[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """The lung field by a given network: the mean of its answers for image and mirror image, tidied."""
    x = standardised(image[None])
    odds = ((net(x) + net(x.flip(3)).flip(3)) / 2)[0, 0].numpy()
    odds = cv2.GaussianBlur(np.clip(odds, -LIMIT, LIMIT), (0, 0), SMOOTH)
    return tidy(cv2.resize(odds, image.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0)


def lung_field(image: np.ndarray) -> Bool[np.ndarray, "rows cols"]:
    """Where the lungs are on an image, grey levels 0 to 255, bone bright. Empty where none is found.

    The two largest parts of what the network marks as lung, without holes. DataError for anything but uint8 with
    two axes.

    >>> from hilum.data.sources.phantom import draw
    >>> phantom = draw(np.random.default_rng(5), "normal")
    >>> lung = lung_field(phantom.image)
    >>> lung.shape == phantom.image.shape, bool((lung & phantom.lung).sum() / (lung | phantom.lung).sum() > 0.7)
    (True, True)
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 2 or not image.size:
        raise DataError(
            f"an image of shape {np.shape(image)} and type {np.asarray(image).dtype} has no lung field",
            "give uint8 grey levels, rows x cols",
        )
    return field_of(trained(), image)


def tidy(marked: Bool[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """The two largest connected parts, holes filled; a part below 1 % of the image is dropped.

    >>> spots = np.zeros((20, 20), bool)
    >>> spots[2:9, 2:9], spots[5, 5], spots[2:9, 11:18], spots[15, 15] = True, False, True, True
    >>> int(tidy(spots).sum())
    98
    """
    _, names, facts, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=4)
    areas = facts[1:, cv2.CC_STAT_AREA]
    kept = [
        place for place in np.argsort(-areas, kind="stable")[:2] if areas[place] >= SMALLEST * marked.size
    ]
    parts = np.isin(names, np.array(kept, int) + 1).astype(np.uint8)
    outlines, _ = cv2.findContours(parts, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(parts, outlines, -1, 1, cv2.FILLED)
    return parts.astype(bool)


def share_inside(values: ArrayLike, lung: Bool[np.ndarray, "rows cols"]) -> tuple[float, float]:
    """The share of a map inside the lungs, and the share of the image that they fill.

    `values` "rows cols": evidence for the class; what is below 0 is evidence against it and is left out. The
    second number is what a map without any sense of place would score. (NaN, area) for a map without anything
    above 0.

    DataError when map and lung field differ in size.

    >>> share_inside([[3.0, 1.0], [-5.0, 0.0]], np.array([[True, False], [True, False]]))
    (0.75, 0.5)
    """
    heat, lung = np.asarray(values, np.float64), np.asarray(lung, bool)
    if heat.shape != lung.shape or heat.ndim != 2:
        raise DataError(
            f"a map of {heat.shape} does not fit a lung field of {lung.shape}", "resize one of them"
        )
    weight = np.clip(np.nan_to_num(heat), 0, None)
    total = weight.sum()
    return float(weight[lung].sum() / total) if total > 0 else float("nan"), float(lung.mean())


@cache
def trained() -> LungNet:
    """The network of the package, in eval mode. ModelError when weights and card do not belong together."""
    data = (FOLDER / "weights.safetensors").read_bytes()
    if digest(data) != card().weights_digest:
        raise ModelError("the weights of the lung field are not those of its card", "install hilum again")
    net = LungNet()
    net.load_state_dict({name: tensor.float() for name, tensor in load_tensors(data).items()}, strict=False)
    return net.eval().requires_grad_(False)
