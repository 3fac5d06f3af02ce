"""The lung field of an image, and the box around it.

A small encoder-decoder reads the image at 64 x 64 and decides for each pixel
whether it is lung. It was trained on phantom images alone (hilum.data.sources.phantom), whose lungs are known,
under strong changes of shape, exposure and sharpness, so that a real image is one more change. The lung field
is the air-filled lung beside heart and mediastinum, opacities included. `hilum.lungs.card.card` has its error on
phantoms; hilum.explain.lung_training makes the weights again.

The network runs in torch unless another engine is handed over as `segment`: float32 grey levels "images 64 64" ->
log-odds of the same shape.
"""

from collections.abc import Callable

import cv2
import numpy as np

from hilum.errors import DataError
from hilum.lungs.outline import outlined, reduced

Segment = Callable[[np.ndarray], np.ndarray]

LONGEST = 256
"""Pixels along the longer side of the image in which the box is measured."""

LEAST_AREA, LEAST_SIDE = 0.08, 0.35
"""Smaller lungs, as a share of the image and of each of its sides, are taken for a mistake. On the public paediatric
set 99 of 100 lung fields fill more than 0.15 of the image and 0.57 of each side."""

MOST_SIDE = 0.97
"""A box that fills more than this of both sides is a mistake as well: the network has marked everything."""


def lung_field(image: np.ndarray, segment: Segment | None = None) -> np.ndarray:
    """Where the lungs are on an image, bool "rows cols"; grey levels 0 to 255, bone bright. Empty where none is found.

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
    return outlined((segment or _in_torch())(reduced(image[None]))[0], image.shape)


def _in_torch() -> Segment:
    from hilum.lungs.segment import log_odds

    return log_odds


def measured_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the copy in which the box is measured: the network reads 64 x 64, a box needs no more.

    >>> measured_size((1500, 2000)), measured_size((90, 120))
    ((192, 256), (90, 120))
    """
    scale = min(1.0, LONGEST / max(shape))
    return max(1, round(scale * shape[0])), max(1, round(scale * shape[1]))


def lung_box(image: np.ndarray, segment: Segment | None = None) -> tuple[float, float, float, float] | None:
    """(top, left, bottom, right) of the box around the lungs of a uint8 image, as shares of its rows and columns, or
    None where no lungs are found, or such that no chest has. What is no chest may have a box all the same: the
    network knows chests alone.

    >>> lung_box(np.full((64, 64), 9, np.uint8)) is None
    True
    """
    rows, cols = measured_size(image.shape)
    small = image
    if image.shape != (rows, cols):
        small = np.asarray(cv2.resize(image, (cols, rows), interpolation=cv2.INTER_AREA))
    lung = lung_field(small, segment)
    rows, cols = np.flatnonzero(lung.any(1)), np.flatnonzero(lung.any(0))
    if lung.mean() < LEAST_AREA:
        return None
    top, bottom = rows[0] / lung.shape[0], (rows[-1] + 1) / lung.shape[0]
    left, right = cols[0] / lung.shape[1], (cols[-1] + 1) / lung.shape[1]
    if not LEAST_SIDE <= min(bottom - top, right - left) <= MOST_SIDE:
        return None
    return float(top), float(left), float(bottom), float(right)
