"""The lung field of an image, and the box around it.

A small encoder-decoder reads the image at 64 x 64 and decides for each pixel
whether it is lung. It was trained on phantom images alone (hilum.data.sources.phantom), whose lungs are known,
under strong changes of shape, exposure and sharpness, so that a real image is one more change. The lung field
is the air-filled lung beside heart and mediastinum, opacities included. `hilum.lungs.card.card` has its error on
phantoms; hilum.explain.lung_training makes the weights again.
"""

from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import load as load_tensors
from torch import Tensor

from hilum.errors import DataError, ModelError
from hilum.files import digest
from hilum.lungs.card import FOLDER, card
from hilum.lungs.net import LungNet

SIDE = 64
"""Rows and columns that the network reads and answers."""

LONGEST = 256
"""Pixels along the longer side of the image in which the box is measured."""

LIMIT = 4.0
"""Log-odds beyond this count as this much when the outline is smoothed."""

SMOOTH = 0.8
"""Standard deviation of that smoothing, pixels of the 64 x 64."""

SMALLEST = 0.01
"""A part below this share of the image is no lung."""

LEAST_AREA, LEAST_SIDE = 0.08, 0.35
"""Smaller lungs, as a share of the image and of each of its sides, are taken for a mistake. On the public paediatric
set 99 of 100 lung fields fill more than 0.15 of the image and 0.57 of each side."""

MOST_SIDE = 0.97
"""A box that fills more than this of both sides is a mistake as well: the network has marked everything."""


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
    """The lung field by a given network: the mean of its answers for image and mirror image, tidied.

    >>> field_of(LungNet().eval(), np.zeros((100, 80), np.uint8)).shape
    (100, 80)
    """
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


def lung_box(image: UInt8[np.ndarray, "rows cols"]) -> tuple[float, float, float, float] | None:
    """(top, left, bottom, right) of the box around the lungs, as shares of the image's rows and columns, or None
    where no lungs are found, or such that no chest has. What is no chest may have a box all the same: the network
    knows chests alone.

    >>> lung_box(np.full((64, 64), 9, np.uint8)) is None
    True
    """
    small = image
    if max(image.shape) > LONGEST:  # the network reads 64 x 64; a box needs no more than this
        scale = LONGEST / max(image.shape)
        size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    lung = lung_field(small)
    rows, cols = np.flatnonzero(lung.any(1)), np.flatnonzero(lung.any(0))
    if lung.mean() < LEAST_AREA:
        return None
    top, bottom = rows[0] / lung.shape[0], (rows[-1] + 1) / lung.shape[0]
    left, right = cols[0] / lung.shape[1], (cols[-1] + 1) / lung.shape[1]
    if not LEAST_SIDE <= min(bottom - top, right - left) <= MOST_SIDE:
        return None
    return float(top), float(left), float(bottom), float(right)


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


@cache
def trained() -> LungNet:
    """The network of the package, in eval mode. ModelError when weights and card do not belong together.

    >>> trained()(torch.zeros(1, 1, 64, 64)).shape, trained().training
    (torch.Size([1, 1, 64, 64]), False)
    """
    data = (FOLDER / "weights.safetensors").read_bytes()
    if digest(data) != card().weights_digest:
        raise ModelError("the weights of the lung field are not those of its card", "install hilum again")
    net = LungNet()
    net.load_state_dict({name: tensor.float() for name, tensor in load_tensors(data).items()}, strict=False)
    return net.eval().requires_grad_(False)
