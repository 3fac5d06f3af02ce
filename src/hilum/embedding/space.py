"""What is done to vectors before a distance between them means something.

The seed report measured Euclidean distances between raw 1000-d outputs of a linear layer. There, a few
directions of large variance decide, whether or not they tell classes apart. The transforms below are
fitted on train alone: 'standardize' gives each dimension mean 0 and standard deviation 1; 'pca' keeps the
directions that hold 99 % of the variance and scales each to variance 1 (whitening); 'lda' is Fisher's
discriminant space of classes - 1 dimensions (Fisher 1936), with Ledoit-Wolf shrinkage of the covariance.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hilum.artifacts.embedding import Distance as Distance
from hilum.artifacts.embedding import Transform as Transform
from hilum.errors import DataError

TRANSFORMS: tuple[Transform, ...] = ("none", "standardize", "pca", "lda")
KEPT_VARIANCE = 0.99
SMALLEST_SD = 1e-6
"""Dimensions that vary less than this, relative to the largest, are constant: they are left unscaled."""


@dataclass(frozen=True)
class Space:
    """A fitted transform. `apply` takes "cases dim" to float32 "cases new_dim"."""

    transform: Transform
    center: np.ndarray
    matrix: np.ndarray | None = field(repr=False)
    """Float "dim new_dim", or "dim" for a scale per dimension, or None for no change."""

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """float32 vectors "cases dim" in this space. DataError when their length is another.

        >>> Space("standardize", np.array([1.0, 20.0]), np.array([1.0, 0.1])).apply(np.array([[2.0, 10.0]])).tolist()
        [[1.0, -1.0]]
        """
        if vectors.shape[1] != len(self.center):
            raise DataError(
                f"vectors have {vectors.shape[1]} dimensions, the space was fitted on {len(self.center)}",
                "use vectors of the same layer",
            )
        if self.matrix is None:
            return np.ascontiguousarray(vectors, np.float32)
        centred = vectors.astype(np.float32) - self.center
        return centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix


def fit_space(transform: Transform, vectors: np.ndarray, targets: np.ndarray) -> Space:
    """Fits a transform on train: float vectors "cases dim", int targets "cases" (only 'lda' reads them).

    DataError when all vectors are the same, or 'lda' finds fewer than two classes.

    >>> space = fit_space("standardize", np.array([[0.0, 10], [2, 30]]), np.array([0, 1]))
    >>> space.apply(np.array([[2.0, 10]])).tolist()
    [[1.0, -1.0]]
    """
    check_varies(vectors)
    wide = vectors.astype(np.float64)
    center = wide.mean(axis=0)
    if transform == "none":
        return Space(transform, center.astype(np.float32), None)
    if transform == "standardize":
        sd = wide.std(axis=0)
        matrix = 1 / np.where(sd > SMALLEST_SD * sd.max(), sd, 1.0)
    elif transform == "pca":
        matrix = _whitening(wide - center)
    else:
        matrix = _discriminants(wide, targets)
    return Space(transform, center.astype(np.float32), matrix.astype(np.float32))


def check_varies(vectors: np.ndarray) -> None:
    """DataError when there are no vectors, or all are the same: no distance means anything then.

    >>> check_varies(np.ones((3, 2)))
    Traceback (most recent call last):
    hilum.errors.DataError: all 3 vectors are the same; the network has collapsed; train it again
    """
    if len(vectors) < 2:
        raise DataError(f"{len(vectors)} vectors are too few to compare", "name a split with more cases")
    if not np.ptp(vectors.astype(np.float32), axis=0).max() > 0:
        raise DataError(
            f"all {len(vectors):,} vectors are the same", "the network has collapsed; train it again"
        )


def _whitening(centred: np.ndarray) -> np.ndarray:
    """Directions "dim new_dim" that hold KEPT_VARIANCE, each divided by its standard deviation."""
    covariance = centred.T @ centred / len(centred)
    variance, directions = np.linalg.eigh(covariance)
    variance, directions = variance[::-1], directions[:, ::-1]
    share = np.cumsum(variance) / variance.sum()
    kept = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, len(centred) - 1)
    return directions[:, :kept] / np.sqrt(variance[:kept])


def _discriminants(vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    if len(np.unique(targets)) < 2:
        raise DataError("train holds one class only", "LDA needs two classes or more")
    fitted: Any = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(vectors, targets)
    return fitted.scalings_[:, : len(np.unique(targets)) - 1]


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors "cases dim" at length 1; a zero vector stays zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
