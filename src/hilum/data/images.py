"""Pixels: from a file to the tensor that a model sees, and the contract that names every step."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hilum.artifacts.card import PixelContract
from hilum.data.levels import stretched
from hilum.data.pixel_options import Fit, Standardize
from hilum.data.place import Place, Radiograph, letterboxed, place_of, resampled
from hilum.errors import DataError
from hilum.lungs.field import Segment

if TYPE_CHECKING:  # hilum.data stays free of torch until a tensor is needed
    from torch import Tensor


@dataclass(frozen=True)
class Pixels:
    """The pixel contract of a model: what happens between a decoded grey image and the network.

    size: rows and columns. fit: the part of the image that is stretched to the size: 'squeeze' all of it (as the
    seed report did), 'pad' all of it in its own aspect ratio, with its reflection beside it, 'lungs' the box around
    the lungs (hilum.lungs.field), so that the camera's aspect, framing, margins and markers stay outside. trim: an
    even frame around the image, black or white, is cut off first. standardize: 'dataset' subtracts `mean` and divides
    by `sd` (both in units of the value range 0..1), 'image' does so with the mean and sd of the part that the network
    sees, which makes it blind to exposure and contrast.

    >>> Pixels(size=(4, 6)).apply(np.zeros((8, 8), np.uint8)).shape
    torch.Size([1, 4, 6])
    """

    size: tuple[int, int]
    fit: Fit | Literal["letterbox"] = "squeeze"
    standardize: Standardize = "dataset"
    mean: float = 0.5
    sd: float = 0.25
    channels: int = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    trim: bool = True

    def place(self, image: np.ndarray | Radiograph, segment: Segment | None = None) -> Place:
        """The part of a grey image that the network sees. `segment`: as in `place_of`.

        >>> Pixels(size=(4, 4)).place(np.eye(8, dtype=np.uint8) * 255).scaled((8, 8))
        (0.0, 0.0, 8.0, 8.0)
        """
        fit: Fit = "pad" if self.fit == "letterbox" else self.fit
        return place_of(opened(image), self.size, fit, self.trim, segment)

    def prepare(self, image: np.ndarray | Radiograph, place: Place | None = None) -> np.ndarray:
        """Any grey image -> uint8 "rows cols" of the contract's size; this is what the cache stores. `place`: the
        part to take, where it is known already or belongs to another image (a mask is cut like its radiograph).
        An image of which several copies are made is `opened` once.

        >>> Pixels(size=(2, 2)).prepare(np.full((4, 6), 65535, np.uint16)).tolist()
        [[0, 0], [0, 0]]
        """
        radiograph = opened(image)
        if self.fit == "letterbox":  # for pictures that people look at, not for models
            return letterboxed(radiograph.image, self.size)
        return resampled(radiograph, place or self.place(radiograph), self.size)

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

        `image`: "rows cols", uint8 (0..255), uint16 (stretched over its levels in use), or float in
        0..1. DataError for other types, shapes, or values out of range.
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


def opened(image: np.ndarray | Radiograph) -> Radiograph:
    """A grey image, as in `to_uint8`, of which copies are made; one that is opened already as it is.

    >>> opened(np.zeros((2, 3), np.uint8)).image.shape
    (2, 3)
    """
    return image if isinstance(image, Radiograph) else Radiograph(to_uint8(image))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """A grey image as uint8. 16 bit, with or without a sign, is stretched over its levels in use
    (`hilum.data.levels`), because images carry 10, 12 or 14 bits in 16 and the file does not say which; float must
    lie in 0..1.

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
        return stretched(image)
    if image.dtype == np.int16:
        return stretched(image.view(np.uint16) ^ np.uint16(0x8000))  # the order of the values stays
    if np.issubdtype(image.dtype, np.floating):
        low, high = float(image.min()), float(image.max())
        if not (low >= 0.0 and high <= 1.0):  # also true for NaN
            raise DataError(f"float pixels run from {low:g} to {high:g}", "scale them to 0..1 or pass uint8")
        return np.rint(image * 255.0).astype(np.uint8)
    raise DataError(f"pixels of type {image.dtype} are not understood", "pass uint8, uint16 or float in 0..1")
