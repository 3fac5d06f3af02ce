"""Area averages of a large image at several sizes, for little more than the cost of one.

OpenCV's INTER_AREA visits each pixel of the image for every copy. A table of sums visits them once for all copies: an
average is the difference of four of its numbers, interpolated between pixels. The copies are OpenCV's to the last bit.
OpenCV adds up in float32; where its rounding errors may decide between two grey levels, the average is computed again
in its order.

References
    Crow FC. Summed-area tables for texture mapping. SIGGRAPH (1984).
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

LARGE, HUGE = 2**18, 2**25
"""Pixels from which a table is faster than OpenCV, and those from which it takes too much memory (4 bytes each)."""

LEAST = 3.0
"""Pixels per row and per column of a copy, at least; OpenCV has other ways for 2 and for fewer than 1."""

MOST = 900
"""Rows or columns of a copy, at most: with more, OpenCV leaves slivers of pixels out."""

DOUBT = 3e-4
"""Grey levels from the middle between two of them, within which rounding errors may decide. They reach 6e-5."""

Box = tuple[int, int, int, int]
"""(top, left, bottom, right) in pixels; bottom and right are the first outside."""


@dataclass(frozen=True, eq=False)
class Areas:
    """A uint8 image "rows cols" of which copies are made.

    >>> areas = Areas(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    >>> areas.copy((0, 0, 100, 200), (2, 4)).tolist()
    [[24, 74, 124, 174], [24, 74, 124, 174]]
    """

    image: np.ndarray

    @cached_property
    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """ "rows+1 cols+1": the sum of the pixels above and to the left; in bands of rows, so that int32 holds it, with
        the sum of all bands above, float64 "bands cols+1"."""
        rows, cols = self.image.shape
        table, above = np.empty((rows + 1, cols + 1), np.int32), [np.zeros(cols + 1)]
        for top in range(0, rows, self._band):
            band = table[top : top + self._band + 1]
            cv2.integral(self.image[top : top + self._band], band, sdepth=cv2.CV_32S)
            above.append(above[-1] + band[-1])  # the next band writes zeros there
        return table, np.stack(above[:-1])

    @property
    def _band(self) -> int:
        return max(1, (2**31 - 1) // 255 // self.image.shape[1])

    def copy(self, box: Box, size: tuple[int, int], content: Box | None = None) -> np.ndarray:
        """A part of the image as uint8 of `size`: area averaging to shrink, linear to grow. `content`: what is used of
        the image, None: all; what `box` reaches beyond it is its reflection.

        >>> Areas(np.array([[10, 20], [30, 40]], np.uint8)).copy((0, 0, 2, 1), (2, 2)).tolist()
        [[10, 10], [30, 30]]
        """
        content = content or (0, 0, *self.image.shape)
        part = (box[2] - box[0]) * (box[3] - box[1])
        rows = _Axis(box[0], box[2], content[0], content[2], size[0])
        cols = _Axis(box[1], box[3], content[1], content[3], size[1])
        if part < LARGE or self.image.size > HUGE or not (rows.fits and cols.fits):
            return scaled(cut(self.image, box, content), size)
        return self._averaged(rows, cols)

    def _averaged(self, rows: "_Axis", cols: "_Axis") -> np.ndarray:
        sums = cols.between(rows.between(self._taken(rows.places, cols.places)).T).T
        if rows.scale.is_integer() and cols.scale.is_integer():  # OpenCV adds whole numbers up
            return np.rint(sums.astype(np.float32) * np.float32(1 / (rows.scale * cols.scale))).astype(
                np.uint8
            )
        averages = sums / (rows.scale * cols.scale)
        copy = np.rint(averages)
        doubtful = np.nonzero(np.abs(averages - np.floor(averages) - 0.5) < DOUBT)
        copy[doubtful] = self._by_opencv(rows.weights(doubtful[0]), cols.weights(doubtful[1]))
        return copy.astype(np.uint8)

    def _taken(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """Numbers of the table of sums, float64."""
        table, above = self._sums
        taken = table.ravel().take(rows[:, None] * table.shape[1] + cols).astype(np.float64)
        if len(above) > 1:
            taken += above[np.minimum(rows // self._band, len(above) - 1)][:, cols]
        return taken

    def _by_opencv(
        self, rows: tuple[np.ndarray, np.ndarray], cols: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """Single averages, float32 "averages" without fractions, added up one pixel after the other, row by row."""
        (down, betas), (across, alphas) = rows, cols
        parts = self.image[down[:, :, None], across[:, None, :]] * alphas[:, None, :]
        lines = np.add.accumulate(parts, axis=2)[:, :, -1]
        return np.rint(np.add.accumulate(lines * betas, axis=1)[:, -1])


@dataclass(frozen=True)
class _Axis:
    """One axis of a copy: `n` averages between `start` and `end`, in pixels of the image, of which `first` to `last`
    are used; the others are their reflection."""

    start: int
    end: int
    first: int
    last: int
    n: int

    @property
    def scale(self) -> float:
        """Pixels per average, as OpenCV computes it."""
        return 1 / (self.n / (self.end - self.start))

    @property
    def fits(self) -> bool:
        reach = self.last - self.first - 2
        inside = self.first - reach <= self.start < self.end <= self.last + reach
        return inside and self.n <= MOST and self.end - self.start >= LEAST * self.n

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Before and after which pixel each of the n + 1 edges lies, "2 edges", and how far between the two, 0 to 1."""
        edges = np.arange(self.n + 1) * self.scale
        edges[-1] = self.end - self.start
        before = np.minimum(edges.astype(int), self.end - self.start - 1)
        return self.start + np.stack([before, before + 1]), edges - before

    @cached_property
    def places(self) -> np.ndarray:
        """Rows of the table of sums that are needed: two for each edge, and four where the reflections begin."""
        at = self._edges[0]
        at = np.where(at < self.first, 2 * self.first + 1 - at, at)
        at = np.where(at > self.last, 2 * self.last - 1 - at, at)
        return np.concatenate([at.ravel(), [self.first, self.first + 1, self.last - 1, self.last]])

    def between(self, sums: np.ndarray) -> np.ndarray:
        """Float sums "places other" -> what lies between an edge and the next, "n other"."""
        at, share = self._edges
        low, high = sums[:-4].reshape(*at.shape, -1)
        for beyond, ends in ((at < self.first, sums[-4:-2]), (at > self.last, sums[-2:])):
            for side, mirrored in zip((low, high), beyond, strict=True):
                if mirrored.any():
                    side[mirrored] = ends.sum(0) - side[mirrored]
        return np.diff(low + share[:, None] * (high - low), axis=0)

    def weights(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of some averages, "chosen pixels", and their float32 weights, 0 for those of the next, as
        OpenCV's computeResizeAreaTab."""
        start = chosen * self.scale
        whole = np.minimum(self.scale, self.end - self.start - start)[:, None]
        at = np.floor(start).astype(int)[:, None] + np.arange(int(self.scale) + 2)
        shares = np.minimum(at + 1, (start + self.scale)[:, None]) - np.maximum(at, start[:, None])
        shares = np.where(shares > 1e-3, np.minimum(shares, 1), 0)
        weights = (shares / whole).astype(np.float32)
        at = reflected(np.minimum(at, self.end - self.start - 1) + self.start, self.first, self.last)
        return at, weights


def reflected(at: np.ndarray, first: int, last: int) -> np.ndarray:
    """Places whose mirror images lie between `first` and `last`, the first outside; the edge itself comes once.

    >>> reflected(np.array([-2, 0, 4, 5]), 0, 5).tolist()
    [2, 0, 4, 3]
    """
    at = np.where(at < first, 2 * first - at, at)
    return np.where(at > last - 1, 2 * (last - 1) - at, at)


def cut(image: np.ndarray, box: Box, content: Box) -> np.ndarray:
    """A part of an image; what it reaches beyond the content is the content's reflection.

    >>> cut(np.arange(6, dtype=np.uint8).reshape(2, 3), (0, -1, 1, 2), (0, 0, 2, 3)).tolist()
    [[1, 0, 1]]
    """
    image = image[content[0] : content[2], content[1] : content[3]]
    top, left, bottom, right = (edge - content[at % 2] for at, edge in enumerate(box))
    rows, cols = image.shape
    beyond = (max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - cols, 0))
    if any(beyond):
        image = np.asarray(cv2.copyMakeBorder(image, *beyond, borderType=cv2.BORDER_REFLECT_101))
    return image[top + beyond[0] : bottom + beyond[0], left + beyond[2] : right + beyond[2]]


def scaled(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 "rows cols" stretched to `size`: area averaging to shrink, linear to grow.

    >>> scaled(np.full((10, 20), 7, np.uint8), (5, 5)).shape
    (5, 5)
    """
    if image.shape == tuple(size):
        return image
    shrinking = size[0] * size[1] < image.shape[0] * image.shape[1]
    way = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=way))
