"""Grey levels in use: which part of a 16-bit range an image fills, whatever a few odd pixels say.

Images carry 8 to 15 bits in 16 and the file does not say which, so the range is read from the pixels. Their minimum
and maximum alone are not enough: one hot pixel, a burned-in letter at 65535 or a padding of 0 under values from 30000
would leave a handful of grey levels to the radiograph. What a wide gap separates from the bulk of the pixels is
therefore left out of the range, and becomes black or white. An image without such a gap keeps its minimum and maximum.
"""

import cv2
import numpy as np

BINS = 256
"""The range is looked at in so many steps."""

FEW = 4e-4
"""A step that holds at most this share of the pixels counts as empty (the soft edge of a letter, hot pixels)."""

GAP = 0.5
"""A gap of at least this share of the bulk's width separates what is left out."""

TAIL = 0.1
"""The thin end of the bulk may reach into the gap by this share of the bulk's width."""

LEAST = 16
"""The bulk has at least so many different values; masks and drawings of a few greys keep their whole range."""

PADDING = 0.05
"""Where the heavier side has fewer values than LEAST it is padding, if the other holds this share of the pixels."""


def counts_of(image: np.ndarray) -> np.ndarray:
    """How often each value of a uint16 image occurs, int64 "65536"; of a uint8 image, int64 "256".

    >>> counts_of(np.array([[3, 3, 65535]], np.uint16))[[0, 3, 65535]].tolist()
    [0, 2, 1]
    """
    levels = 256**image.dtype.itemsize
    counts = cv2.calcHist([np.ascontiguousarray(image)], [0], None, [levels], [0, levels])
    return np.asarray(counts).ravel().astype(np.int64)


def levels_in_use(counts: np.ndarray) -> tuple[int, int]:
    """The lowest and the highest value of the bulk, from the number of pixels of each value ("values", at least one
    is above 0): the first becomes black, the second white.

    >>> counts = np.zeros(65536, int)
    >>> counts[:4096], counts[65535] = 30, 1
    >>> levels_in_use(counts)
    (0, 4095)
    """
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    while True:
        narrower = _without_outliers(counts, used, low, high)
        if narrower is None:
            return low, high
        low, high = narrower


def _without_outliers(counts: np.ndarray, used: np.ndarray, low: int, high: int) -> tuple[int, int] | None:
    """The range on one side of its widest gap; None where that gap separates nothing."""
    inside = used[(used >= low) & (used <= high)]
    bins = np.minimum((inside - low) * BINS // (high - low + 1), BINS - 1)
    share = np.bincount(bins, counts[inside], BINS) / counts[inside].sum()
    filled = np.union1d(
        np.flatnonzero(share > FEW), (0, BINS - 1)
    )  # the ends hold a pixel, or they were no ends
    widest = int(np.argmax(np.diff(filled)))
    left, right = int(filled[widest]), int(filled[widest + 1])
    is_below = _bulk_is_below(share, left, right, int((bins <= left).sum()), int((bins >= right).sum()))
    if is_below is None:
        return None
    kept = left + 1 if is_below else BINS - right
    if right - left - 1 < GAP * kept:
        return None
    tail = _tail(share[left + 1 : right] if is_below else share[left + 1 : right][::-1], kept)
    heavier = inside[bins <= left + tail] if is_below else inside[bins >= right - tail]
    return int(heavier[0]), int(heavier[-1])


def _bulk_is_below(share: np.ndarray, left: int, right: int, below: int, above: int) -> bool | None:
    """The side of the gap between two steps that holds the bulk, None for neither. `below`, `above`: the number of
    different values of the two sides."""
    heavier_below = bool(share[: left + 1].sum() >= share[right:].sum())
    heavier, lighter = (below, above) if heavier_below else (above, below)
    if heavier >= LEAST:
        return heavier_below
    other = share[right:].sum() if heavier_below else share[: left + 1].sum()
    return not heavier_below if lighter >= LEAST and other >= PADDING else None


def _tail(gap: np.ndarray, kept: int) -> int:
    """So many steps of the gap, seen from the bulk, still hold its thin end."""
    most = max(1, round(TAIL * kept))
    empty = np.flatnonzero(gap[:most] == 0)
    return int(empty[0]) if len(empty) else min(most, len(gap) - 1)


def stretched(image: np.ndarray) -> np.ndarray:
    """A uint16 image "rows cols" as uint8: its levels in use from black to white, what lies beyond clipped.

    >>> stretched(np.array([[0, 4095]], np.uint16)).tolist()
    [[0, 255]]
    """
    low, high = levels_in_use(counts_of(image))
    scale = 255.0 / max(high - low, 1)
    values = np.arange(65536, dtype=np.float32)
    return looked_up(image, np.rint(np.clip((values - low) * scale, 0, 255)).astype(np.uint8))


def looked_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The grey of each pixel: a uint16 image of any shape through a uint8 table of 65536 values, or uint8 of 256.

    >>> looked_up(np.array([[0, 65535]], np.uint16), (np.arange(65536) >> 8).astype(np.uint8)).tolist()
    [[0, 255]]
    """
    try:
        return np.asarray(cv2.LUT(np.ascontiguousarray(image), table)).reshape(image.shape)
    except cv2.error:  # OpenCV before 5.0 looks up 8 bit only
        return table[image]
