"""Radiographs in the page: shrunk, encoded as data, never stretched; a placeholder where none can be read."""

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hilum.data.decode import read_grey
from hilum.data.images import to_uint8
from hilum.data.place import scaled
from hilum.errors import DataError

QUALITY = 88
"""WebP quality. At 320 px an image takes about 10 kB."""


@dataclass(frozen=True)
class Picture:
    """One radiograph on the page. `source` is a data URI, empty when the file could not be read."""

    name: str
    source: str
    rows: int
    columns: int


def picture_of(path: str | Path, longest: int = 320) -> Picture:
    """The radiograph at `path`, at most `longest` pixels along its longer side, in its own aspect ratio.

    A file that is gone or damaged gives a Picture without source; the report prints a placeholder.

    >>> picture_of("gone.png", 320)
    Picture(name='gone.png', source='', rows=320, columns=320)
    """
    path = Path(path)
    try:
        image = to_uint8(read_grey(path))  # the grey levels that a network sees
    except (DataError, OSError):
        return Picture(path.name, "", longest, longest)
    image = _shrunk(image, longest)
    return Picture(path.name, data_uri(image), *image.shape)


def _shrunk(image: np.ndarray, longest: int) -> np.ndarray:
    scale = min(1.0, longest / max(image.shape))
    size = (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale)))
    return scaled(image, size)  # both sides by the same factor: nothing is squeezed


def data_uri(image: np.ndarray, quality: int = QUALITY) -> str:
    """A grey image "rows cols" of any type that `to_uint8` understands, as WebP in a data URI; `quality` from 1 to
    100.

    >>> data_uri(np.zeros((8, 8), np.uint8))[:23]
    'data:image/webp;base64,'
    """
    seen = image if image.dtype == np.uint8 else to_uint8(image)  # a palette has colours
    done, data = cv2.imencode(".webp", seen, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise DataError(f"a picture of {image.shape[0]} x {image.shape[1]} px can't be encoded as WebP")
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")


Image = Picture
"""The old name, for sections that have no folder of their own yet."""
