"""What a window operation (convolution, pooling, padding) reads along one axis of a map."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

NOWHERE = -1
"""Index of a padded position that holds a constant."""


@dataclass(frozen=True)
class Axis:
    """What a window operation reads along one axis.

    `source[v]`: the input position behind padded position v, or NOWHERE. Output i reads the padded positions
    i * stride + t * dilation for t in 0 .. kernel - 1.

    >>> pool = Axis(size=5, kernel=2, stride=2, dilation=1, source=np.array([0, 1, 2, 3]))
    >>> pool.out, pool.first.tolist(), pool.last.tolist()
    (2, [0, 2], [1, 3])
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    source: np.ndarray

    @property
    def out(self) -> int:
        """Number of output positions."""
        return (len(self.source) - (self.kernel - 1) * self.dilation - 1) // self.stride + 1

    @cached_property
    def taps(self) -> np.ndarray:
        """Input positions "out kernel" of each output, NOWHERE for constant padding.

        >>> Axis(size=3, kernel=2, stride=1, dilation=1, source=np.array([-1, 0, 1, 2])).taps.tolist()
        [[-1, 0], [0, 1], [1, 2]]
        """
        starts = np.arange(self.out)[:, None] * self.stride
        return self.source[starts + np.arange(self.kernel) * self.dilation]

    @cached_property
    def first(self) -> np.ndarray:
        """First input position that each output reads; `size` if it reads only padding."""
        return np.where(self.taps == NOWHERE, self.size, self.taps).min(axis=1)

    @cached_property
    def last(self) -> np.ndarray:
        """Last input position that each output reads; -1 if it reads only padding."""
        return self.taps.max(axis=1)

    def padded(self, start: np.ndarray, count: int) -> np.ndarray:
        """Input positions "... window" behind the outputs start .. start + count - 1, padding as NOWHERE.

        >>> same = Axis(size=4, kernel=3, stride=1, dilation=1, source=np.array([-1, 0, 1, 2, 3, -1]))
        >>> same.padded(np.array([0, 2]), 2).tolist()
        [[-1, 0, 1, 2], [1, 2, 3, -1]]
        """
        width = (count - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        return self.source[np.asarray(start)[..., None] * self.stride + np.arange(width)]

    def reached(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs [begin, end) that read from inputs [begin, end), or on both sides of an empty interval.

        Outputs before the result read only inputs before `begin`; outputs after it only inputs from `end` on.

        >>> same = Axis(size=6, kernel=3, stride=1, dilation=1, source=np.array([-1, 0, 1, 2, 3, 4, 5, -1]))
        >>> same.reached(np.array([3]), np.array([3]))
        (array([2]), array([4]))
        """
        new_begin = np.searchsorted(np.maximum.accumulate(self.last), begin, side="left")
        least_after = np.minimum.accumulate(self.first[::-1])[::-1]
        new_end = np.searchsorted(least_after, end, side="left")
        return new_begin, np.maximum(new_begin, new_end)


def window_axis(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    out: int,
    mode: str = "constant",
    after: int = 0,
) -> Axis:
    """The axis of a window with `before` padded positions in front; behind, as many as `out` outputs need.

    >>> window_axis(4, kernel=3, stride=1, dilation=1, before=1, out=4).taps[0].tolist()
    [-1, 0, 1]
    """
    length = (out - 1) * stride + (kernel - 1) * dilation + 1
    if mode == "constant":
        source = np.arange(length) - before
        source = np.where((source < 0) | (source >= size), NOWHERE, source)
    else:
        numpy_mode: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        source = np.pad(np.arange(size), (before, after), mode=numpy_mode)[:length]
    return Axis(size, kernel, stride, dilation, source)
