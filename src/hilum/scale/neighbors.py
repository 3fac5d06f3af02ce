"""The scored images most similar to an image, by the embeddings that `hilum score` wrote."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import Distance
from hilum.embedding.approximate import LARGE
from hilum.embedding.neighbors import Neighbors, nearest_in_blocks
from hilum.errors import DataError, ModelError, RunError
from hilum.inference.prediction import Prediction
from hilum.progress import say
from hilum.scale.neighbors_index import Index, without_own
from hilum.scale.parts import Strict
from hilum.scale.score_model import digest_of_model
from hilum.scale.scored import SHOWN, Scores
from hilum.serving.predictor import predictor_for

EXACT = Figure(value=1.0, reason="the search is exact")


class ScoredImage(Strict):
    """What the model says of an image: `prediction`, None where it abstains or could not say; `findings`: those that
    are present, of a model of several findings."""

    file: str
    prediction: str | None
    abstained: bool
    findings: list[str] | None

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "ScoredImage":
        """Of a row of the scores.

        >>> ScoredImage.of_row(dict(file="a.png", prediction=None, abstained=True, findings=None)).abstained
        True
        """
        return cls(**{name: row[name] for name in cls.model_fields})

    @classmethod
    def of_prediction(cls, file: str, prediction: Prediction) -> "ScoredImage":
        """Of an image that was predicted now.

        >>> from hilum.inference.prediction import ModelName
        >>> failed = Prediction.failed("x.png", "x.png is empty", ModelName(name="binary", digest=None))
        >>> ScoredImage.of_prediction("x.png", failed).prediction is None
        True
        """
        findings = prediction.findings
        return cls(
            file=file,
            prediction=prediction.prediction,
            abstained=prediction.abstained,
            findings=None if findings is None else [name for name, each in findings.items() if each.positive],
        )


class SimilarImage(Strict):
    """A neighbour. `rank`: 1 for the nearest; `distance`: of the embeddings."""

    rank: int
    distance: float
    image: ScoredImage


class SimilarImages(Strict):
    """The answer. `compared`: images with an embedding; `search`: "exact", or "ivf-pq" with the `recall` at 10
    neighbours that was measured when the index was made; `neighbors`: nearest first."""

    query: ScoredImage
    compared: int
    distance: Distance
    search: Literal["exact", "ivf-pq"]
    recall: Figure
    neighbors: list[SimilarImage]


@dataclass(frozen=True)
class Query:
    """An image with its embedding "1 dim"; `row`: its own row of the scores, None for a file."""

    image: ScoredImage
    vector: np.ndarray
    row: int | None


def similar_images(
    folder: Path,
    image: str,
    k: int = 7,
    model: Path | None = None,
    device: str = "auto",
    distance: Distance | None = None,
) -> SimilarImages:
    """The k scored images most similar to one: by the index where the folder has one (see `build_index`), else by
    comparing all embeddings, part by part.

    `image`: a file, which the model embeds, or the cell `file` of a scored image, which is not its own neighbour.
    `model`, `device`: as in `hilum score`; `distance`: None for that of the index, or 'cosine'. DataError for an image
    that is neither, or can't be read, and for too large a k; ModelError for another model than that of the scores;
    RunError for an index that does not fit them.

    >>> similar_images(Path("gone"), "a.png")
    Traceback (most recent call last):
    hilum.errors.RunError: gone holds no finished scores (no _manifest.json); run: hilum score SOURCE --out gone
    """
    scores = Scores.open(folder)
    index = Index.open(scores)
    if index is not None and distance not in (None, index.manifest.distance):
        raise RunError(
            f"the index of {folder} is for the {index.manifest.distance} distance",
            f"make it again: hilum neighbors {folder} --index --distance {distance}",
        )
    query = _query(scores, image, model, device)
    wanted = k + (query.row is not None)
    if index is None:
        return _answer(scores, query, *_compared(scores, query, wanted, distance or "cosine"))
    facts = index.manifest
    if wanted > facts.vectors:
        raise _too_few(k, query, facts.vectors)
    near = index.search(query.vector, wanted)
    return _answer(scores, query, near, facts.vectors, facts.distance, facts.kind, facts.recall)


def _answer(
    scores: Scores,
    query: Query,
    near: Neighbors,
    compared: int,
    distance: Distance,
    search: Literal["exact", "ivf-pq"] = "exact",
    recall: Figure = EXACT,
) -> SimilarImages:
    if query.row is not None:
        near = without_own(near, np.array([query.row]))
    rows, distances = near.index[0][near.index[0] >= 0], near.distance[0]
    images = [ScoredImage.of_row(row) for row in scores.rows(rows)]
    return SimilarImages(
        query=query.image,
        compared=compared,
        distance=distance,
        search=search,
        recall=recall,
        neighbors=[
            SimilarImage(rank=rank, distance=round(float(value), 6), image=each)
            for rank, (value, each) in enumerate(zip(distances, images, strict=False), start=1)
        ],
    )


def _compared(scores: Scores, query: Query, k: int, distance: Distance) -> tuple[Neighbors, int, Distance]:
    """The nearest among all embeddings of the parts, how many these are, and the distance."""
    if scores.manifest.rows > LARGE:
        say(
            f"{scores.manifest.rows:,} images are compared one by one; with an index it is faster:"
            f" hilum neighbors {scores.folder} --index"
        )
    compared = 0

    def blocks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal compared
        for rows, vectors in scores.vectors(distance):
            compared += len(rows)
            yield rows, vectors

    try:
        near = nearest_in_blocks(blocks(), query.vector, k, distance)
    except DataError:
        if k <= compared:
            raise
        raise _too_few(k - (query.row is not None), query, compared) from None
    return near, compared, distance


def _too_few(k: int, query: Query, compared: int) -> DataError:
    """An image of the scores is not its own neighbour."""
    others = compared - (query.row is not None)
    return DataError(f"{k} neighbours are wanted among {others:,} images", "choose a smaller --k")


def _query(scores: Scores, image: str, model: Path | None, device: str) -> Query:
    """Of a file, if there is one of this name, else of a row of the scores."""
    if Path(image).is_file():
        return _of_file(scores, Path(image), model, device)
    row = scores.row_of(image)
    if row is None:
        raise DataError(
            f"{image} is neither a file nor the name of an image in {scores.folder}",
            "name a radiograph, or a cell of the column file",
        )
    [cells] = scores.rows([row], [*SHOWN, "embedding"])
    if cells["embedding"] is None:
        raise DataError(f"{image} could not be read when it was scored", "name another image")
    return Query(ScoredImage.of_row(cells), np.array([cells["embedding"]], np.float32), row)


def _of_file(scores: Scores, path: Path, model: Path | None, device: str) -> Query:
    """The vector is rounded as those of the scores are, so that the same image lies at distance 0."""
    wanted, runtime = scores.manifest.model, scores.manifest.runtime
    digest = digest_of_model(model, runtime)
    if digest != wanted.digest:
        raise ModelError(
            f"{scores.folder} was scored by another model ({wanted.name}, digest {wanted.digest[:12]};"
            f" this one has {digest[:12]})",
            "name the model that made the scores with --model",
        )
    [(prediction, vector)] = predictor_for(model, device, runtime).embedded([path])
    if vector is None:
        raise DataError(str(prediction.error))
    return Query(
        ScoredImage.of_prediction(str(path), prediction), vector.astype(scores.precision)[None], None
    )
