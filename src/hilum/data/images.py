"""Pixels: from a file to the tensor that a model sees, and the contract that names every step."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hilum.artifacts.card import PixelContract
from hilum.data.pixel_options import Fit, Standardize
from hilum.errors import DataError

if TYPE_CHECKING:  # hilum.data stays free of torch until a tensor is needed
    from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """The pixel contract of a model: what happens between a decoded grey image and the network.

    size: rows and columns. fit: 'squeeze' stretches to the size (as the seed report did), 'pad' keeps the
    aspect ratio and fills the rest with black. standardize: 'dataset' subtracts `mean` and divides by `sd`
    (both in units of the value range 0..1), 'image' does so with each image's own mean and sd, which makes
    the network blind to exposure and contrast. clahe: clip limit of the adaptive histogram equalisation
    that follows the resizing (Zuiderveld, Graphics Gems IV, 1994, 8 x 8 tiles); 0 leaves it out. frame_fraction: share
    of the frame that the image fills, black around it. A network whose training images were turned and scaled
    has rarely met one that fills its frame exactly, pixel on pixel; one scaled down a little is more like
    those (Touvron et al., NeurIPS 2019, on such a gap in size).

    >>> Pixels(size=(4, 6)).apply(np.zeros((8, 8), np.uint8)).shape
    torch.Size([1, 4, 6])
    """

    size: tuple[int, int]
    fit: Fit = "squeeze"
    standardize: Standardize = "dataset"
    mean: float = 0.5
    sd: float = 0.25
    channels: int = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    clahe: float = 0.0
    frame_fraction: float = 1.0

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """Any grey image -> uint8 "rows cols" of the contract's size; this is what the cache stores.

        >>> Pixels(size=(2, 2)).prepare(np.full((4, 6), 65535, np.uint16)).tolist()
        [[0, 0], [0, 0]]
        """
        resized = resize(to_uint8(image), self.size, self.fit)
        levelled = equalised(resized, self.clahe) if self.clahe else resized
        return smaller(levelled, self.frame_fraction) if self.frame_fraction != 1 else levelled

    def normalize(self, prepared: np.ndarray) -> np.ndarray:
        """uint8 "... rows cols" -> float32 of the same shape, in the units that the network sees.

        >>> Pixels(size=(1, 2), mean=0.5, sd=0.5).normalize(np.array([[0, 255]], np.uint8)).tolist()
        [[-1.0, 1.0]]
        """
        return self.standardized(prepared.astype(np.float32) / np.float32(255))

    def standardized(self, values: np.ndarray) -> np.ndarray:
        """float32 "... rows cols" in 0..1 -> the same, centred and scaled.

        >>> Pixels(size=(1, 2), standardize="image").standardized(np.array([[0.2, 0.4]], np.float32)).round(3).tolist()
        [[-1.0, 1.0]]
        """
        if self.standardize == "image":
            mean = values.mean(axis=(-2, -1), keepdims=True)
            sd = values.std(axis=(-2, -1), keepdims=True)
            return ((values - mean) / np.maximum(sd, np.float32(1e-3))).astype(np.float32, copy=False)
        return (values - np.float32(self.mean)) / np.float32(self.sd)

    def apply(self, image: np.ndarray) -> "Tensor":
        """A grey image of any size -> the network's input, float32 "1 rows cols".

        `image`: "rows cols", uint8 (0..255), uint16 (stretched from its own minimum and maximum), or float
        in 0..1. DataError for other types, shapes, or values out of range.
        """
        import torch

        return torch.from_numpy(self.normalize(self.prepare(np.asarray(image))))[None]

    def to_contract(self) -> PixelContract:
        """What a model's card keeps of it."""
        return PixelContract(**asdict(self))

    @classmethod
    def of(cls, contract: PixelContract) -> "Pixels":
        """The inverse of `to_contract`.

        >>> Pixels.of(Pixels(size=(64, 64)).to_contract()) == Pixels(size=(64, 64))
        True
        """
        return cls(**contract.model_dump())


def smaller(image: np.ndarray, frame_fraction: float) -> np.ndarray:
    """uint8 "rows cols" scaled to `frame_fraction` of its size around the middle, black outside, linear
    interpolation.

    >>> smaller(np.full((4, 4), 8, np.uint8), 0.5).tolist()
    [[0, 0, 0, 0], [0, 8, 8, 0], [0, 8, 8, 0], [0, 0, 0, 0]]
    """
    rows, cols = image.shape
    matrix = np.array(
        [
            [frame_fraction, 0, (1 - frame_fraction) * (cols - 1) / 2],
            [0, frame_fraction, (1 - frame_fraction) * (rows - 1) / 2],
        ]
    )
    return np.asarray(cv2.warpAffine(image, matrix, (cols, rows), flags=cv2.INTER_LINEAR))


TILES = (8, 8)
"""Rows and columns of tiles whose histograms are equalised."""


def equalised(image: np.ndarray, clip: float) -> np.ndarray:
    """uint8 "rows cols" with the histogram of each tile levelled, at most `clip` times as steep as an even
    histogram would make it (CLAHE; Zuiderveld 1994).

    >>> ramp = np.tile(np.arange(100, 164, dtype=np.uint8), (64, 1))
    >>> int(np.ptp(equalised(ramp, 4.0))) > int(np.ptp(ramp))
    True
    """
    return np.asarray(cv2.createCLAHE(clipLimit=clip, tileGridSize=TILES).apply(image))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """A grey image as uint8. 16 bit is stretched from its own minimum to its own maximum, because images
    carry 10, 12 or 14 bits in 16 and the file does not say which; float must lie in 0..1.

    >>> to_uint8(np.array([[0, 4095]], np.uint16)).tolist()
    [[0, 255]]
    """
    if image.ndim != 2 or image.size == 0:
        raise DataError(
            f"an image of shape {image.shape} is not grey rows x columns", "convert it to one channel"
        )
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        low, high = int(image.min()), int(image.max())
        scale = 255.0 / max(high - low, 1)
        return np.rint((image.astype(np.float32) - low) * scale).astype(np.uint8)
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= 0.0 and high <= 1.0):  # also true for NaN
            raise DataError(f"float pixels run from {low:g} to {high:g}", "scale them to 0..1 or pass uint8")
        return np.rint(image * 255.0).astype(np.uint8)
    raise DataError(f"pixels of type {image.dtype} are not understood", "pass uint8, uint16 or float in 0..1")


def resize(image: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """uint8 "rows cols" -> uint8 of `size` (rows, columns). Area averaging to shrink, linear to grow.

    >>> resize(np.full((10, 20), 7, np.uint8), (10, 10), "pad")[:, 0].tolist()
    [0, 0, 7, 7, 7, 7, 7, 0, 0, 0]
    """
    rows, cols = size
    if fit == "squeeze":
        return _scaled(image, rows, cols)
    scale = min(rows / image.shape[0], cols / image.shape[1])
    inner = _scaled(image, max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    top, left = (rows - inner.shape[0]) // 2, (cols - inner.shape[1]) // 2
    framed = np.zeros(size, np.uint8)
    framed[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return framed


def _scaled(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    if image.shape == (rows, cols):
        return image
    shrinking = rows * cols < image.shape[0] * image.shape[1]
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (cols, rows), interpolation=way))
