"""Frame, crop and aspect: where the content of an image lies, and how it fills another canvas.

The canvas takes the donor's shape. The content keeps its proportions on it: what is too much is cut away as far
as no lung can be hit, and what is then still missing is filled by reflection.
"""

from dataclasses import dataclass

import cv2
import numpy as np

WIDEST_FRAME = 0.15
"""A frame takes at most this share of a side."""

FLAT = 10
"""Grey levels between the 2nd and the 92nd percentile of a row of a frame, at most; a letter may lie on it."""

TOP, BOTTOM = 0.05, 0.09
"""Shares of the height that may be cut away: neck and abdomen."""

CHEST_WALL = 0.04
"""Share of the body's width that may be cut away on each side: skin, muscle and ribs, no lung."""

MAGNIFICATION = (0.9, 1.15)
"""Limits of the change of magnification."""

WIDEST_STRETCH = 0.35
"""Limit of the aspect that is estimated of squeezed images, in log aspect."""


@dataclass(frozen=True)
class Box:
    """Rows top to bottom and columns left to right of an image, ends excluded; may have fractions."""

    top: float
    bottom: float
    left: float
    right: float

    @property
    def rows(self) -> float:
        """Height."""
        return self.bottom - self.top

    @property
    def cols(self) -> float:
        """Width."""
        return self.right - self.left

    def on(self, shape: tuple[int, ...], other: tuple[int, ...]) -> "Box":
        """The same box on an image of another shape.

        >>> Box(1, 9, 0, 10).on((10, 10), (20, 10))
        Box(top=2.0, bottom=18.0, left=0.0, right=10.0)
        """
        down, across = other[0] / shape[0], other[1] / shape[1]
        return Box(self.top * down, self.bottom * down, self.left * across, self.right * across)


def whole(shape: tuple[int, ...]) -> Box:
    """The box of a whole image.

    >>> whole((20, 30))
    Box(top=0, bottom=20, left=0, right=30)
    """
    return Box(0, shape[0], 0, shape[1])


def content_box(image: np.ndarray) -> Box:
    """The image without its frame: without flat rows and columns of the edges' grey.

    >>> image = np.zeros((40, 40), np.uint8); image[4:, 2:] = np.arange(36)[:, None] + np.arange(38) * 3 + 30
    >>> content_box(image)
    Box(top=4, bottom=40, left=2, right=40)
    """
    top, bottom = _flat_lines(image), _flat_lines(image[::-1])
    left, right = _flat_lines(image.T), _flat_lines(image.T[::-1])
    rows, cols = image.shape
    return Box(top, rows - bottom, left, cols - right)


def _flat_lines(image: np.ndarray) -> int:
    """How many rows from the top are flat and of the first row's grey."""
    most = int(WIDEST_FRAME * len(image))
    low, middle, high = np.percentile(image[: most + 1], (2, 50, 92), axis=1)
    flat = (high - low <= FLAT) & (np.abs(middle - middle[0]) <= FLAT)
    return int(np.argmin(flat)) if not flat.all() else most


def body_columns(image: np.ndarray, box: Box) -> tuple[float, float]:
    """Left and right edge of the trunk as columns of the image: the steepest step of the mean grey in the outer
    fifth of each side, or the edge of `box` where there is no step.

    >>> image = np.zeros((50, 100), np.uint8); image[:, 10:95] = 200
    >>> [abs(edge - true) <= 2 for edge, true in zip(body_columns(image, whole(image.shape)), (10, 95))]
    [True, True]
    """
    rows = image[
        int(box.top + 0.4 * box.rows) : int(box.top + 0.9 * box.rows), int(box.left) : int(box.right)
    ]
    profile = rows.mean(0)
    left, right = _step(profile), _step(profile[::-1])
    return box.left + left, box.right - right


