"""Tone: the grey levels of the trunk by rank, those of the donor's trunk (histogram specification; Gonzalez &
Woods, Digital Image Processing, section 3.3), along a smooth curve.

The trunk alone decides: how much air is beside it belongs to the crop, and would else turn lungs black.
"""

import cv2
import numpy as np

ENDS = (0.005, 0.999)
"""Shares of all pixels, air beside the body included, for the dark and the bright end of the curve."""

KNOTS = (0.01, 0.05, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97, 0.995)
"""Shares of the trunk's pixels whose grey levels are carried over."""

SMOOTH = 5.0
"""Standard deviation in grey levels of the smoothing of the curve."""


def tone_curve(
    image: np.ndarray, donor: np.ndarray, trunk: np.ndarray, donor_trunk: np.ndarray
) -> np.ndarray:
    """The new grey of each grey, uint8 "256", never falling.

    `image`, `donor`: all greys of the two images, any shape, which decide the ends of the curve; `trunk`,
    `donor_trunk`: those of the trunks, which decide what lies between.

    >>> image = np.arange(50, 150)
    >>> curve = tone_curve(image, image // 2 + 100, image, image // 2 + 100)
    >>> curve[[0, 100, 149, 255]].tolist(), bool((np.diff(curve.astype(int)) >= 0).all())
    ([125, 150, 173, 174], True)
    """
    before = np.r_[np.quantile(image, ENDS), np.quantile(trunk, KNOTS)]
    after = np.r_[np.quantile(donor, ENDS), np.quantile(donor_trunk, KNOTS)]
    greys = np.unique(before)
    rising = np.maximum.accumulate([after[before == grey].mean() for grey in greys])
    curve = np.interp(np.arange(256), greys, rising).astype(np.float32)
    smooth = cv2.GaussianBlur(curve[None], (0, 0), SMOOTH, borderType=cv2.BORDER_REPLICATE)[0]
    return np.rint(np.clip(smooth, 0, 255)).astype(np.uint8)
