"""From the log-odds of the network to the outline of the lungs; numpy and OpenCV alone."""

import cv2
import numpy as np

SIDE = 64
"""Rows and columns that the network reads and answers."""

LIMIT = 4.0
"""Log-odds beyond this count as this much when the outline is smoothed."""

SMOOTH = 0.8
"""Standard deviation of that smoothing, pixels of the 64 x 64."""

SMALLEST = 0.01
"""A part below this share of the image is no lung."""


def reduced(images: np.ndarray) -> np.ndarray:
    """uint8 "images rows cols" -> float32 grey levels "images 64 64", 0 to 255.

    >>> reduced(np.full((1, 100, 80), 7, np.uint8)).shape
    (1, 64, 64)
    """
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small).astype(np.float32)


def outlined(odds: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Log-odds "64 64" -> the lung field, bool of the image's shape, tidied.

    >>> outlined(np.full((64, 64), -9.0, np.float32), (100, 80)).shape
    (100, 80)
    """
    smooth = cv2.GaussianBlur(np.clip(odds, -LIMIT, LIMIT), (0, 0), SMOOTH)
    return tidy(cv2.resize(smooth, shape[::-1], interpolation=cv2.INTER_LINEAR) > 0)


def tidy(marked: np.ndarray) -> np.ndarray:
    """The two largest connected parts of bool "rows cols", holes filled; a part below 1 % of the image is dropped.

    >>> spots = np.zeros((20, 20), bool)
    >>> spots[2:9, 2:9], spots[5, 5], spots[2:9, 11:18], spots[15, 15] = True, False, True, True
    >>> int(tidy(spots).sum())
    98
    """
    _, names, facts, _ = cv2.connectedComponentsWithStats(marked.astype(np.uint8), connectivity=4)
    areas = facts[1:, cv2.CC_STAT_AREA]
    kept = [
        place for place in np.argsort(-areas, kind="stable")[:2] if areas[place] >= SMALLEST * marked.size
    ]
    parts = np.isin(names, np.array(kept, int) + 1).astype(np.uint8)
    outlines, _ = cv2.findContours(parts, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(parts, outlines, -1, 1, cv2.FILLED)
    return parts.astype(bool)
