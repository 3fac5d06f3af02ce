"""The training images most similar to one radiograph that is in no split."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hilum.artifacts.embedding import EmbeddingFigures
from hilum.data.decode import UnreadableImage, read_grey
from hilum.data.images import to_uint8
from hilum.data.place import letterboxed
from hilum.embedding.neighbors import nearest_neighbors
from hilum.embedding.space import fit_space
from hilum.embedding.vectors import Vectors, check_finite
from hilum.errors import DataError, RunError, nearest
from hilum.files import replacing
from hilum.folders import TaskFolder
from hilum.inference.forward import softmax, vectors_of
from hilum.run import Run

TILE = 224
CAPTION = 34
PER_ROW = 4


@dataclass(frozen=True)
class ImageNeighbors:
    """`image`: the grey radiograph; `probabilities`: of the network's own head, by class; `table`: rank,
    case_id, label, patient, distance, path, nearest first; `typical_distance`: the median distance of a
    training case from the farthest of its listed neighbours."""

    path: Path
    image: np.ndarray
    probabilities: dict[str, float]
    table: pd.DataFrame
    typical_distance: float


def neighbors_of_file(run: Run, path: Path, task: str | None = None, k: int = 7) -> ImageNeighbors:
    """The k training images most similar to the one at `path`, in the space that the run's embedding stage used.

    `task`: None is the task with the most classes. RunError when that stage has not run; ModelError when its
    vectors belong to another model; DataError for an unreadable file or too large a k.
    """
    folder = run.task(_task(run, task))
    space = EmbeddingFigures.load(folder.embeddings.figures_file).space
    vectors = Vectors.read(folder.embeddings.vectors_file, folder.card().weights_digest)
    image = _read(path)
    model = folder.load_model()
    logits, layers = vectors_of(model, model.pixels.prepare(image)[None], [space.layer])
    query = layers[space.layer]
    check_finite(query, [str(path)], f"layer {space.layer!r}")
    train = vectors.split == "train"
    base = vectors.layer(space.layer)[train]
    cases = run.cases().table.set_index("case_id").loc[vectors.case_id[train]]
    fitted = fit_space(space.transform, base, pd.factorize(cases["label"], sort=True)[0])
    near = nearest_neighbors(fitted.apply(base), fitted.apply(query), k, space.distance)
    table = cases.iloc[near.index[0]].reset_index()[["case_id", "label", "patient", "path"]]
    table.insert(0, "rank", np.arange(1, k + 1))
    table.insert(4, "distance", near.distance[0])
    probabilities = dict(zip(model.classes, softmax(logits)[0].tolist(), strict=True))
    return ImageNeighbors(path, image, probabilities, table, _typical_distance(folder, vectors))


def _task(run: Run, task: str | None) -> str:
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    if not run.class_tasks:
        raise RunError(f"{run.path} has no task of one class per image", "train one: hilum train")
    if task is not None and task not in run.class_tasks:
        raise RunError(
            f"{run.path} has no task {task!r} of one class per image", nearest(task, run.class_tasks)
        )
    return task or run.class_tasks[-1]


def _read(path: Path) -> np.ndarray:
    try:
        return read_grey(path)
    except UnreadableImage as error:
        raise DataError(f"{path} can't be read ({error.reason})", "name a radiograph") from None


def _typical_distance(folder: TaskFolder, vectors: Vectors) -> float:
    """How far a training case lies from the farthest of its listed neighbours, the median."""
    listed = folder.embeddings.neighbors()
    of_train = listed["case_id"].isin(set(vectors.case_id[vectors.split == "train"]))
    return float(listed.loc[of_train & (listed["rank"] == listed["rank"].max()), "distance"].median())


def contact_sheet(neighbors: ImageNeighbors, path: Path) -> Path:
    """Writes the image and its neighbours side by side as one grey PNG, never stretched; gives the path.

    DataError when a neighbour's image has moved.

    >>> from tempfile import TemporaryDirectory
    >>> none = pd.DataFrame(columns=["rank", "case_id", "label", "distance", "path"])
    >>> neighbors = ImageNeighbors(Path("child.png"), np.zeros((96, 80), np.uint8), {"virus": 0.9}, none, 0.1)
    >>> with TemporaryDirectory() as folder:
    ...     read_grey(contact_sheet(neighbors, Path(folder, "sheet.png"))).shape
    (258, 896)
    """
    tiles = [_tile(neighbors.image, "query", neighbors.path.name)]
    for row in neighbors.table.itertuples():
        try:
            image = read_grey(Path(str(row.path)))
        except (UnreadableImage, OSError) as error:
            raise DataError(f"{row.path} can't be read ({error})", "put the radiographs back") from None
        tiles.append(_tile(image, f"{row.rank}: {row.label}, {row.distance:.3g}", str(row.case_id)))
    while len(tiles) % PER_ROW:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[start : start + PER_ROW]) for start in range(0, len(tiles), PER_ROW)]
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
    return path


def _tile(image: np.ndarray, first: str, second: str) -> np.ndarray:
    """uint8: the image within a square of TILE px on black, two lines of text below."""
    tile = np.zeros((TILE + CAPTION, TILE), np.uint8)
    tile[:TILE] = letterboxed(to_uint8(image), (TILE, TILE))
    for line, text in enumerate((first, second)):
        place = (3, TILE + 13 + 15 * line)
        cv2.putText(tile, text[:34], place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255, 1, cv2.LINE_AA)
    return tile
