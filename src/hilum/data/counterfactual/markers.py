"""Letters, times, leads and tubes in the margins of an image: small and bright before what surrounds them."""

import cv2
import numpy as np

SIDES, TOP, BOTTOM = 0.14, 0.18, 0.12
"""Shares of width and height that are margin."""

STROKE = 0.045
"""A stroke is thinner than this share of the shorter side."""

OUT = 50
"""Grey levels by which a marker stands out of its surroundings."""

APART = 45
"""Grey levels by which it is brighter than the brightest of what is around it."""

TALLEST = 0.2
"""A marker is at most this share of the shorter side, in height and width; chains of ribs are longer."""

SMALLEST = 4e-5
"""Share of the image's area below which a spot is noise."""


def marker_mask(image: np.ndarray) -> np.ndarray:
    """Which pixels belong to markers, bool "rows cols".

    >>> image = np.full((200, 200), 40, np.uint8)
    >>> _ = cv2.putText(image, "R", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 250, 2)
    >>> mask = marker_mask(image)
    >>> bool(mask[20:45, 5:30].any()), bool(mask[60:].any())
    (True, False)
    """
    side = min(image.shape)
    size = max(3, round(STROKE * side)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    bright = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    _, names, facts, _ = cv2.connectedComponentsWithStats((bright > OUT).astype(np.uint8), connectivity=8)
    margin, reach = _margin(image.shape), max(3, round(0.02 * side))
    mask = np.zeros(image.shape, bool)
    for number in range(1, len(facts)):
        if not _has_size(facts[number], side, image.size):
            continue
        window = _window(facts[number], reach, image.shape)
        spot = names[window] == number
        if margin[window][spot].mean() > 0.9 and _stands_out(image[window], spot, reach):
            mask[window] |= spot
    return mask


def _has_size(facts: np.ndarray, side: int, area: int) -> bool:
    extent = max(facts[cv2.CC_STAT_WIDTH], facts[cv2.CC_STAT_HEIGHT])
    return bool(extent <= TALLEST * side and facts[cv2.CC_STAT_AREA] >= max(SMALLEST * area, 3))


def _window(facts: np.ndarray, reach: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    left, top, wide, high = (int(number) for number in facts[:4])
    rows = slice(max(0, top - reach), min(shape[0], top + high + reach))
    return rows, slice(max(0, left - reach), min(shape[1], left + wide + reach))


def _stands_out(image: np.ndarray, spot: np.ndarray, reach: int) -> bool:
    """Brighter than everything around it, which a rib or a clavicle is not: it goes on."""
    wide = cv2.dilate(spot.astype(np.uint8), np.ones((2 * reach - 1, 2 * reach - 1), np.uint8)).astype(bool)
    near = cv2.dilate(spot.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    around = image[wide & ~near]
    return len(around) > 0 and bool(np.percentile(image[spot], 75) - np.percentile(around, 97) > APART)


def _margin(shape: tuple[int, ...]) -> np.ndarray:
    rows, cols = shape
    margin = np.ones(shape, bool)
    margin[
        round(TOP * rows) : rows - round(BOTTOM * rows), round(SIDES * cols) : cols - round(SIDES * cols)
    ] = False
    return margin


def without_markers(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with what lies under the mask filled from around it (Telea, J Graphics Tools 9, 2004).

    >>> image = np.full((20, 20), 40, np.uint8); image[3:6, 3:6] = 250
    >>> int(without_markers(image, image > 200).max()) < 50
    True
    """
    if not mask.any():
        return image
    size = max(3, round(0.012 * min(image.shape))) | 1
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((size, size), np.uint8))
    return np.asarray(cv2.inpaint(image, grown, 3, cv2.INPAINT_TELEA))


def with_markers(image: np.ndarray, donor: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with the donor's markers at the same place of the frame; they only brighten.

    >>> donor = np.full((20, 20), 40, np.uint8); donor[3:6, 3:6] = 250
    >>> int((with_markers(np.full((20, 20), 90, np.uint8), donor, donor > 200) > 90).sum())
    9
    """
    if not mask.any():
        return image
    bright = np.where(mask, donor, 0).astype(np.uint8)
    if donor.shape != image.shape:
        bright = cv2.resize(bright, image.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.maximum(image, bright)
