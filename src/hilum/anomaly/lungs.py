"""The lungs of one image, with all that opacities of the same image need again and again, computed once."""

from functools import cached_property

import cv2
import numpy as np

Layer = np.ndarray  # float32 "rows cols"


class Lungs:
    """`mask`: bool "rows cols", True in the lungs. The mask must not be changed afterwards.

    >>> mask = np.zeros((64, 64), bool)
    >>> mask[20:44, 8:28] = True
    >>> lungs = Lungs(mask)
    >>> lungs.side, len(lungs.pixels[0]), bool(lungs.halves[1].mask.any())
    (64, 480, True)
    """

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask
        self.shape = mask.shape
        self.side = min(mask.shape)

    @cached_property
    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the lung pixels."""
        rows, cols = self.mask.nonzero()
        return rows, cols

    @cached_property
    def halves(self) -> tuple["Lungs", "Lungs"]:
        """The lungs right and left of the middle of the lung pixels; both where one half has none."""
        centre = round(float(self.pixels[1].mean()))
        right, left = self.mask.copy(), self.mask.copy()
        right[:, :centre] = False
        left[:, centre:] = False
        return (Lungs(right) if right.any() else self, Lungs(left) if left.any() else self)

    @cached_property
    def inner(self) -> "Lungs":
        """Lung pixels near the midline of the chest, in the middle third of its height; all where there are none."""
        rows, cols = self.shape
        y, x = np.arange(rows)[:, None], np.arange(cols)[None]
        height = np.quantile(self.pixels[0], (0.25, 0.75))
        near = np.abs(x - cols / 2) < 0.22 * cols
        border = self.mask & near & (y > height[0]) & (y < height[1])
        return Lungs(border) if border.any() else self

    @cached_property
    def inside(self) -> Layer:
        """The mask with a soft border, 0..1."""
        return soft(self.mask.astype(np.uint8), 0.015 * self.side)

    @cached_property
    def reach(self) -> Layer:
        """The lungs and a little of what lies around them, with a soft border, 0..1."""
        width = max(3, int(0.05 * self.side) | 1)
        wide = cv2.dilate(self.mask.astype(np.uint8), np.ones((width, width), np.uint8))
        return soft(np.asarray(wide), 0.015 * self.side)


def soft(mask: np.ndarray, sd: float) -> Layer:
    """A mask with a border as soft as a Gaussian of so many pixels.

    >>> soft(np.eye(3), 0.3).dtype
    dtype('float32')
    """
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sd, 0.3)))
