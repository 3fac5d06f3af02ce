"""The table of classifiers: the network's head, a linear probe, votes of neighbours, and baselines.

All are measured alike: probabilities of the held-out cases, `evaluate`, threshold 0.5 for two classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import Classifier, PublishedFigures, SplitFigures
from hilum.embedding import baselines
from hilum.embedding.cases import TaskCases
from hilum.embedding.neighbors import Weights, nearest_neighbors, votes
from hilum.embedding.space import Distance, Transform, fit_space
from hilum.evaluation import seed_report
from hilum.evaluation.evaluate import evaluate
from hilum.inference.forward import softmax
from hilum.models import ChestModel

SEED_K = 7
"""Neighbours of the seed report's vote, and of the baselines'."""

_BEFORE = {"none": "", "standardize": "standardised, ", "pca": "whitened (PCA), ", "lda": "LDA, "}


@dataclass(frozen=True)
class KnnSettings:
    """One way to classify by neighbours."""

    transform: Transform
    distance: Distance
    weights: Weights
    k: int

    @property
    def words(self) -> str:
        """As a reader meets them.

        >>> KnnSettings("standardize", "cosine", "distance", 7).words
        'k = 7, standardised, cosine, distance weights'
        """
        return f"k = {self.k}, {_BEFORE[self.transform]}{self.distance}, {self.weights} weights"


SEED = KnnSettings("none", "euclidean", "uniform", SEED_K)


def knn_probabilities(
    data: TaskCases, vectors: np.ndarray, queries: np.ndarray, knn: KnnSettings
) -> np.ndarray:
    """Class probabilities "queries classes" by vote of the training cases. `vectors`: "cases dim", in the order
    of `data`; `queries`: rows of it. The space is fitted on train.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"split": ["train", "train", "val"]})
    >>> data = TaskCases(table, np.array([0, 1, 1]), np.array(list("abc")), ("normal", "virus"))
    >>> knn = KnnSettings("none", "euclidean", "uniform", 1)
    >>> knn_probabilities(data, np.array([[0.0], [1.0], [0.9]]), np.array([2]), knn).tolist()
    [[0.0, 1.0]]
    """
    train = data.train
    targets = data.targets[train]
    space = fit_space(knn.transform, vectors[train], targets)
    near = nearest_neighbors(space.apply(vectors[train]), space.apply(vectors[queries]), knn.k, knn.distance)
    return votes(near, targets, len(data.classes), knn.weights)


def classifiers(
    data: TaskCases,
    logits: np.ndarray,
    vectors: np.ndarray,
    seed_vectors: np.ndarray,
    layer: str,
    knn: KnnSettings,
    baseline_vectors: Sequence["Baseline"],
    replicates: int,
) -> list[Classifier]:
    """The rows of the table; none without held-out cases.

    All arrays have the rows of `data`: `logits` "cases classes" of the head, `vectors` "cases dim" of `layer`,
    `seed_vectors` of the layer before the head. `replicates`: bootstrap samples of the intervals.
    """
    if not data.held_out:
        return []
    rows = np.concatenate([data.rows(split) for split in data.held_out])
    probe = baselines.fit_probe(vectors[data.train], data.targets[data.train])

    def row(
        name: str, title: str, note: str, probabilities: np.ndarray, baseline: bool = False
    ) -> Classifier:
        splits = split_figures(data, rows, probabilities, replicates)
        return Classifier(name=name, title=title, note=note, is_baseline=baseline, splits=splits)

    half = "threshold 0.5" if len(data.classes) == 2 else "most probable class"
    head = softmax(logits[rows].astype(np.float64))
    linear = baselines.probe_probabilities(probe, vectors[rows])
    seed_note = f"k = {SEED_K}, plain Euclidean on the embedding before the head"
    if tuple(data.classes) == seed_report.CLASSES:
        seed_note += ", as in the seed report"
    return [
        row("head", "the network's own head", half, head),
        row("linear_probe", "linear probe", f"logistic regression on layer {layer}", linear),
        row("knn", "kNN", f"{knn.words}, layer {layer}", knn_probabilities(data, vectors, rows, knn)),
        row(
            "knn_seed",
            "plain kNN",
            seed_note,
            knn_probabilities(data, seed_vectors, rows, SEED),
        ),
        *(
            row(
                each.name, each.title, f"{each.note}; kNN, k = {SEED_K}", each.probabilities(data, rows), True
            )
            for each in baseline_vectors
        ),
    ]


def split_figures(
    data: TaskCases, rows: np.ndarray, probabilities: np.ndarray, replicates: int
) -> dict[str, SplitFigures]:
    """How good probabilities "rows classes" of the cases at `rows` are, by held-out split.

    >>> import pandas as pd
    >>> ids, target = ["a", "b", "c"], ["normal", "normal", "virus"]
    >>> table = pd.DataFrame({"case_id": ids, "patient": ids, "split": ["train", "val", "val"], "target": target})
    >>> data = TaskCases(table, np.array([0, 0, 1]), np.array(ids), ("normal", "virus"))
    >>> split_figures(data, np.array([1, 2]), np.array([[0.9, 0.1], [0.8, 0.2]]), replicates=0)["val"].accuracy.counts
    '1/2'
    """
    splits = {}
    for split in data.held_out:
        here = data.table["split"].to_numpy()[rows] == split
        predictions = data.table.iloc[rows[here]][["case_id", "patient", "target"]].copy()
        for column, label in enumerate(data.classes):
            predictions[f"prob_{label}"] = probabilities[here, column]
        splits[split] = _figures_of(evaluate(predictions, data.classes, replicates=replicates))
    return splits


def _figures_of(block: Any) -> SplitFigures:
    """What the table keeps of the figures that `evaluate` gives."""
    return SplitFigures(
        images=block["n_cases"],
        patients=block["n_patients"],
        accuracy=Figure(**block["accuracy"]),
        balanced_accuracy=Figure(**block["balanced_accuracy"]),
        auroc=Figure(**block["auroc"]),
        confusion=block["confusion"],
        replicates=block["replicates"],
    )


def published(classes: Sequence[str], source: str) -> list[PublishedFigures]:
    """The seed report's figures, where the classes are its own and the images are no phantoms.

    >>> [row.accuracy.counts for row in published(("normal", "bacteria", "virus"), "kaggle")]
    ['521/624', '437/624']
    >>> published(("normal", "bacteria", "virus"), "phantom")
    []
    """
    if tuple(classes) != seed_report.CLASSES or source == "phantom":
        return []
    matrices = {
        "head": ("ResNet34, official test images", seed_report.RESNET34_TEST),
        "knn_seed": (f"kNN, k = {SEED_K}, official test images", seed_report.KNN_TEST),
    }
    return [
        PublishedFigures(
            row=row,
            title=title,
            accuracy=Figure(**seed_report.block_of(matrix)["accuracy"]),
            confusion=[list(counts) for counts in matrix],
        )
        for row, (title, matrix) in matrices.items()
    ]


# -- baselines -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Baseline:
    """Vectors "cases dim" that no training has touched, and the transform before their distances."""

    name: str
    title: str
    note: str
    vectors: np.ndarray
    transform: Transform = "standardize"

    def probabilities(self, data: TaskCases, rows: np.ndarray) -> np.ndarray:
        """Probabilities "rows classes" by vote of the training cases.

        >>> import pandas as pd
        >>> targets, table = np.array([0, 1] * 4 + [1]), pd.DataFrame({"split": ["train"] * 8 + ["val"]})
        >>> data = TaskCases(table, targets, np.arange(9).astype(str), ("normal", "virus"))
        >>> baseline = Baseline("own", "own", "", np.eye(2)[targets], "none")
        >>> baseline.probabilities(data, np.array([8])).round(3).tolist()
        [[0.0, 1.0]]
        """
        knn = KnnSettings(self.transform, "cosine", "distance", SEED_K)
        return knn_probabilities(data, self.vectors, rows, knn)


def baseline_vectors(
    names: Sequence[str], model: ChestModel, images: np.ndarray, rows: np.ndarray, layer: str
) -> Iterator[Baseline]:
    """The baselines of these names for the prepared images uint8 "images rows cols" at `rows`. `model` and `layer`
    are read for 'random_network' alone.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ["normal", "virus"], Pixels(size=(96, 96)), {"blocks": [[4]], "dense": [4]})
    >>> images = np.zeros((2, 96, 96), np.uint8)
    >>> [(each.name, each.vectors.shape) for each in baseline_vectors(["hog"], model, images, np.array([0, 1]), "")]
    [('hog', (2, 1764))]
    """
    if "raw_pixels" in names:
        side = baselines.RAW_SIZE
        vectors = baselines.raw_pixels(images, rows)
        yield Baseline("raw_pixels", "raw pixels", f"{side} x {side} pixels, PCA", vectors, "pca")
    if "hog" in names:
        note = "histograms of oriented gradients, 64 x 64 pixels"
        yield Baseline("hog", "HOG", note, baselines.hog(images, rows))
    if "random_network" in names:
        vectors = baselines.random_network(model, images, rows, layer)
        yield Baseline("random_network", "random network", f"untrained, layer {layer}", vectors)
