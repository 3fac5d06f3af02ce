"""The training images most similar to an upload, in the space of the embedding stage, and its place on the map."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.artifacts.embedding import Distance, EmbeddingFigures
from hilum.data.decode import read_grey
from hilum.data.images import to_uint8
from hilum.embedding.neighbors import nearest_neighbors
from hilum.embedding.space import Space, fit_space
from hilum.embedding.vectors import Vectors, check_finite
from hilum.errors import HilumError, RunError
from hilum.inference.runtimes.torch import TorchRuntime
from hilum.report.heat import small
from hilum.web.explaining import data_uri
from hilum.web.models import Served

MAPS = ("tsne", "umap", "pca", "lda")
"""The map that is shown: the first of these that the run has."""

TILE = 160
"""Longest side of a thumbnail."""

MOST = 50
"""Neighbours of one answer."""


class NoNeighbors(HilumError):
    """A model without training images at hand."""


@dataclass(frozen=True)
class Reference:
    """Training images of a run as its embedding stage compares them. `base`: float32 "cases dim"; `cases`: a row per
    training image with case_id, label, path and its number in cases.csv; `points`: on the map "cases 2", NaN for
    a case that is not on it, None without a map; `title`: of the map."""

    layer: str
    space: Space
    distance: Distance
    base: np.ndarray
    cases: pd.DataFrame
    points: np.ndarray | None
    title: str

    @classmethod
    def of(cls, served: Served) -> "Reference":
        """Of a run's model. NoNeighbors for a model without embeddings; RunError for vectors of other weights.

        >>> Reference.of(Served("packaged", "cpu"))
        Traceback (most recent call last):
        hilum.web.neighbors.NoNeighbors: the packaged models carry no training images; serve a run: ...
        """
        if served.run is None or served.task is None:
            raise NoNeighbors(
                "the packaged models carry no training images",
                "serve a run: hilum serve RUN, with the stage embed",
            )
        if not served.has_neighbors:
            raise NoNeighbors(f"the model {served.id} has no embeddings", f"run: hilum embed {served.run_id}")
        folder = served.run.task(served.task)
        figures = EmbeddingFigures.load(folder.embeddings.figures_file)
        space = figures.space
        vectors = Vectors.read(folder.embeddings.vectors_file, folder.card().weights_digest)
        train = vectors.split == "train"
        table = served.run.cases().table.reset_index(drop=True)
        table = table.assign(number=np.arange(1, len(table) + 1)).set_index("case_id")
        cases = table.loc[vectors.case_id[train]].reset_index()
        fitted = fit_space(
            space.transform, vectors.layer(space.layer)[train], pd.factorize(cases["label"], sort=True)[0]
        )
        base = fitted.apply(vectors.layer(space.layer)[train])
        name = next((name for name in MAPS if name in figures.projections), None)
        points = None if name is None else _points(folder.embeddings.projection(), name, cases["case_id"])
        title = figures.projections[name].title if name else ""
        return cls(space.layer, fitted, space.distance, base, cases, points, title)

    def answer(self, vector: np.ndarray, k: int, show_names: bool) -> dict[str, Any]:
        """The answer of POST /v1/neighbors for a vector "1 dim": k neighbours, or as many as there are.

        >>> base = np.array([[0.0], [3.0]], np.float32)
        >>> cases = {"case_id": ["a", "b"], "number": [1, 2], "label": ["normal", "virus"], "path": ["a.png", "b.png"]}
        >>> space = Space("none", np.zeros(1), None)
        >>> reference = Reference("pool", space, "euclidean", base, pd.DataFrame(cases), None, "")
        >>> reference.answer(np.array([[1.0]]), 7, show_names=False)["neighbors"][0]
        {'case_id': 'case 1', 'label': 'normal', 'distance': 1.0, 'thumbnail': None}
        """
        near = nearest_neighbors(self.base, self.space.apply(vector), min(k, len(self.base)), self.distance)
        rows, distances = near.index[0], near.distance[0]
        chosen = self.cases.iloc[rows]
        neighbors = [
            {
                "case_id": case_id if show_names else f"case {number}",
                "label": label,
                "distance": round(float(distance), 6),
                "thumbnail": thumbnail(path),
            }
            for case_id, number, label, path, distance in zip(
                chosen["case_id"], chosen["number"], chosen["label"], chosen["path"], distances, strict=True
            )
        ]
        return {"neighbors": neighbors, "place": self._place(rows, distances), "map": self._map()}

    def _place(self, rows: np.ndarray, distances: np.ndarray) -> dict[str, float] | None:
        """The mean place of the neighbours on the map, near ones weighing more: a fitted t-SNE is not kept, so a new
        image can't be placed on it exactly."""
        if self.points is None:
            return None
        points = self.points[rows]
        weights = np.where(np.isfinite(points).all(1), 1 / (distances + 1e-6 + 0.1 * distances.mean()), 0.0)
        if not weights.sum():
            return None
        x, y = (np.nan_to_num(points) * weights[:, None]).sum(0) / weights.sum()
        return {"x": round(float(x), 4), "y": round(float(y), 4)}

    def _map(self) -> dict[str, Any] | None:
        if self.points is None:
            return None
        shown = np.isfinite(self.points).all(1)
        return {
            "title": self.title,
            "x": self.points[shown, 0].round(4).tolist(),
            "y": self.points[shown, 1].round(4).tolist(),
            "label": self.cases["label"].to_numpy()[shown].tolist(),
        }


def _points(projection: pd.DataFrame, name: str, case_ids: pd.Series) -> np.ndarray:
    placed = projection.set_index("case_id").reindex(case_ids)
    return placed[[f"{name}_x", f"{name}_y"]].to_numpy(float)


class References:
    """The references of the served models, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, Reference] = {}
        self._lock = threading.Lock()

    def neighbors(self, served: Served, prepared: np.ndarray, k: int, show_names: bool) -> dict[str, Any]:
        """The answer for an image as the model reads it, uint8 "rows cols". Errors as in `Reference`.

        >>> References().neighbors(Served("packaged", "cpu"), np.zeros((128, 128), np.uint8), 7, False)
        Traceback (most recent call last):
        hilum.web.neighbors.NoNeighbors: the packaged models carry no training images; serve a run: ...
        """
        with self._lock:
            if served.id not in self._known:
                self._known[served.id] = Reference.of(served)
            reference = self._known[served.id]
        runtime = served.predictor.classifier.runtime
        if not isinstance(runtime, TorchRuntime):
            raise RunError("neighbours need a model in torch", "serve the model that it was exported from")
        _, layers = runtime.embed(runtime.pixels.normalize(prepared[None]), [reference.layer])
        check_finite(layers[reference.layer], ["the image"], f"layer {reference.layer!r}")
        return reference.answer(layers[reference.layer], k, show_names)


@lru_cache(512)
def thumbnail(path: str) -> str | None:
    """A small PNG of a training image as text; None when the file has moved or can't be read.

    >>> thumbnail("gone.png") is None
    True
    """
    try:
        picture = small(to_uint8(read_grey(Path(path))), TILE)
    except (HilumError, OSError):
        return None
    return data_uri(cv2.imencode(".png", picture)[1].tobytes())
