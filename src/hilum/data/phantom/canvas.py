"""An image to draw on in the patient's coordinates, and the curves and textures that are drawn."""

from collections.abc import Sequence
from functools import cache
from math import comb

import cv2
import numpy as np

Generator = np.random.Generator
Points = np.ndarray
"""float "n 2": u and v of the patient."""

Layer = np.ndarray
"""float32 "rows cols"."""

Stroke = tuple[Sequence[Points] | Points, float, float]
"""Lines of one width and one strength (0..1)."""

SPAN = 1.25
"""A texture covers the chest from -SPAN to SPAN both ways."""

CIRCLE = np.column_stack([np.cos(np.linspace(0, 2 * np.pi, 37)), np.sin(np.linspace(0, 2 * np.pi, 37))])
"""A unit circle, 37 points."""


class Canvas:
    """An image to draw on in the patient's coordinates: u to the picture's right, v down, origin mid-chest."""

    def __init__(self, size: tuple[int, int], matrix: np.ndarray) -> None:
        self.size = size
        self.matrix = matrix
        self.unit = float(np.sqrt(np.linalg.det(matrix[:, :2])))  # pixels

    def pixels(self, lines: Sequence[Points] | Points) -> list[np.ndarray]:
        """Lines in patient coordinates, each "n 2" -> in 1/16 pixels, as OpenCV's drawing wants them.

        >>> canvas = Canvas((4, 4), np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]]))
        >>> [line.tolist() for line in canvas.pixels([np.array([[0.0, 0.0], [1.0, 0.5]])])]
        [[[32, 32], [64, 48]]]
        """
        placed = np.concatenate(lines) @ self.matrix[:, :2].T + self.matrix[:, 2]
        ends = np.cumsum([len(line) for line in lines])[:-1]
        return np.split(np.rint(placed * 16).astype(np.int32), ends)

    def fill(self, *outlines: Points) -> Layer:
        """The union of closed outlines, 0..1.

        >>> canvas = Canvas((4, 4), np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]]))
        >>> float(canvas.fill(np.array([[-9.0, -9.0], [9.0, -9.0], [9.0, 9.0], [-9.0, 9.0]])).min())
        1.0
        """
        layer = np.zeros(self.size, np.uint8)
        for outline in self.pixels(outlines):  # one by one: where outlines drawn together overlap is a hole
            cv2.fillPoly(layer, [outline], 255, cv2.LINE_AA, 4)
        return layer.astype(np.float32) / np.float32(255)

    def stroke(self, *strokes: Stroke) -> Layer:
        """Lines, 0..1. Thinner than a pixel means fainter.

        >>> canvas = Canvas((4, 4), np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]]))
        >>> canvas.stroke(([np.array([[-9.0, 0.0], [9.0, 0.0]])], 0.5, 1.0))[:, 0].astype(float).round(1).tolist()
        [0.0, 0.1, 0.6, 0.1]
        """
        layer = np.zeros(self.size, np.uint8)
        for lines, width, strength in strokes:
            wide = width * self.unit
            shade = 255 * strength * min(1.0, wide)
            cv2.polylines(layer, self.pixels(lines), False, shade, max(1, round(wide)), cv2.LINE_AA, 4)
        return layer.astype(np.float32) / np.float32(255)

    def blur(self, layer: Layer, sd: float) -> Layer:
        """Gaussian blur; `sd` in patient units.

        >>> canvas = Canvas((4, 4), np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 2.0]]))
        >>> canvas.blur(np.eye(4, dtype=np.float32), 0.5)[0].astype(float).round(1).tolist()
        [0.4, 0.3, 0.2, 0.1]
        """
        return np.asarray(cv2.GaussianBlur(layer, (0, 0), max(sd * self.unit, 0.3)))

    def wide_blur(self, layer: Layer, sd: float) -> Layer:
        """The same at a quarter of the resolution, for large `sd`.

        >>> canvas = Canvas((8, 8), np.array([[4.0, 0.0, 4.0], [0.0, 4.0, 4.0]]))
        >>> canvas.wide_blur(np.ones((8, 8), np.float32), 1.0)[0].astype(float).round(3).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        """
        rows, cols = self.size
        small = cv2.resize(layer, (cols // 4, rows // 4), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), max(sd * self.unit / 4, 0.3))
        return np.asarray(cv2.resize(small, (cols, rows), interpolation=cv2.INTER_LINEAR))

    def spread(self, texture: np.ndarray) -> Layer:
        """A square texture laid over the chest from -SPAN to SPAN both ways.

        >>> canvas = Canvas((2, 5), np.array([[2.0, 0.0, 2.0], [0.0, 2.0, 1.0]]))
        >>> canvas.spread(np.array([[0.0, 1.0], [0.0, 1.0]]))[0].astype(float).round(1).tolist()
        [0.1, 0.3, 0.5, 0.7, 0.9]
        """
        step = 2 * SPAN / (len(texture) - 1)
        onto = self.matrix @ np.array([[step, 0, -SPAN], [0, step, -SPAN], [0, 0, 1]])
        return np.asarray(
            cv2.warpAffine(
                texture.astype(np.float32, copy=False),
                onto,
                self.size[::-1],
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        )


def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """u "1 side" and v "side 1" of a texture's pixels.

    >>> grid(3)[0].tolist(), grid(3)[1].shape
    ([[-1.25, 0.0, 1.25]], (3, 1))
    """
    line = np.linspace(-SPAN, SPAN, side, dtype=np.float32)
    return line[None], line[:, None]


def noise(rng: Generator, side: int, sd: float) -> np.ndarray:
    """Smooth Gaussian noise of unit variance, float32 "side side"; `sd` of the blur in texture pixels.

    >>> round(float(noise(np.random.default_rng(0), 32, 2.0).std()), 3)
    1.0
    """
    smooth = cv2.GaussianBlur(rng.standard_normal((side, side), dtype=np.float32), (0, 0), sd)
    return np.asarray(smooth / smooth.std())


def ellipse(u: float, v: float, wide: float, high: float) -> Points:
    """An ellipse around (u, v) with these half axes, 37 points.

    >>> ellipse(1.0, 2.0, 0.5, 0.1)[0].tolist()
    [1.5, 2.0]
    """
    return CIRCLE * (wide, high) + (u, v)


@cache
def _bernstein(degree: int) -> np.ndarray:
    t = np.linspace(0, 1, 16)
    return np.stack([comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)], axis=1)


def curve(*control: tuple[float, float]) -> Points:
    """A Bezier curve of 16 points from the first to the last control point.

    >>> curve((0.0, 0.0), (1.0, 2.0))[[0, -1]].tolist()
    [[0.0, 0.0], [1.0, 2.0]]
    """
    return _bernstein(len(control) - 1) @ np.asarray(control)


def band(line: Points, width: np.ndarray | float) -> Points:
    """The outline of a band of this width along a line.

    >>> band(np.array([[0.0, 0.0], [1.0, 0.0]]), 0.5).tolist()
    [[0.0, 0.25], [1.0, 0.25], [1.0, -0.25], [0.0, -0.25]]
    """
    along = np.empty_like(line)
    along[1:-1], along[0], along[-1] = line[2:] - line[:-2], line[1] - line[0], line[-1] - line[-2]
    normal = along[:, ::-1] * (-1, 1) / np.hypot(along[:, :1], along[:, 1:])
    half = np.broadcast_to(np.asarray(width) / 2, len(line))[:, None]
    return np.concatenate([line + half * normal, (line - half * normal)[::-1]])
