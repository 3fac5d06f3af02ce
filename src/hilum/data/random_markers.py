"""Letters and numbers at the margin of an image, whatever its label, so that a network learns that they say nothing.

Devices burn side letters, clock times and exposures into their images. Where one device took the healthy images and
another the abnormal ones, the letter is the label; the public paediatric set is such a case (docs/shift.md).
"""

import cv2
import numpy as np

WORDS = ("R", "L", "R", "L", "A-P", "P-A", "AP", "KV59", "KV70", "12:34", "08:15", "23:07", "PORT", "o", "+")

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_PLAIN)

HEIGHT = (0.03, 0.12)
"""Of a letter, as shares of the rows."""

MOST = 3
"""Words on an image."""


def with_random_markers(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """uint8 "rows cols" with one to MOST words in its upper and lower corners.

    >>> image = np.zeros((64, 64), np.uint8)
    >>> marked = with_random_markers(image, np.random.default_rng(0))
    >>> bool((marked > image).any()), int(marked[20:44, 24:40].max()), int(image.max())
    (True, 0, 0)
    """
    marked = np.ascontiguousarray(image).copy()
    rows, cols = marked.shape
    for _ in range(int(chance.integers(1, MOST + 1))):
        word, font = str(chance.choice(WORDS)), int(chance.choice(FONTS))
        height = rows * chance.uniform(*HEIGHT)
        (_, natural), _ = cv2.getTextSize(word, font, 1.0, 1)
        scale = height / natural
        thickness = max(1, round(height / 12))
        (width, _), _ = cv2.getTextSize(word, font, scale, thickness)
        place = _corner(chance, rows, cols, width, height)
        cv2.putText(marked, word, place, font, scale, float(chance.uniform(120, 255)), thickness, cv2.LINE_AA)
    return marked


def _corner(
    chance: np.random.Generator, rows: int, cols: int, width: float, height: float
) -> tuple[int, int]:
    """Column and row where a word begins: at a lateral border, in the upper third or the last eighth."""
    inset = cols * chance.uniform(0.0, 0.1)
    left = inset if chance.random() < 0.5 else cols - inset - width
    upper = chance.random() < 0.75
    base = chance.uniform(height, max(rows / 3, height)) if upper else rows * chance.uniform(0.9, 1.0)
    return round(left), round(base)
