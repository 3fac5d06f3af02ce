"""The tone of one image given to another: its grey levels by rank."""

import numpy as np


def specified(image: np.ndarray, donor: np.ndarray) -> np.ndarray:
    """The image with the histogram of the donor, float32 of the image's shape, 0 to 255 (histogram specification;
    Gonzalez & Woods, Digital Image Processing, section 3.3). Both uint8, of any shape; equal greys stay equal.

    >>> specified(np.array([[0, 1], [2, 3]], np.uint8), np.array([10, 20, 30, 40], np.uint8)).tolist()
    [[10.0, 20.0], [30.0, 40.0]]
    """
    rank = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size
    donor_rank = np.cumsum(np.bincount(donor.ravel(), minlength=256)) / donor.size
    greys = np.flatnonzero(np.diff(donor_rank, prepend=0.0))  # greys that occur: their ranks rise
    return np.interp(rank, donor_rank[greys], greys).astype(np.float32)[image]
