"""What classifies without training (raw pixels, HOG, a random network), and the linear probe.

These rows show what training brought: radiographs of abnormal and healthy children differ already in
brightness and in the size of the heart's shadow.
"""

from typing import Any

import cv2
import numpy as np

from hilum.embedding.space import KEPT_VARIANCE
from hilum.errors import DataError
from hilum.inference.forward import vectors_of
from hilum.models import ChestModel, build

RAW_SIZE = 32
HOG_SIZE = 64
PROBE_PENALTY = 0.01


def raw_pixels(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32 "cases 1024": images uint8 "images rows cols" shrunk to 32 x 32 by area averaging, 0..1.

    >>> float(raw_pixels(np.full((2, 64, 64), 51, np.uint8), np.array([1])).max())
    0.2
    """
    return np.stack([_shrunk(images[row], RAW_SIZE).ravel() for row in rows]).astype(np.float32) / 255


def hog(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """float32 "cases 1764" of images uint8 "images rows cols" shrunk to 64 x 64; see `hog_of`.

    >>> hog(np.zeros((2, 96, 96), np.uint8), np.array([0, 1])).shape
    (2, 1764)
    """
    return np.stack([hog_of(_shrunk(images[row], HOG_SIZE)) for row in rows])


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(np.asarray(image), (side, side), interpolation=cv2.INTER_AREA)


def hog_of(image: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal & Triggs, CVPR 2005) of a square uint8 image whose side is a
    multiple of 8: cells of 8 pixels, 9 unsigned directions of 20 degrees, blocks of 2 x 2 cells of length 1.

    >>> edge = np.zeros((16, 16), np.uint8); edge[:, 8:] = 255   # gradients point along the rows: direction 0
    >>> hog_of(edge).reshape(4, 9)[:, 0].round(2).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    down, across = np.gradient(image.astype(np.float32))
    strength = np.hypot(down, across)
    direction = np.minimum((np.arctan2(down, across) % np.pi * (9 / np.pi)).astype(int), 8)
    side = len(image) // 8
    row, column = np.indices(image.shape) // 8
    cell = (row * side + column) * 9 + direction
    cells = np.bincount(cell.ravel(), strength.ravel(), side * side * 9).reshape(side, side, 9)
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1)
    length = np.linalg.norm(blocks, axis=-1, keepdims=True)
    return (blocks / np.maximum(length, 1e-6)).ravel().astype(np.float32)


def random_network(model: ChestModel, images: np.ndarray, rows: np.ndarray, layer: str) -> np.ndarray:
    """float32 "cases dim": the same architecture with fresh weights (seed 0) and the same pixels.

    >>> from hilum.data.images import Pixels
    >>> small = {"blocks": [[4]], "dense": [6]}
    >>> model = build("vgg", ["normal", "virus"], Pixels(size=(64, 64)), small)
    >>> from hilum.artifacts.card import Architecture, ModelCard
    >>> model.card = ModelCard.model_construct(architecture=Architecture(name="vgg", options=small))
    >>> random_network(model, np.zeros((2, 64, 64), np.uint8), np.array([0, 1]), "embedding").shape
    (2, 6)
    """
    import torch

    assert model.card is not None  # the stage has loaded it
    architecture = model.card.architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = build(architecture.name, model.classes, model.pixels, architecture.options)
    return vectors_of(fresh, images, [layer], rows, "random network")[1][layer]


def fit_probe(vectors: np.ndarray, targets: np.ndarray) -> Any:
    """Logistic regression (scikit-learn, C = 0.01) on standardised vectors "cases dim", rotated to the
    principal directions that hold 99 % of their variance, which makes it some ten times faster.

    DataError when train holds one class only.

    >>> probe = fit_probe(np.array([[0.0], [1.0], [8.0], [9.0]]), np.array([0, 0, 1, 1]))
    >>> probe_probabilities(probe, np.array([[0.0], [9.0]])).argmax(axis=1).tolist()
    [0, 1]
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(targets)) < 2:
        raise DataError("train holds one class only", "a classifier needs at least two classes")
    reduce = PCA(KEPT_VARIANCE, svd_solver="covariance_eigh")
    probe = make_pipeline(StandardScaler(), reduce, LogisticRegression(C=PROBE_PENALTY, max_iter=1000))
    return probe.fit(vectors.astype(np.float64), targets)


def probe_probabilities(probe: Any, vectors: np.ndarray) -> np.ndarray:
    """Probabilities "cases classes" of the probe.

    >>> probe = fit_probe(np.array([[0.0], [1.0], [8.0], [9.0]]), np.array([0, 0, 1, 1]))
    >>> probe_probabilities(probe, np.array([[4.5]])).round(2).tolist()
    [[0.5, 0.5]]
    """
    return probe.predict_proba(vectors.astype(np.float64))
