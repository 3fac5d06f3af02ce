"""Stage `embed`: the vectors of each task's model, and what neighbours in their space are worth."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hilum.config import Config
from hilum.errors import DataError, HilumError
from hilum.progress import say
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    import numpy as np

    from hilum.artifacts.embedding import (
        Candidate,
        Classifier,
        DuplicateCounts,
        Projection,
        Retrieval,
        Search,
        SuspectCounts,
        VectorSpace,
    )
    from hilum.embedding.cases import TaskCases
    from hilum.embedding.classifiers import KnnSettings
    from hilum.embedding.vectors import Vectors
    from hilum.models import ChestModel

LISTED = 7
"""Neighbours of each case in neighbors.csv."""

CANDIDATES = 20
"""Candidates of the cross-validation that are kept."""

THUMBNAIL = (64, 64)
"""Pixels by which a pair of cases is compared."""


class EmbeddingConfig(Config):
    """What is done with the vectors of a trained model.

    `select`: transform, distance, weights and k by patient-disjoint cross-validation on train, instead of
    those given here. `map_seeds`: further seeds per map, to see how stable it is.
    """

    layer: str = "embedding"
    precision: Literal["float16", "float32"] = "float16"
    k: int = Field(default=7, ge=1)
    transform: Literal["none", "standardize", "pca", "lda"] = "standardize"
    distance: Literal["euclidean", "cosine"] = "cosine"
    weights: Literal["uniform", "distance"] = "distance"
    select: bool = False
    maps: tuple[Literal["pca", "lda", "tsne", "umap"], ...] = ("pca", "lda", "tsne")
    perplexity: float = Field(default=30.0, gt=1)
    exaggeration: float = Field(default=1.0, ge=1, description="t-SNE: kept after the early phase")
    iterations: int = Field(default=750, ge=50, description="t-SNE, after an early phase of a third as many")
    map_seeds: int = Field(default=0, ge=0)
    baselines: tuple[Literal["raw_pixels", "hog", "random_network"], ...] = (
        "raw_pixels",
        "hog",
        "random_network",
    )
    suspects: bool = True
    seed: int = Field(default=0, ge=0)


@dataclass
class _Log:
    """Seconds by part of the stage, and the parts that could not be made, with the reason."""

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[part] = round(time.perf_counter() - start, 2)

    @contextmanager
    def optional(self, part: str) -> Iterator[None]:
        """Too few cases for one part must not cost the others."""
        try:
            yield
        except DataError as error:
            self.left_out[part] = str(error)
            say(f"  {part} left out: {error}")


def run(context: Context, config: EmbeddingConfig) -> None:
    """Writes embeddings/ of one task; figures.json comes last.

    A map, the label suspects or a split's retrieval that needs more cases than there are is left out with
    its reason; DataError when not even neighbours can be found.
    """
    from hilum.artifacts.embedding import EmbeddingFigures
    from hilum.data.cases import SPLITS
    from hilum.embedding.cases import task_cases
    from hilum.embedding.classifiers import published
    from hilum.embedding.space import fit_space
    from hilum.embedding.suspects import density
    from hilum.embedding.threads import limited_threads

    log, files, task = _Log(), context.folder.embeddings, context.this_task
    model = context.folder.load_model()
    with log.timed("extract"):
        vectors = _vectors(context, config, model)
    data = task_cases(context.cases, vectors, task)
    values, train = vectors.layer(config.layer), data.train
    files.clear()  # a layer that does not exist is refused by now
    with limited_threads():
        with log.timed("select"):
            candidates, knn = _knn(data, values, config)
        placed = fit_space(knn.transform, values[train], data.targets[train]).apply(values)
        with log.timed("neighbors"):
            search = _neighbors(context, data, placed, knn)
        with log.timed("classifiers"):
            classifiers = _classifiers(context, config, data, vectors, model, knn)
        with log.timed("maps"):
            projections = _projections(context, config, data, placed, knn, log)
        with log.timed("retrieval"):
            retrieval = _retrieval(data, placed, knn, log)
        with log.timed("suspects"):
            suspects = _suspects(context, config, data, values, placed, knn, log)
            duplicates = _duplicates(context, config, data, model, placed, knn)
        patients = data.patients[train]
        by_class = density(placed[train], data.targets[train], patients, data.classes, knn.k, knn.distance)
    EmbeddingFigures(
        schema_version=EmbeddingFigures.SCHEMA,
        weights_digest=vectors.weights_digest,
        task=task.name,
        classes=list(task.classes),
        images={split: len(data.rows(split)) for split in SPLITS},
        space=_space(config, knn, values.shape[1], placed.shape[1], bool(candidates)),
        candidates=candidates,
        classifiers=classifiers,
        published=published(task.classes, context.cases.source),
        projections=projections,
        left_out=log.left_out,
        retrieval=retrieval,
        density=by_class,
        suspects=suspects,
        duplicates=duplicates,
        search=search,
        seconds=log.seconds,
    ).save(files.figures_file)


STAGE = Stage(
    name="embed",
    about="Vectors of every image: neighbours, kNN beside the network's head, maps, retrieval, label suspects.",
    config=EmbeddingConfig,
    run=run,
    version=3,
    needs=("train",),
    uses=("prepare",),
    artifacts=(
        "embeddings/vectors.npz",
        "embeddings/neighbors.csv",
        "embeddings/projection.csv",
        "embeddings/figures.json",
    ),
)


# -- what goes in --------------------------------------------------------------------------------------------


def _vectors(context: Context, config: EmbeddingConfig, model: "ChestModel") -> "Vectors":
    """vectors.npz of this model, these images and layers; made again where it does not fit."""
    from hilum.data.split import used_cases
    from hilum.embedding.extract import cases_digest, extract, layers_for
    from hilum.embedding.vectors import Vectors

    file, layers = context.folder.embeddings.vectors_file, layers_for(config.layer)
    if not context.force:
        try:
            vectors = Vectors.read(file, model.weights_digest)
            same_images = vectors.cases_digest == cases_digest(
                used_cases(context.cases, context.split), context.split
            )
            types = {name: str(values.dtype) for name, values in vectors.layers.items()}
            if same_images and all(types.get(name) == config.precision for name in layers):
                return vectors
        except HilumError:
            pass  # missing, damaged or another model's: made again
    what = f"{context.this_task.name}: embedding"
    vectors = extract(model, context.cases, context.split, layers, config.precision, what)
    vectors.write(file)
    return vectors


def _knn(
    data: "TaskCases", values: "np.ndarray", config: EmbeddingConfig
) -> tuple[list["Candidate"], "KnnSettings"]:
    """How to classify by neighbours: as configured, or the best of the candidates."""
    from hilum.embedding.classifiers import KnnSettings
    from hilum.embedding.selection import select

    if not config.select:
        return [], KnnSettings(config.transform, config.distance, config.weights, config.k)
    train = data.train
    candidates = select(values[train], data.targets[train], data.patients[train], seed=config.seed)
    best = candidates[0]
    return candidates[:CANDIDATES], KnnSettings(best.transform, best.distance, best.weights, best.k)


def _space(
    config: EmbeddingConfig, knn: "KnnSettings", dimensions: int, compared: int, selected: bool
) -> "VectorSpace":
    from hilum.artifacts.embedding import VectorSpace

    return VectorSpace(
        layer=config.layer,
        dimensions=dimensions,
        precision=config.precision,
        transform=knn.transform,
        distance=knn.distance,
        weights=knn.weights,
        k=knn.k,
        compared_dimensions=compared,
        selected_by="cross-validation" if selected else "recipe",
    )


# -- what comes out ------------------------------------------------------------------------------------------


def _neighbors(context: Context, data: "TaskCases", placed: "np.ndarray", knn: "KnnSettings") -> "Search":
    """Writes neighbors.csv: LISTED training cases of other patients for every case."""
    from hilum.embedding.approximate import search
    from hilum.embedding.cases import neighbors_table
    from hilum.files import write_table

    train, k = data.train, min(LISTED, len(data.train) - 1)
    near, how = search(placed[train], placed, k, knn.distance, data.patients[train], data.patients)
    table = neighbors_table(data, train[near.index], near.distance)
    write_table(context.folder.embeddings.neighbors_file, table)
    return how


def _classifiers(
    context: Context,
    config: EmbeddingConfig,
    data: "TaskCases",
    vectors: "Vectors",
    model: "ChestModel",
    knn: "KnnSettings",
) -> list["Classifier"]:
    from hilum.embedding.classifiers import baseline_vectors, classifiers

    images, rows = _images(context, data, model)
    return classifiers(
        data,
        vectors.logits,
        vectors.layer(config.layer),
        vectors.layer("embedding"),
        config.layer,
        knn,
        list(baseline_vectors(config.baselines, model, images, rows, config.layer)),
        context.recipe.replicates,
    )


def _images(context: Context, data: "TaskCases", model: "ChestModel") -> tuple["np.ndarray", "np.ndarray"]:
    """The prepared images, and the row of each case."""
    from hilum.data.cache import ImageCache

    ids = context.cases.table["case_id"]
    cache = ImageCache.of(context.cases.where(ids.isin(set(data.table["case_id"]))), model.pixels)
    return cache.images, cache.rows(data.table["case_id"])


def _projections(
    context: Context,
    config: EmbeddingConfig,
    data: "TaskCases",
    placed: "np.ndarray",
    knn: "KnnSettings",
    log: _Log,
) -> dict[str, "Projection"]:
    """Writes projection.csv with the maps that can be made."""
    from hilum.embedding.map_quality import projected
    from hilum.embedding.projection import TITLES, MapSettings
    from hilum.files import write_table

    table, projections = data.table[["case_id", "split"]].copy(), {}
    for name in config.maps:
        settings = MapSettings(name, config.perplexity, config.exaggeration, config.iterations, config.seed)
        with log.optional(TITLES[name]):
            points, projections[name] = projected(data, placed, settings, knn.distance, config.map_seeds)
            table[f"{name}_x"], table[f"{name}_y"] = points.T
            used = projections[name].settings.get("perplexity", config.perplexity)
            if used != config.perplexity:
                reason = f"the training images are too few for {config.perplexity:g}"
                say(f"  {TITLES[name]}: perplexity lowered to {used:g}, because {reason}")
    write_table(context.folder.embeddings.projection_file, table)
    return projections


def _retrieval(
    data: "TaskCases", placed: "np.ndarray", knn: "KnnSettings", log: _Log
) -> dict[str, "Retrieval"]:
    from hilum.embedding.retrieval import retrieval_figures

    def of(rows: "np.ndarray") -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
        return placed[rows], data.targets[rows], data.patients[rows]

    retrieval = {}
    for split in data.held_out:
        with log.optional(f"Retrieval, {split}"):
            retrieval[split] = retrieval_figures(*of(data.train), *of(data.rows(split)), knn.distance)
    return retrieval


def _suspects(
    context: Context,
    config: EmbeddingConfig,
    data: "TaskCases",
    values: "np.ndarray",
    placed: "np.ndarray",
    knn: "KnnSettings",
    log: _Log,
) -> "SuspectCounts | None":
    """Writes suspects.csv, where it is asked for and there are patients enough."""
    from hilum.embedding.suspects import SHOWN, label_suspects, out_of_fold, suspect_counts
    from hilum.files import write_table

    if not config.suspects:
        return None
    train = data.train
    targets, table = data.targets[train], data.table.iloc[train].reset_index(drop=True)
    with log.optional("Label suspects"):
        probabilities = out_of_fold(values[train], targets, data.patients[train], seed=config.seed)
        suspects = label_suspects(
            table, data.classes, targets, probabilities, placed[train], knn.k, knn.distance
        )
        write_table(context.folder.embeddings.suspects_file, suspects.head(SHOWN))
        return suspect_counts(suspects, len(train))
    return None


def _duplicates(
    context: Context,
    config: EmbeddingConfig,
    data: "TaskCases",
    model: "ChestModel",
    placed: "np.ndarray",
    knn: "KnnSettings",
) -> "DuplicateCounts | None":
    """Writes duplicates.csv, where suspects are asked for."""
    import cv2
    import numpy as np

    from hilum.embedding.suspects import closest_pairs, duplicate_counts
    from hilum.files import write_table

    if not config.suspects:
        return None
    images, rows = _images(context, data, model)

    def thumbnail(row: int) -> np.ndarray:
        return cv2.resize(np.asarray(images[rows[row]]), THUMBNAIL, interpolation=cv2.INTER_AREA)

    pairs = closest_pairs(data.table, placed, knn.distance, _audited_pairs(context), thumbnail)
    write_table(context.folder.embeddings.duplicates_file, pairs)
    return duplicate_counts(pairs)


def _audited_pairs(context: Context) -> set[frozenset[str]]:
    """Pairs of case ids that the audit of pixels found as exact or near duplicates."""
    from itertools import combinations

    audit = context.run.audit()
    if audit is None:
        return set()
    exact = [pair for group in audit.exact_duplicates.groups for pair in combinations(group.case_ids, 2)]
    near = [pair.case_ids for pair in audit.near_duplicates.pairs]
    return {frozenset(pair) for pair in [*exact, *near]}
