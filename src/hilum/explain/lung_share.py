"""The lungs in the pixels that a model sees, and the share of an explanation that lies inside them."""

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

from hilum.data.images import Pixels, to_uint8
from hilum.data.place import resampled
from hilum.errors import DataError
from hilum.lungs.field import lung_field


def lungs_seen(pixels: Pixels, image: np.ndarray) -> Bool[np.ndarray, "rows cols"]:
    """The lung field of a whole grey image, cut and resampled as the model sees the image.

    >>> lungs_seen(Pixels(size=(8, 8)), np.zeros((64, 64), np.uint8)).any()
    np.False_
    """
    grey = to_uint8(image)
    field = lung_field(grey).astype(np.uint8) * 255
    return resampled(field, pixels.place(grey), pixels.size) > 127


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