def _step(profile: np.ndarray) -> int:
    """Where the profile rises most in its first fifth; 0 where it hardly rises."""
    reach = max(1, len(profile) // 50)
    outer = profile[: len(profile) // 5]
    if len(outer) <= 2 * reach:
        return 0
    rise = outer[2 * reach :] - outer[: -2 * reach]
    steepest = int(rise.argmax())
    return steepest + reach if rise[steepest] > 0.2 * np.ptp(profile) else 0


def gradient_ratio(image: np.ndarray) -> float:
    """Mean horizontal by mean vertical gradient of the inner image; rises when an image is squeezed from the
    sides.

    >>> gradient_ratio(np.tile(np.arange(0, 100, 2, dtype=np.uint8), (50, 1))) > 10
    True
    """
    rows, cols = (side // 10 for side in image.shape)
    inner = image[rows : image.shape[0] - rows, cols : image.shape[1] - cols].astype(np.float32)
    across, down = np.abs(np.diff(inner, axis=1)).mean(), np.abs(np.diff(inner, axis=0)).mean()
    return float((across + 0.1) / (down + 0.1))


def stretch_between(image: np.ndarray, donor: np.ndarray) -> float:
    """By how much wider the donor's original was than the image's, of two images that were squeezed to one shape;
    1 for alike ones. Squeezing by a factor raises the gradient ratio by about this factor.

    >>> image = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    >>> stretch_between(image, image)
    1.0
    """
    gap = np.log(gradient_ratio(donor) / gradient_ratio(image))
    return float(np.exp(np.clip(gap, -WIDEST_STRETCH, WIDEST_STRETCH)))


@dataclass(frozen=True)
class Placement:
    """Where content goes: `shape` of the canvas, `inside`: the box on it, `matrix`: from pixels of the image to
    those of the canvas, 2 x 3."""

    shape: tuple[int, int]
    inside: Box
    matrix: np.ndarray

    def draw(
        self, image: np.ndarray, clean: np.ndarray, content: Box, body: tuple[float, float]
    ) -> np.ndarray:
        """The content on the canvas, uint8. Beyond its ends `clean`, the image without markers, goes on: air
        beside the body as it is at the edge, everything else reflected."""
        top, bottom, left, right = (
            int(side) for side in (content.top, content.bottom, content.left, content.right)
        )
        cols = right - left
        wide = cols // 3
        sides = [
            cv2.BORDER_REPLICATE if free > 0.01 * cols else cv2.BORDER_REFLECT
            for free in (body[0] - left, right - body[1])
        ]
        grown = cv2.copyMakeBorder(clean[top:bottom, left:right], 0, 0, wide, 0, sides[0])
        grown = cv2.copyMakeBorder(grown, 0, 0, 0, wide, sides[1])
        matrix = self.matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ (left - wide, top)
        size, way = self.shape[::-1], cv2.INTER_CUBIC
        canvas = cv2.warpAffine(grown, matrix, size, flags=way, borderMode=cv2.BORDER_REFLECT)
        matrix[:, 2] += matrix[:, :2] @ (wide, 0)
        part = np.ascontiguousarray(image[top:bottom, left:right])
        return np.asarray(
            cv2.warpAffine(part, matrix, size, canvas, flags=way, borderMode=cv2.BORDER_TRANSPARENT)
        )


def placement(
    content: Box,
    body: tuple[float, float],
    shape: tuple[int, int],
    inside: Box,
    wider: float = 1.0,
    magnification: float = 1.0,
) -> Placement:
    """Content placed in the box `inside` of a canvas.

    `body`: columns of the trunk, which are kept up to CHEST_WALL; `wider`: the content is made narrower by this
    factor; `magnification`: and magnified by this one. Without them the content is stretched to the box.
    """
    high, wide = inside.rows / content.rows, inside.cols / content.cols
    width = body[1] - body[0]
    free_left = max(body[0] - content.left, 0) + CHEST_WALL * width
    free_right = max(content.right - body[1], 0) + CHEST_WALL * width
    taller = np.sqrt(wider)
    cover = max(taller, 1 / taller) * magnification
    most = min(
        1 / (1 - TOP - BOTTOM) / taller,
        taller / (1 - (free_left + free_right) / content.cols),
    )
    size = min(cover, most)
    down, across = high * size * taller, wide * size / taller
    cut_rows = 1 - inside.rows / (down * content.rows)  # negative: missing
    cut_cols = 1 - inside.cols / (across * content.cols)
    top = content.top + cut_rows * content.rows * TOP / (TOP + BOTTOM)
    left = content.left + cut_cols * content.cols * free_left / (free_left + free_right)
    matrix = np.array([[across, 0, inside.left - across * left], [0, down, inside.top - down * top]])
    return Placement(shape, inside, matrix)


def magnification_between(image_share: float, donor_share: float) -> float:
    """By how much the image is magnified so that its trunk fills as much of the width as the donor's.

    >>> magnification_between(0.8, 0.88), magnification_between(0.5, 1.0)
    (1.1, 1.15)
    """
    return float(np.clip(round(donor_share / image_share, 6), *MAGNIFICATION))
