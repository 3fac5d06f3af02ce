"""Greedy k-centre coresets: a few points such that no point is far from them (Gonzalez 1985).

Each pick is the point farthest from all earlier picks, found exactly, ties by the lowest index. The usual
implementation (PatchCore, anomalib) measures every point against every pick. Here

1. the points with the largest distances are kept as candidates. As long as the largest distance among them
   exceeds every distance outside, the next pick is one of them, because distances only shrink. So many picks
   are made among a few thousand candidates, and
2. their distances to all points are then found together, by one matrix product per block of points: the
   points are read once for some 250 picks, not once for each.

Matrix products round: a distance that could be smaller than the known one, within the rounding error, is
measured again in float64 by differences. The picks are those of a greedy search in float64.
"""

from typing import Any

import numpy as np

from hilum.errors import DataError

CANDIDATES = 8192
BLOCK = 2048
"""Points per matrix product; a block of distances stays in the processor's cache."""
MOST_PICKS = 256
"""Picks whose distances to all points are found together."""


def k_center(points: Any, k: int, seed: int) -> np.ndarray:
    """Indices of k points, int64 "k", in the order in which they were picked; the first is drawn by `seed`.

    `points`: float "points dim", a numpy array or a torch tensor. Memory: about 30 bytes per point, and a
    copy if they are not float32 rows already. DataError for k out of range, NaN, or another shape.

    >>> k_center(np.array([[0.0], [1.0], [9.0], [4.0]]), 3, seed=2).tolist()     # starts at 4.0
    [3, 2, 0]
    """
    values = _checked(points)
    if not 1 <= k <= len(values):
        raise DataError(
            f"a coreset of {k} of {len(values):,} points is not possible", f"choose k from 1 to {len(values)}"
        )
    first = int(np.random.default_rng(seed).integers(len(values)))
    return _Greedy(values, first).pick(k)


def _checked(points: Any) -> np.ndarray:
    """float32 "points dim", contiguous."""
    if hasattr(points, "detach"):
        points = points.detach().cpu().numpy()
    values = np.asarray(points)
    if values.ndim != 2 or not values.size:
        raise DataError(f"points of shape {values.shape} are not a table", "give rows of features")
    values = np.ascontiguousarray(values, np.float32)
    for start in range(0, len(values), BLOCK):
        good = np.isfinite(values[start : start + BLOCK]).all(axis=1)
        if not good.all():
            row = start + int((~good).argmax())
            raise DataError(f"point {row} holds NaN or infinity", "leave it out or make it again")
    return values


class _Greedy:
    """`squared`: exact squared distance of each point to its nearest pick, float64; -1 for picks."""

    def __init__(self, values: np.ndarray, first: int) -> None:
        self.values = values
        self.center = values[:BLOCK].mean(axis=0, dtype=np.float64).astype(np.float32)
        self.length = np.empty(len(values), np.float32)  # squared, from the centre
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK] - self.center
            self.length[start : start + BLOCK] = np.einsum("ij,ij->i", block, block)
        self.rounding = 2 * (values.shape[1] + 4) * float(np.finfo(np.float32).eps)
        self.squared = np.full(len(values), np.inf)
        self.picks = [first]
        self.squared[first] = -1.0
        self._reach_all(np.array([first]))

    def pick(self, k: int) -> np.ndarray:
        """The first k picks."""
        while len(self.picks) < k:
            if self.squared.max() <= 0:  # only copies of picks are left
                rest = np.flatnonzero(self.squared == 0)[: k - len(self.picks)]
                self.picks += rest.tolist()
                break
            news = self._among_candidates(min(k - len(self.picks), MOST_PICKS))
            self.picks += news
            self._reach_all(np.array(news))
        return np.array(self.picks, np.int64)

    def _among_candidates(self, most: int) -> list[int]:
        """The next picks, as many as the candidates alone decide; at least one."""
        count = min(CANDIDATES, len(self.values))
        rows = np.sort(np.argpartition(self.squared, -count)[-count:])  # sorted: ties go to the lowest index
        first = int(self.squared.argmax())
        outside = self.squared.copy() if count < len(self.values) else None
        limit = -1.0
        if outside is not None:
            outside[rows] = -1.0
            limit = float(outside.max())
        block = self.values[rows] - self.center
        length, squared = self.length[rows], self.squared[rows]
        news = [first]
        while True:
            place = int(np.searchsorted(rows, news[-1]))
            if place < len(rows) and rows[place] == news[-1]:
                squared[place] = -1.0
            if len(news) == most:
                return news
            center = self.values[news[-1]] - self.center
            own = float(center @ center)
            close = block @ (-2 * center)
            close += length + own
            close -= self.rounding * (length + own)
            near = np.flatnonzero(close <= squared)
            if len(near):
                exact = _exact(self.values[rows[near]], self.values[news[-1]][None])
                squared[near] = np.minimum(squared[near], exact)
            best = int(squared.argmax())
            if not squared[best] > max(limit, 0.0):
                return news
            news.append(int(rows[best]))

    def _reach_all(self, news: np.ndarray) -> None:
        """Shrinks the distances of all points by some new picks."""
        centers = self.values[news] - self.center
        own = np.einsum("ij,ij->i", centers, centers)
        slack = self.rounding * float(own.max())
        # |p|^2 - 2 x.p by one product: the rows get a 1 at their end, the picks their squared length.
        picks = np.ascontiguousarray(np.vstack([-2 * centers.T, own]))
        rows_with_1 = np.ones((BLOCK, len(picks)), np.float32)
        space = np.empty((BLOCK, len(news)), np.float32)
        for start in range(0, len(self.values), BLOCK):
            part = slice(start, start + BLOCK)
            block = rows_with_1[: len(self.values) - start]
            np.subtract(self.values[part], self.center, out=block[:, :-1])
            close = np.matmul(block, picks, out=space[: len(block)])
            lower = close.min(axis=1) + self.length[part] * np.float32(1 - self.rounding) - slack
            rows = np.flatnonzero(lower <= self.squared[part])
            if not len(rows):
                continue
            some = close[rows]
            limit = np.minimum(
                self.squared[part][rows] - self.length[part][rows],
                some.min(axis=1) + 2 * (slack + self.rounding * self.length[part][rows]),
            )
            limit += slack + self.rounding * self.length[part][rows]
            pair, pick = np.nonzero(some <= limit[:, None])
            exact = _exact(self.values[part][rows[pair]], self.values[news[pick]])
            np.minimum.at(self.squared, start + rows[pair], exact)
        self.squared[news] = -1.0


def _exact(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances of pairs of rows in float64, some at a time."""
    squared = np.empty(len(points))
    for start in range(0, len(points), 1024):
        part = slice(start, start + 1024)
        other = centers if len(centers) == 1 else centers[part]
        difference = points[part].astype(np.float64) - other
        squared[part] = np.einsum("ij,ij->i", difference, difference)
    return squared
