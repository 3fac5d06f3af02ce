"""Synthetic images for `hilum serve --demo`."""

from functools import lru_cache

import cv2

from hilum.data.phantom.generate import phantom_image
from hilum.data.phantom.settings import LABELS, PhantomSettings

SETTINGS = PhantomSettings(size=(896, 1024), seed=17)


@lru_cache(maxsize=12)
def phantom_png(number: int) -> bytes:
    """The phantom with this number as PNG; the label changes from each to the next.

    >>> phantom_png(1)[:4]
    b'\\x89PNG'
    """
    label = LABELS[(number - 1) % len(LABELS)]
    image = phantom_image(SETTINGS, label, person=number, image=1).image
    return cv2.imencode(".png", image)[1].tobytes()
