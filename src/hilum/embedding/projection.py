"""Maps: the vectors in two dimensions, fitted on train; val and test are placed on the finished map.

How faithful a map is, is measured in hilum.embedding.faithfulness.
"""

import time
import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hilum.embedding.space import Distance, check_varies, fit_space, unit
from hilum.embedding.threads import threads
from hilum.errors import DataError

MapName = Literal["pca", "lda", "tsne", "umap"]
TITLES = {"pca": "PCA", "lda": "LDA", "tsne": "t-SNE", "umap": "UMAP"}
DIMENSIONS = 50
"""t-SNE and UMAP work on so many principal components; more cost time and change little."""
FFT_FROM = 3000


@dataclass(frozen=True)
class MapSettings:
    """Settings of a map. `perplexity` is t-SNE's; UMAP uses as many neighbours."""

    name: MapName
    perplexity: float = 30.0
    exaggeration: float = 1.0
    iterations: int = 750
    seed: int = 0
    start: Literal["pca", "random"] = "pca"


@dataclass(frozen=True)
class Map:
    """`train` and `placed`: float64 "cases 2", the cases it was fitted on and those placed afterwards."""

    settings: MapSettings
    train: np.ndarray
    placed: np.ndarray
    seconds: float


def fit_map(
    settings: MapSettings,
    train: np.ndarray,
    targets: np.ndarray,
    new: np.ndarray,
    distance: Distance = "euclidean",
) -> Map:
    """Fits a map to the vectors `train` "cases dim" and places `new` "more dim" on it.

    With 'cosine' vectors are given length 1 first: Euclidean distances then rank as cosines do. `targets`
    are read by LDA alone. Where there are too few cases for the perplexity it is lowered (`fitting`): `Map.settings`
    says to what. DataError for too few cases for any, or for NaN.

    >>> line = np.array([[0.0], [1.0], [5.0]])
    >>> fitted = fit_map(MapSettings("pca"), line, np.array([0, 0, 1]), np.array([[2.0]]))
    >>> fitted.train[:, 0].tolist(), fitted.placed[:, 0].tolist()
    ([-2.0, -1.0, 3.0], [0.0])
    """
    if not (np.isfinite(train).all() and np.isfinite(new).all()):
        raise DataError("vectors hold NaN or infinity", "make them again with: hilum embed RUN")
    check_varies(train)
    start = time.perf_counter()
    if distance == "cosine":
        train, new = unit(train), unit(new)
    if settings.name == "lda":
        placed = _lda(train, targets, new)
    else:
        reduced = _principal(train, new, 2 if settings.name == "pca" else DIMENSIONS)
        if settings.name != "pca":
            settings = fitting(settings, len(train))
        placed = {"pca": lambda _, a, b: (a, b), "tsne": _tsne, "umap": _umap}[settings.name](
            settings, *reduced
        )
    seconds = round(time.perf_counter() - start, 2)
    return Map(settings, np.asarray(placed[0], np.float64), np.asarray(placed[1], np.float64), seconds)


def fitting(settings: MapSettings, n: int) -> MapSettings:
    """The settings with the largest whole perplexity that n training images allow, a third of n - 1, where that is
    lower. DataError for fewer than 7 images.

    >>> fitting(MapSettings("tsne"), 30).perplexity, fitting(MapSettings("tsne"), 91).perplexity
    (9, 30.0)
    """
    if n - 1 >= 3 * settings.perplexity:
        return settings
    possible = (n - 1) // 3
    if possible < 2:
        raise DataError(f"{n} training images are too few for this map", "bring 7 or more")
    return replace(settings, perplexity=possible)


def _principal(train: np.ndarray, new: np.ndarray, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along the directions of largest variance of train."""
    center = train.mean(axis=0, dtype=np.float64)
    centred = train.astype(np.float64) - center
    directions = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :dimensions]
    directions = directions * np.sign(
        directions[np.abs(directions).argmax(axis=0), range(directions.shape[1])]
    )
    return _two(centred @ directions), _two((new - center) @ directions)


def _two(points: np.ndarray) -> np.ndarray:
    """At least two columns: vectors of one dimension get a zero beside it."""
    return points if points.shape[1] > 1 else np.pad(points, ((0, 0), (0, 1)))


def _lda(train: np.ndarray, targets: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first two discriminants; with two classes there is one, and the second axis is the direction of
    largest variance at a right angle to it."""
    space = fit_space("lda", train, targets)
    first, placed = space.apply(train), space.apply(new)
    if first.shape[1] >= 2:
        return first[:, :2], placed[:, :2]
    assert space.matrix is not None
    axis = space.matrix / np.linalg.norm(space.matrix)
    rest, rest_new = train - (train @ axis) @ axis.T, new - (new @ axis) @ axis.T
    second, second_new = _principal(rest, rest_new, 2)
    return np.column_stack([first[:, 0], second[:, 0]]), np.column_stack([placed[:, 0], second_new[:, 0]])


def _tsne(settings: MapSettings, train: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """t-SNE (van der Maaten & Hinton 2008) by openTSNE (Policar et al. 2024), forces by interpolation on a
    grid (Linderman et al. 2019) from FFT_FROM cases on. Learning rate and early exaggeration are smaller
    than openTSNE's: the map keeps neighbours better and is fitted faster (benchmarks/tsne.py)."""
    from openTSNE import TSNE

    large = len(train) >= FFT_FROM
    tsne = TSNE(
        perplexity=settings.perplexity,  # type: ignore[arg-type]
        initialization=settings.start,
        exaggeration=settings.exaggeration,
        early_exaggeration=8,  # type: ignore[arg-type]
        early_exaggeration_iter=settings.iterations // 3,
        learning_rate=max(50.0, len(train) / 40),  # type: ignore[arg-type]
        negative_gradient_method="fft" if large else "bh",
        n_interpolation_points=2,
        n_iter=settings.iterations,
        neighbors="exact",
        n_jobs=threads(),
        random_state=settings.seed,
    )
    fitted = tsne.fit(train)
    placed = fitted.transform(new) if len(new) else np.zeros((0, 2))
    return np.asarray(fitted), np.asarray(placed)


def _umap(settings: MapSettings, train: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """UMAP (McInnes et al., arXiv:1802.03426); its import takes seconds, so it comes late."""
    try:
        import umap  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise DataError(
            "umap-learn is not installed", "pip install 'hilum[umap]', or leave umap out"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells that a seed means one thread
        model: Any = umap.UMAP(
            n_neighbors=max(2, round(settings.perplexity)),
            init="spectral" if settings.start == "pca" else "random",
            random_state=settings.seed,
            n_jobs=1,
        )
        fitted = model.fit_transform(train.astype(np.float32))
        placed = model.transform(new.astype(np.float32)) if len(new) else np.zeros((0, 2))
    return fitted, placed
