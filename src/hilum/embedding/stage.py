"""The embedding stage of one task: vectors, table of classifiers, maps, retrieval, suspects, figures.json."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import SPLITS, Cases
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.embedding import baselines, projection, suspects
from hilum.embedding.config import EmbeddingConfig
from hilum.embedding.extract import Vectors, extract
from hilum.embedding.neighbors import LARGE, Neighbors, faiss_neighbors, nearest_neighbors, recall, votes
from hilum.embedding.retrieval import retrieval_figures
from hilum.embedding.selection import select
from hilum.embedding.space import Distance, Transform, fit_space
from hilum.embedding.threads import limited_threads
from hilum.errors import DataError, HilumError
from hilum.evaluation.evaluate import evaluate
from hilum.files import write_json, write_table
from hilum.inference.forward import softmax
from hilum.models import ChestModel
from hilum.progress import say
from hilum.run import TaskFolder

FORMAT = 1
NEIGHBORS = 7
THUMBNAIL = (64, 64)
FULL_PROBE = 1000
"""Queries by which an approximate search is judged."""


@dataclass(frozen=True)
class _Data:
    """Everything about the cases of a task, rows of one order: train, val, test."""

    table: pd.DataFrame  # case_id, patient, split, label, target
    targets: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]

    def rows(self, split: str) -> np.ndarray:
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    @property
    def asked(self) -> list[str]:
        """The splits to be judged on."""
        return [name for name in ("val", "test") if len(self.rows(name))]


def layers_of(config: EmbeddingConfig) -> list[str]:
    """The layers to extract: the chosen one, and the two around the neck (the seed report used the later)."""
    return list(dict.fromkeys([config.layer, "pool", "embedding"]))


def extract_task(
    folder: TaskFolder, cases: Cases, split: pd.Series, config: EmbeddingConfig
) -> tuple[np.ndarray, Vectors]:
    """One pass over train, val and test: writes vectors.npz; float64 logits in the order of `cases`."""
    model = folder.load_model()
    used = used_cases(cases, split)
    cache = ImageCache.of(used, model.pixels)
    table = used.table[["case_id"]].assign(split=split.loc[used.table["case_id"]].to_numpy())
    logits, vectors = extract(
        model, cache, table, layers_of(config), config.precision, f"{folder.name}: embedding"
    )
    vectors.write(folder.embeddings.vectors_file)
    return logits, vectors


def embed_task(
    folder: TaskFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: EmbeddingConfig,
    replicates: int,
    audit: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Writes embeddings/ of one task and gives figures.json back; what is there for the same weights and
    the same choices is not made again."""
    digest = folder.card()["weights_digest"]
    wanted = config.model_dump(mode="json")
    if not force and folder.embeddings.figures_file.exists():
        known = folder.embeddings.figures()
        if known.get("weights_digest") == digest and known.get("choices") == wanted:
            return known
    folder.embeddings.figures_file.unlink(missing_ok=True)
    seconds: dict[str, float] = {}
    with _timed(seconds, "extract"):
        vectors = _vectors(folder, cases, split, config, digest)
    data = _data(cases, vectors, task)
    with limited_threads():
        figures = _figures(folder, cases, data, vectors, config, replicates, audit, seconds)
    figures = {
        "format": FORMAT,
        "weights_digest": digest,
        "task": task.name,
        "classes": list(task.classes),
        "layer": config.layer,
        "dimensions": int(vectors.layers[config.layer].shape[1]),
        "precision": config.precision,
        "cases": {name: len(data.rows(name)) for name in SPLITS},
        "choices": wanted,
        **figures,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    write_json(folder.embeddings.figures_file, figures)
    return figures


# -- what goes in --------------------------------------------------------------------------------------------


def _vectors(
    folder: TaskFolder, cases: Cases, split: pd.Series, config: EmbeddingConfig, digest: str
) -> Vectors:
    """vectors.npz of this model, layer and these cases; made again when it does not fit."""
    used = split.loc[cases.table["case_id"]]
    try:
        vectors = Vectors.read(folder.embeddings.vectors_file, digest)
        fits = set(vectors.case_id) == set(used.index[used.isin(SPLITS)])
        if fits and all(name in vectors.layers for name in layers_of(config)):
            return vectors
    except HilumError:
        pass  # missing, damaged or another model's: made again
    return extract_task(folder, cases, split, config)[1]


def _data(cases: Cases, vectors: Vectors, task: Task) -> _Data:
    known = cases.table.set_index("case_id")
    missing = [case for case in vectors.case_id.tolist() if case not in known.index]
    if missing:
        raise DataError(f"case {missing[0]!r} has a vector but is not in cases.csv", "run: hilum embed RUN")
    table = known.loc[vectors.case_id, ["patient", "label"]].reset_index(names="case_id")
    table["split"] = vectors.split
    table["target"] = table["label"].map(dict(task.class_of))
    targets = table["label"].map(task.index).to_numpy(np.int64)
    data = _Data(table, targets, table["patient"].to_numpy(str), task.classes)
    check_classes(targets[data.rows("train")], task.classes)
    return data


def check_classes(train_targets: np.ndarray, classes: tuple[str, ...]) -> None:
    """DataError names a class that train lacks: neighbours could never vote for it."""
    for index, name in enumerate(classes):
        if not (train_targets == index).any():
            raise DataError(f"train holds no case of class {name!r}", "choose another split")


# -- what comes out ------------------------------------------------------------------------------------------


def _figures(
    folder: TaskFolder,
    cases: Cases,
    data: _Data,
    vectors: Vectors,
    config: EmbeddingConfig,
    replicates: int,
    audit: dict[str, Any] | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    values = vectors.layer(config.layer)
    train = data.rows("train")
    ranked: list[dict[str, Any]] = []
    if config.select:
        with _timed(seconds, "select"):
            ranked = select(values[train], data.targets[train], data.patients[train], seed=config.seed)
        best = {name: ranked[0][name] for name in ("transform", "distance", "weights", "k")}
        config = config.model_copy(update=best)
    space = fit_space(config.transform, values[train], data.targets[train])
    placed = space.apply(values)
    with _timed(seconds, "neighbors"):
        near, engine = _all_neighbors(placed, data, config)
        _write_neighbors(folder, data, near)
    with _timed(seconds, "table"):
        table = _table(folder, cases, data, vectors, values, placed, config, replicates)
    with _timed(seconds, "maps"):
        maps = _maps(folder, data, placed, config)
    with _timed(seconds, "retrieval"):
        found = {name: _retrieval(data, placed, config.distance, name) for name in data.asked}
    with _timed(seconds, "suspects"):
        doubtful = _suspects(folder, cases, data, values, placed, config, audit) if config.suspects else {}
    return {
        "space": {
            "layer": config.layer,
            "transform": config.transform,
            "distance": config.distance,
            "weights": config.weights,
            "k": config.k,
            "dimensions": int(placed.shape[1]),
            "selected_by": "cross-validation" if ranked else "recipe",
        },
        "selection": ranked[:20],
        "table": table,
        "maps": maps,
        "retrieval": found,
        "density": suspects.density(
            placed[train], data.targets[train], data.patients[train], data.classes, config.k, config.distance
        ),
        **doubtful,
        "neighbors_engine": engine,
    }


def _all_neighbors(
    placed: np.ndarray, data: _Data, config: EmbeddingConfig
) -> tuple[Neighbors, dict[str, Any]]:
    """NEIGHBORS train cases of other patients for every case."""
    train = data.rows("train")
    base, patients = placed[train], data.patients[train]
    k = min(NEIGHBORS, len(train) - 1)
    if len(train) <= LARGE:
        near = nearest_neighbors(base, placed, k, config.distance, patients, data.patients)
        return Neighbors(train[near.index], near.distance), {"name": "exact, in blocks", "recall": 1.0}
    return _large(base, placed, patients, data.patients, train, k, config.distance)


def _large(
    base: np.ndarray,
    queries: np.ndarray,
    base_patients: np.ndarray,
    query_patients: np.ndarray,
    train: np.ndarray,
    k: int,
    distance: Distance,
) -> tuple[Neighbors, dict[str, Any]]:
    """IVF-PQ names candidates, of which the k of other patients are kept; recall against exact search."""
    most = int(np.unique(base_patients, return_counts=True)[1].max())
    wide = faiss_neighbors(base, queries, min(len(base), k + most), distance, "ivf-pq")
    other = (base_patients[wide.index] != query_patients[:, None]) & (wide.index >= 0)
    order = np.argsort(~other, axis=1, kind="stable")[:, :k]
    near = Neighbors(
        np.take_along_axis(wide.index, order, axis=1), np.take_along_axis(wide.distance, order, axis=1)
    )
    asked = np.random.default_rng(0).permutation(len(queries))[:FULL_PROBE]
    exact = nearest_neighbors(base, queries[asked], k, distance, base_patients, query_patients[asked])
    measured = recall(Neighbors(near.index[asked], near.distance[asked]), exact)
    say(f"  faiss IVF-PQ: recall {measured:.3f} at {k} neighbours, over {len(asked):,} queries")
    return Neighbors(train[near.index], near.distance), {"name": "faiss ivf-pq", "recall": measured}


def _write_neighbors(folder: TaskFolder, data: _Data, near: Neighbors) -> None:
    k = near.index.shape[1]
    ids, targets = data.table["case_id"].to_numpy(str), data.targets
    table = pd.DataFrame(
        {
            "case_id": np.repeat(ids, k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "neighbor": ids[near.index.ravel()],
            "distance": near.distance.ravel(),
            "same_class": (targets[near.index] == targets[:, None]).ravel().astype(int),
        }
    )
    write_table(folder.embeddings.neighbors_file, table)


def _table(
    folder: TaskFolder,
    cases: Cases,
    data: _Data,
    vectors: Vectors,
    values: np.ndarray,
    placed: np.ndarray,
    config: EmbeddingConfig,
    replicates: int,
) -> list[dict[str, Any]]:
    """Head, linear probe, kNN, the seed report's kNN and the baselines, all judged by `evaluate`."""
    train = data.rows("train")
    asked = np.concatenate([data.rows(name) for name in data.asked]) if data.asked else train[:0]
    if not len(asked):
        return []
    n_classes = len(data.classes)

    def knn(points: np.ndarray, transform: Transform, distance: Distance, k: int, weights: Any) -> np.ndarray:
        space = fit_space(transform, points[train], data.targets[train])
        near = nearest_neighbors(space.apply(points[train]), space.apply(points[asked]), k, distance)
        return votes(near, data.targets[train], n_classes, weights)

    def row(name: str, title: str, note: str, probabilities: np.ndarray) -> dict[str, Any]:
        blocks = {}
        for split in data.asked:
            here = data.table["split"].to_numpy()[asked] == split
            predictions = data.table.iloc[asked[here]][["case_id", "patient", "target"]].copy()
            for column, label in enumerate(data.classes):
                predictions[f"prob_{label}"] = probabilities[here, column]
            blocks[split] = evaluate(predictions, data.classes, replicates=replicates)
        return {"name": name, "title": title, "note": note, **blocks}

    probe = baselines.fit_probe(values[train], data.targets[train])
    head = softmax(vectors.logits[asked].astype(np.float64))
    chosen = f"{_words(config)}, layer {config.layer}"
    half = "threshold 0.5" if n_classes == 2 else "most probable class"
    own = votes(
        nearest_neighbors(placed[train], placed[asked], config.k, config.distance),
        data.targets[train],
        n_classes,
        config.weights,
    )
    seed = knn(vectors.layer("embedding"), "none", "euclidean", min(7, len(train)), "uniform")
    rows = [
        row("head", "the network's own head", half, head),
        row(
            "linear_probe",
            "linear probe",
            f"logistic regression on layer {config.layer}",
            baselines.probe_probabilities(probe, values[asked]),
        ),
        row("knn", "kNN", chosen, own),
        row(
            "knn_seed",
            "kNN as the seed report",
            "k = 7, plain Euclidean on the embedding before the head",
            seed,
        ),
    ]
    for name, title, note, points in _baseline_vectors(folder, cases, data, config):
        transform: Transform = "pca" if name == "raw_pixels" else "standardize"
        rows.append(row(name, title, f"{note}; kNN, k = 7", knn(points, transform, "cosine", 7, "distance")))
    return rows


def _words(config: EmbeddingConfig) -> str:
    """The choices of a kNN in words."""
    before = {"none": "", "standardize": "standardised, ", "pca": "whitened (PCA), ", "lda": "LDA, "}
    return f"k = {config.k}, {before[config.transform]}{config.distance}, {config.weights} weights"


def _baseline_vectors(
    folder: TaskFolder, cases: Cases, data: _Data, config: EmbeddingConfig
) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """(name, title, note, float32 "cases dim") of each baseline asked for."""
    if not config.baselines:
        return
    model: ChestModel = folder.load_model()
    used = cases.where(cases.table["case_id"].isin(set(data.table["case_id"])))
    cache = ImageCache.of(used, model.pixels)
    rows = cache.rows(data.table["case_id"])
    if "raw_pixels" in config.baselines:
        note = f"{baselines.RAW_SIZE} x {baselines.RAW_SIZE} pixels, PCA"
        yield "raw_pixels", "raw pixels", note, baselines.raw_pixels(cache, rows)
    if "hog" in config.baselines:
        yield "hog", "HOG", "histograms of oriented gradients, 64 x 64 pixels", baselines.hog(cache, rows)
    if "random_network" in config.baselines:
        points = baselines.random_network(model, cache, rows, config.layer)
        yield "random_network", "random network", f"untrained, layer {config.layer}", points


def _maps(folder: TaskFolder, data: _Data, placed: np.ndarray, config: EmbeddingConfig) -> dict[str, Any]:
    train = data.rows("train")
    new = np.setdiff1d(np.arange(len(data.table)), train)
    columns: dict[str, np.ndarray] = {}
    figures = {}
    for name in config.maps:
        settings = projection.MapSettings(
            name, config.perplexity, config.exaggeration, config.iterations, config.seed
        )
        drawn = projection.draw(settings, placed[train], data.targets[train], placed[new], config.distance)
        points = np.full((len(placed), 2), np.nan)
        points[train], points[new] = drawn.train, drawn.placed
        columns |= {f"{name}_x": points[:, 0], f"{name}_y": points[:, 1]}
        figures[name] = _map_figures(drawn, data, points, placed, config)
    table = data.table[["case_id", "split"]].assign(**columns)
    write_table(folder.embeddings.projection_file, table)
    return figures


def _map_figures(
    drawn: projection.Map, data: _Data, points: np.ndarray, placed: np.ndarray, config: EmbeddingConfig
) -> dict[str, Any]:
    train = data.rows("train")
    targets = data.targets[train]
    space = _unit(placed) if config.distance == "cosine" else placed

    def accuracies(where: np.ndarray) -> dict[str, float]:
        k = min(NEIGHBORS, len(train))
        return {
            name: projection.map_accuracy(where[train], targets, where[rows], data.targets[rows], k)
            for name in data.asked
            for rows in [data.rows(name)]
        }

    settings = drawn.settings
    name = settings.name
    shown = {"dimensions_before": min(projection.DIMENSIONS, placed.shape[1]), "seed": settings.seed}
    if name == "tsne":
        shown |= {
            "perplexity": settings.perplexity,
            "exaggeration": settings.exaggeration,
            "iterations": settings.iterations,
        }
    return {
        "title": projection.TITLES[name],
        "settings": shown if name in ("tsne", "umap") else {},
        "trustworthiness": projection.trustworthiness(space[train], drawn.train),
        "knn_map": accuracies(points),
        "knn_space": accuracies(space),
        "stability": projection.stability(drawn, placed[train], targets, config.distance, config.map_seeds),
        "seconds": drawn.seconds,
        "n": len(train),
        "note": "learned on train; val and test were placed afterwards"
        + ("; reads the labels of train" if name == "lda" else ""),
    }


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _retrieval(data: _Data, placed: np.ndarray, distance: Distance, split: str) -> dict[str, Any]:
    train, rows = data.rows("train"), data.rows(split)
    figures = retrieval_figures(
        placed[train],
        data.targets[train],
        data.patients[train],
        placed[rows],
        data.targets[rows],
        data.patients[rows],
        distance,
    )
    return {**figures, "note": f"{split} cases ask, train cases answer; the same patient never counts"}


def _suspects(
    folder: TaskFolder,
    cases: Cases,
    data: _Data,
    values: np.ndarray,
    placed: np.ndarray,
    config: EmbeddingConfig,
    audit: dict[str, Any] | None,
) -> dict[str, Any]:
    train = data.rows("train")
    probabilities = suspects.out_of_fold(
        values[train], data.targets[train], data.patients[train], seed=config.seed
    )
    found = suspects.label_suspects(
        data.table.iloc[train].reset_index(drop=True),
        data.classes,
        data.targets[train],
        probabilities,
        placed[train],
        config.k,
        config.distance,
    )
    write_table(folder.embeddings.suspects_file, found.head(suspects.SHOWN))
    model = folder.load_model()
    used = cases.where(cases.table["case_id"].isin(set(data.table["case_id"])))
    cache = ImageCache.of(used, model.pixels)
    rows = cache.rows(data.table["case_id"])

    def thumbnail(row: int) -> np.ndarray:
        return cv2.resize(np.asarray(cache.images[rows[row]]), THUMBNAIL, interpolation=cv2.INTER_AREA)

    known = suspects.audited_pairs(audit)
    pairs = suspects.closest_pairs(data.table, placed, config.distance, known, thumbnail)
    write_table(folder.embeddings.duplicates_file, pairs)
    return {
        "suspects": {
            "n": len(found),
            "confident_learning": int(found["confident_learning"].sum()),
            "knn": int(found["knn_disagrees"].sum()),
            "both": int((found["confident_learning"] & found["knn_disagrees"]).sum()),
            "train_cases": len(train),
            "note": "the network was trained on these labels, so it has partly learned wrong ones by heart: "
            "a label not named here may still be wrong",
        },
        "duplicates": {
            "pairs": len(pairs),
            "confirmed": int(pairs["confirmed"].sum()),
            "new": int((pairs["confirmed"] & (1 - pairs["in_audit"])).sum()),
            "threshold": suspects.MIN_CORRELATION,
            "note": "the closest pairs of the space; confirmed: the registered pictures agree",
        },
    }


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
