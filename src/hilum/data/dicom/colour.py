"""The picture of a DICOM file in colour: for the question whether it is a colour picture, not for its grey levels."""

import cv2
import numpy as np

from hilum.data.dicom.grey import checked_dataset, from_palette
from hilum.data.dicom.header import quiet_pydicom
from hilum.data.dicom.pixels import BLUE_RED, colour_values, layout_of

STEP = 8
"""Every so many rows and columns are looked at."""


def read_colour(data: bytes, most: int) -> np.ndarray | None:
    """Some pixels of the picture in the bytes of a file, uint8 "rows cols 3" in any order of the channels; None for
    one that is stored in grey. NotRead as in `hilum.data.dicom.grey.read_image`.

    >>> read_colour(bytes(128) + b"DICM", 2**27)
    Traceback (most recent call last):
    hilum.data.dicom.header.NotRead: damaged: a DICOM file without a header
    """
    with quiet_pydicom():
        dataset = checked_dataset(data, most)
        layout = layout_of(dataset, most)
        if layout.photometric == "PALETTE COLOR":
            values = from_palette(dataset, colour_values(dataset, layout))
        elif layout.samples == 3:
            values = colour_values(dataset, layout)
        else:
            return None
    some = np.ascontiguousarray(values[::STEP, ::STEP])
    some = (some >> max(0, layout.stored - 8)).astype(np.uint8) if some.dtype == np.uint16 else some
    if layout.photometric not in BLUE_RED:
        return some
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(some[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB))
