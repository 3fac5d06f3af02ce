"""Which part of an image a model sees, and the one resampling that brings it to the model's size.

A part may reach beyond the image: what lies outside is the image reflected, never a black border. A border that is
brighter or darker than the chest would move the mean and sd by which an image is standardised, and a model would
learn the border instead of the lung.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hilum.data.area import Areas, Box, scaled
from hilum.data.pixel_options import Fit
from hilum.lungs.field import Segment, lung_box, measured_size

LEVELS = 10
"""Grey levels by which pixels of an even frame differ from its median (JPEG makes small waves)."""

LINES = 16
"""Rows or columns of a frame that are looked at together."""

UNEVEN = 0.08
"""Share of a frame's row or column that may differ more: a letter, a clock time."""

LEAST = 0.5
"""A frame that leaves less than this share of a side is none: the image is nearly blank."""

MARGIN = 0.12
"""Added to each side of the lungs' box, as a share of the box."""

CENTRAL = (0.1, 0.1, 0.9, 0.9)
"""Where lungs are expected when none are found, as shares of the image."""


@dataclass(frozen=True)
class Place:
    """The part of an image that a model sees, as shares of its rows and columns: 0 is the first edge, 1 the last, and
    a part may reach beyond. `content`: (top, left, bottom, right) of the image without its frame; what a part
    reaches beyond it is its reflection. `lungs`: False where lungs were looked for and not found, so that the central
    part stands in; None where they were not looked for.

    >>> Place(0.0, 0.0, 1.0, 0.5).scaled((100, 40))
    (0.0, 0.0, 100.0, 20.0)
    """

    top: float
    left: float
    bottom: float
    right: float
    lungs: bool | None = None
    content: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

    def scaled(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """(top, left, bottom, right) in pixels of an image of this shape."""
        rows, cols = shape[:2]
        return self.top * rows, self.left * cols, self.bottom * rows, self.right * cols


WHOLE = Place(0.0, 0.0, 1.0, 1.0)


class Radiograph(Areas):
    """A uint8 image "rows cols" with what all copies of it share: its content and its sums.

    >>> Radiograph(np.full((20, 20), 7, np.uint8)).content == WHOLE
    True
    """

    @cached_property
    def content(self) -> Place:
        """The image without its frame.

        >>> Radiograph(np.eye(8, dtype=np.uint8) * 255).content.scaled((8, 8))
        (0.0, 0.0, 8.0, 8.0)
        """
        return content_of(self.image)


def place_of(
    image: np.ndarray | Radiograph,
    size: tuple[int, int],
    fit: Fit,
    trim: bool = True,
    segment: Segment | None = None,
) -> Place:
    """The part of a uint8 image "rows cols" that a model of `size` sees. `trim`: without an even frame; `segment`: the
    engine that marks the lungs (hilum.lungs.field), None: torch.

    >>> framed = np.zeros((40, 40), np.uint8)
    >>> framed[10:30, 5:35] = np.arange(600).reshape(20, 30) % 256
    >>> place_of(framed, (8, 8), "squeeze").scaled(framed.shape)
    (10.0, 5.0, 30.0, 35.0)
    """
    radiograph = image if isinstance(image, Radiograph) else Radiograph(image)
    content = radiograph.content if trim else WHOLE
    if fit == "lungs":
        return _lungs(radiograph, content, segment)
    return _with_aspect(content, radiograph.image.shape, size) if fit == "pad" else content


def content_of(image: np.ndarray) -> Place:
    """The image without the even frame around it, black, white or grey, whatever small text stands in the frame. The
    whole image where there is none, and where next to nothing would be left.

    >>> content_of(np.full((20, 20), 7, np.uint8)) == WHOLE
    True
    """
    rows, cols = image.shape
    top, left, bottom, right = 0, 0, rows, cols
    before = None
    while before != (top, left, bottom, right):  # a frame may lie in a frame
        before = top, left, bottom, right
        top, bottom = (top + edge for edge in _edges(image[top:bottom, left:right]))
        if bottom - top >= LEAST * rows:
            left, right = (left + edge for edge in _edges(image[top:bottom, left:right].T))
        if bottom - top < LEAST * rows or right - left < LEAST * cols:
            return WHOLE
    edges = (top / rows, left / cols, bottom / rows, right / cols)
    return Place(*edges, content=edges)


def _edges(lines: np.ndarray) -> tuple[int, int]:
    """First uneven line, and the one after the last."""
    first = _even(lines)
    return first, len(lines) - _even(lines[first:][::-1])


def _even(lines: np.ndarray) -> int:
    """How many even lines come before the first uneven one. Most images have none, so one is looked at first."""
    at, step = 0, 1
    while at < len(lines):
        even = _are_even(lines[at : at + step])
        if not even.all():
            return at + int(even.argmin())
        at, step = at + step, LINES
    return len(lines)


def _are_even(lines: np.ndarray) -> np.ndarray:
    """Of which lines "lines pixels" all but a few pixels lie near the median; by their histograms."""
    count, n = lines.shape
    own = np.arange(count)
    levels = lines.astype(np.intp) + 256 * own[:, None]
    ranks = np.bincount(levels.ravel(), minlength=256 * count).reshape(count, 256).cumsum(1)
    middle = ((ranks > (n - 1) // 2).argmax(1) + (ranks > n // 2).argmax(1)) // 2
    near = ranks[own, np.minimum(middle + LEVELS, 255)]
    low = middle - LEVELS
    near = near - np.where(low > 0, ranks[own, np.maximum(low - 1, 0)], 0)
    return n - near <= UNEVEN * n


def _with_aspect(content: Place, shape: tuple[int, ...], size: tuple[int, int]) -> Place:
    """The content, widened to the aspect ratio of `size`."""
    top, left, bottom, right = content.scaled(shape)
    scale = max((bottom - top) / size[0], (right - left) / size[1])
    down, across = (scale * size[0] - (bottom - top)) / 2, (scale * size[1] - (right - left)) / 2
    rows, cols = shape[:2]
    return Place(
        (top - down) / rows,
        (left - across) / cols,
        (bottom + down) / rows,
        (right + across) / cols,
        content=content.content,
    )


def _lungs(radiograph: Radiograph, content: Place, segment: Segment | None) -> Place:
    """The box of the lungs with a margin; the central part of the content where no lungs are found."""
    inside = _pixels(content, radiograph.image.shape)
    size = measured_size((inside[2] - inside[0], inside[3] - inside[1]))
    box = lung_box(radiograph.copy(inside, size), segment)
    first = box or CENTRAL
    margin = MARGIN if box else 0.0
    down, across = margin * (first[2] - first[0]), margin * (first[3] - first[1])
    high, wide = content.bottom - content.top, content.right - content.left
    return Place(
        content.top + (first[0] - down) * high,
        content.left + (first[1] - across) * wide,
        content.top + (first[2] + down) * high,
        content.left + (first[3] + across) * wide,
        lungs=box is not None,
        content=content.content,
    )


def _pixels(place: Place, shape: tuple[int, ...]) -> Box:
    top, left, bottom, right = (round(edge) for edge in place.scaled(shape))
    return top, left, bottom, right


def resampled(image: np.ndarray | Radiograph, place: Place, size: tuple[int, int]) -> np.ndarray:
    """A part of a uint8 image "rows cols" as uint8 of `size`, resampled once: area averaging to shrink, linear to
    grow. What lies beyond the content is its reflection.

    >>> resampled(np.array([[10, 20], [30, 40]], np.uint8), Place(0, 0, 1, 0.5), (2, 2)).tolist()
    [[10, 10], [30, 30]]
    """
    radiograph = image if isinstance(image, Radiograph) else Radiograph(image)
    content = _pixels(Place(*place.content), radiograph.image.shape)
    top, left, bottom, right = _pixels(place, radiograph.image.shape)
    return radiograph.copy((top, left, max(bottom, top + 1), max(right, left + 1)), size, content)


def letterboxed(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 "rows cols" in its own aspect ratio in the middle of a black picture of `size`: for pictures that people
    look at, not for models.

    >>> letterboxed(np.full((10, 20), 7, np.uint8), (10, 10))[:, 0].tolist()
    [0, 0, 7, 7, 7, 7, 7, 0, 0, 0]
    """
    scale = min(size[0] / image.shape[0], size[1] / image.shape[1])
    inner = scaled(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))
    top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
    picture = np.zeros(size, np.uint8)
    picture[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return picture
