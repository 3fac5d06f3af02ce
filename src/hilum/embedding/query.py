"""Which cases look like this image: for a file that is in no split."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.data.decode import UnreadableImage, read_grey
from hilum.embedding.extract import Vectors, check_finite, embed_images
from hilum.embedding.neighbors import nearest_neighbors
from hilum.embedding.space import fit_space
from hilum.errors import DataError, RunError, nearest
from hilum.files import replacing
from hilum.inference.forward import softmax
from hilum.run import Run

TILE = 224
CAPTION = 34


@dataclass(frozen=True)
class Answer:
    """`neighbors`: rank, case_id, label, patient, distance, path; nearest first. `probabilities`: of the
    network's own head, by class. `typical`: the median distance from a train case to its k-th neighbour."""

    path: Path
    image: np.ndarray
    probabilities: dict[str, float]
    neighbors: pd.DataFrame
    typical: float


def neighbors_of_file(run: Run, path: Path, task: str | None = None, k: int = 7) -> Answer:
    """The k train cases most like the image at `path`, in the space that the run's embedding stage used.

    RunError when that stage has not run; ModelError when its vectors belong to another model; DataError for
    an unreadable file or too large a k.
    """
    name = _task(run, task)
    folder = run.task(name)
    choices = _space(run, name)
    vectors = Vectors.read(folder.embeddings.vectors_file, folder.card()["weights_digest"])
    cases = run.cases().table.set_index("case_id")
    model = folder.load_model()
    try:
        image = read_grey(path)
    except UnreadableImage as error:
        raise DataError(f"{path} can't be read ({error.reason})", "name a radiograph") from None
    logits, vector = embed_images(model, model.pixels.prepare(image)[None], choices["layer"])
    check_finite(vector, [str(path)], f"layer {choices['layer']!r}")
    train = vectors.split == "train"
    values = vectors.layer(choices["layer"])[train]
    found = cases.loc[vectors.case_id[train]]
    space = fit_space(choices["transform"], values, pd.factorize(found["label"], sort=True)[0])
    near = nearest_neighbors(space.apply(values), space.apply(vector), k, choices["distance"])
    table = found.iloc[near.index[0]].reset_index()[["case_id", "label", "patient", "path"]]
    table.insert(0, "rank", np.arange(1, k + 1))
    table.insert(4, "distance", near.distance[0])
    typical = folder.embeddings.neighbors()
    of_train = typical["case_id"].isin(set(vectors.case_id[train])) & (
        typical["rank"] == typical["rank"].max()
    )
    return Answer(
        path,
        image,
        dict(zip(model.classes, softmax(logits)[0].tolist(), strict=True)),
        table,
        float(typical.loc[of_train, "distance"].median()),
    )


def _task(run: Run, task: str | None) -> str:
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    if task is not None and task not in run.tasks:
        raise RunError(f"{run.path} has no task {task!r}", nearest(task, run.tasks))
    return task or run.tasks[-1]


def _space(run: Run, task: str) -> dict[str, Any]:
    file = run.task(task).embeddings.figures_file
    if not file.exists():
        raise RunError(f"{file} is missing", f"run: hilum embed {run.path}")
    return run.task(task).embeddings.figures()["space"]


def contact_sheet(answer: Answer, path: Path) -> Path:
    """Writes the image and its neighbours side by side as one grey PNG, never stretched; gives the path.

    DataError when a neighbour's image has moved."""
    tiles = [_tile(answer.image, "asked", answer.path.name)]
    for row in answer.neighbors.itertuples():
        try:
            image = read_grey(Path(str(row.path)))
        except (UnreadableImage, OSError) as error:
            raise DataError(f"{row.path} can't be read ({error})", "put the radiographs back") from None
        tiles.append(_tile(image, f"{row.rank}: {row.label}, {row.distance:.3g}", str(row.case_id)))
    while len(tiles) % 4:
        tiles.append(np.zeros_like(tiles[0]))
    rows = [np.hstack(tiles[start : start + 4]) for start in range(0, len(tiles), 4)]
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", np.vstack(rows))[1].tobytes())
    return path


def _tile(image: np.ndarray, first: str, second: str) -> np.ndarray:
    """uint8: the image within a square of TILE px on black, two lines of text below."""
    from hilum.data.images import resize, to_uint8

    tile = np.zeros((TILE + CAPTION, TILE), np.uint8)
    tile[:TILE] = resize(to_uint8(image), (TILE, TILE), "pad")
    for line, text in enumerate((first, second)):
        place = (3, TILE + 13 + 15 * line)
        cv2.putText(tile, text[:34], place, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255, 1, cv2.LINE_AA)
    return tile
