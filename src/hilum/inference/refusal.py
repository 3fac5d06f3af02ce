"""Images that hold no picture at all: too few pixels, or no contrast. And whether a file is in colour."""

from pathlib import Path

import cv2
import numpy as np

from hilum.data.decode import dicom_colour, facts_of, quiet_codecs, read_bytes
from hilum.data.dicom.header import is_dicom
from hilum.data.images import opened
from hilum.data.place import Radiograph
from hilum.errors import DataError, HilumError

LEAST_RANGE = 16
"""Grey levels of 256 between the 1st and the 99th percentile of a small copy; the narrowest of 5,232 paediatric
radiographs has 83."""

SMALL = 64
"""Rows and columns of that copy."""

CHROMA = 24
"""Grey levels between a pixel's strongest and weakest channel from which it counts as coloured."""

COLOURED = 0.05
"""A file in which more than this share of the pixels is coloured is in colour; a coloured letter is not enough."""

GREY_MODES = ("grey", "grey+alpha")


def check_picture(image: np.ndarray | Radiograph, least: int = 1) -> None:
    """DataError for a grey image "rows cols" with fewer than `least` rows or columns, or without contrast. `image`: as
    in `hilum.data.images.opened`.

    >>> check_picture(np.full((300, 300), 128, np.uint8))
    Traceback (most recent call last):
    hilum.errors.DataError: the image holds no picture: 0 grey levels of 256 between its darkest and its brightest ...
    >>> check_picture(np.eye(8, dtype=np.uint8), least=56)
    Traceback (most recent call last):
    hilum.errors.DataError: the image has 8 x 8 pixels, too few to be judged; give one of at least 56 x 56
    """
    radiograph = opened(image)
    rows, cols = radiograph.image.shape
    if min(rows, cols) < least:
        raise DataError(
            f"the image has {rows} x {cols} pixels, too few to be judged",
            f"give one of at least {least} x {least}",
        )
    small = radiograph.copy((0, 0, rows, cols), (min(rows, SMALL), min(cols, SMALL)))
    low, high = np.percentile(small, (1, 99))
    if high - low < LEAST_RANGE:
        raise DataError(
            f"the image holds no picture: {high - low:.0f} grey levels of 256 between its darkest and its brightest "
            f"percent, where a radiograph has more than {LEAST_RANGE}",
            "check exposure, window and export",
        )


def least_side(model: tuple[int, int], training: int | None) -> int:
    """Rows and columns that an image must have: half of what the model reads, or half of the smallest image that it
    was trained on, if that is less; a quarter of what it reads where the training images are not known.

    >>> least_side((112, 112), 224), least_side((64, 64), 28), least_side((112, 112), None)
    (56, 14, 28)
    """
    return max(1, min(model) // 4 if training is None else min(*model, training) // 2)


def in_colour(path: str | Path) -> bool:
    """Whether a file is a colour picture, and not a grey one that is stored with three channels. False for a file
    that can't be read as one: reading its grey levels says why.

    >>> in_colour("gone.png")
    False
    """
    try:
        return is_coloured(read_bytes(path), path)
    except HilumError:
        return False


def is_coloured(data: bytes, name: str | Path) -> bool:
    """The same of the bytes of a file; `name` as in `hilum.data.decode.decode`.

    >>> is_coloured(cv2.imencode(".png", np.full((32, 32, 3), (0, 0, 255), np.uint8))[1].tobytes(), "red.png")
    True
    """
    try:
        if facts_of(data, name).mode in GREY_MODES:
            return False
        if is_dicom(data):
            return _has_colour(dicom_colour(data, name))
    except HilumError:
        return False
    with quiet_codecs():
        try:
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_REDUCED_COLOR_8)
        except cv2.error:
            return False
    return _has_colour(picture)


def _has_colour(picture: np.ndarray | None) -> bool:
    return picture is not None and bool((np.ptp(picture.astype(np.int16), axis=2) > CHROMA).mean() > COLOURED)
