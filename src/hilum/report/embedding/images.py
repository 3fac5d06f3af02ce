"""Single images: examples with their neighbours, label suspects, pairs that look like one image twice."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import DuplicateCounts
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.embedding.explorer import confidence
from hilum.report.embedding.task import TaskEmbedding
from hilum.report.figures import look
from hilum.report.pictures import Image, picture_of
from hilum.report.wording import NOTHING, count, listing, number, percent, plural, split_name

SUSPECTS, PAIRS = 12, 4
"""Pictures of label suspects, and of pairs that look like one image twice."""


@dataclass(frozen=True)
class Neighbour:
    """A training image near another one; `colour`: of its label."""

    picture: Image
    case: str
    label: str
    colour: str
    distance: str


@dataclass(frozen=True)
class Example:
    """One held-out image with its prediction and its neighbours."""

    picture: Image
    case: str
    label: str
    colour: str
    predicted: str
    correct: bool
    confidence: str
    votes: str
    near: list[Neighbour]


@dataclass(frozen=True)
class RetrievalRow:
    """The queries of one split."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Retrieval:
    """Precision at each of `ks`, and what follows it."""

    ks: list[int]
    rows: list[RetrievalRow]


@dataclass(frozen=True)
class SuspectLabel:
    """A training image whose label may be wrong, and why."""

    picture: Image
    case: str
    label: str
    suggested: str
    reasons: list[str]


@dataclass(frozen=True)
class SuspectLabels:
    """The most suspicious labels; `more`: how many are not shown."""

    images: list[SuspectLabel]
    total: str
    counts: str
    more: int


@dataclass(frozen=True)
class Side:
    """One image of a pair."""

    picture: Image
    case: str


@dataclass(frozen=True)
class PairView:
    """Two images that are nearly one to the model."""

    images: list[Side]
    facts: str


@dataclass(frozen=True)
class PairTable:
    """Pairs that the audit of pixels missed."""

    pairs: list[PairView]
    sentence: str
    threshold: str


# -- examples ------------------------------------------------------------------------------------------------


def examples(embedding: TaskEmbedding, paths: pd.Series) -> list[Example]:
    """For each class, of the first held-out split, the most confident correct and the most confident wrong
    prediction, each with its neighbours. `paths`: case_id -> file.

    >>> from hilum.artifacts.embedding import EmbeddingFigures, VectorSpace
    >>> figures = EmbeddingFigures.model_construct(
    ...     classes=["virus"], images={"test": 1}, space=VectorSpace.model_construct(k=1))
    >>> images = pd.DataFrame({"case_id": ["a", "b"], "split": ["test", "train"], "label": "virus", "target": "virus",
    ...     "predicted": "virus", "prob_virus": 0.9})
    >>> near = pd.DataFrame({"case_id": ["a"], "rank": 1, "neighbor": "b", "distance": 0.5, "same_class": 1})
    >>> paths = pd.Series({"a": "a.png", "b": "b.png"})
    >>> [example.votes for example in examples(TaskEmbedding(figures, images, near, near, near), paths)]
    ['1 of 1 neighbours are virus']
    """
    images = embedding.images
    held_out = images[images["split"] == embedding.split]
    held_out = held_out.assign(confidence=confidence(held_out))
    held_out = held_out.sort_values(["confidence", "case_id"], ascending=[False, True], kind="stable")
    correct = held_out["target"] == held_out["predicted"]
    near = dict(list(embedding.neighbors.sort_values("rank", kind="stable").groupby("case_id")))
    labels = images.set_index("case_id")["label"]
    chosen = [
        row
        for target in embedding.figures.classes
        for rows in (held_out[correct], held_out[~correct])
        for row in _records(rows[rows["target"] == target].head(1))
    ]
    return [
        _example(embedding, row, near[row["case_id"]].head(embedding.k), labels, paths)
        for row in chosen
        if row["case_id"] in near
    ]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries from column to value."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _example(
    embedding: TaskEmbedding, row: dict[str, Any], near: pd.DataFrame, labels: pd.Series, paths: pd.Series
) -> Example:
    same = int(near["same_class"].sum())
    return Example(
        picture=picture_of(paths[row["case_id"]], longest=160),
        case=row["case_id"],
        label=row["label"],
        colour=_colour(embedding, row["label"]),
        predicted=row["predicted"],
        correct=row["target"] == row["predicted"],
        confidence=percent(row["confidence"], 0),
        votes=f"{same} of {len(near)} neighbours are {row['target']}",
        near=[
            Neighbour(
                picture=picture_of(paths[each["neighbor"]], longest=160),
                case=each["neighbor"],
                label=labels[each["neighbor"]],
                colour=_colour(embedding, labels[each["neighbor"]]),
                distance=distance(each["distance"]),
            )
            for each in _records(near)
        ],
    )


def _colour(embedding: TaskEmbedding, label: str) -> str:
    return look(label, [*embedding.figures.classes, label]).colour


# -- tables --------------------------------------------------------------------------------------------------


def retrieval(embedding: TaskEmbedding) -> Retrieval | None:
    """How many of the images that come back have the query's label; None where that was left out.

    >>> from hilum.artifacts import embedding as artifacts
    >>> from hilum.artifacts.base import Figure
    >>> test = artifacts.Retrieval(
    ...     precision_at_k={5: Figure(value=0.8)}, mean_average_precision=Figure(value=0.7), chance=0.5, queries=10)
    >>> figures = artifacts.EmbeddingFigures.model_construct(retrieval={"test": test})
    >>> [cell.value for cell in retrieval(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).rows[0].cells[1:]]
    ['0.700', '0.500', '10']
    """
    by_split = embedding.figures.retrieval
    if not by_split:
        return None
    ks = sorted({k for row in by_split.values() for k in row.precision_at_k})
    rows = [
        RetrievalRow(
            split_name(split),
            [
                *(share_cell(row.precision_at_k.get(k)) for k in ks),
                number_cell(row.mean_average_precision),
                Cell(number(row.chance)),
                Cell(count(row.queries)),
            ],
        )
        for split, row in by_split.items()
    ]
    return Retrieval(ks, rows)


def density(embedding: TaskEmbedding) -> list[list[Cell]]:
    """How close the images of a class lie, and how much of their neighbourhood is their own.

    >>> from hilum.artifacts.embedding import ClassDensity, EmbeddingFigures
    >>> from hilum.artifacts.base import Figure
    >>> virus = ClassDensity(mean_knn_distance=Figure(value=1.5), own_class_share=Figure(value=0.75), images=40)
    >>> figures = EmbeddingFigures.model_construct(density={"virus": virus})
    >>> [cell.value.replace("\\xa0", " ") for cell in density(TaskEmbedding(figures, *[pd.DataFrame()] * 4))[0]]
    ['virus', '1.50', '75.0 %', '40']
    """
    return [
        [
            Cell(name),
            _distance_cell(row.mean_knn_distance),
            share_cell(row.own_class_share),
            Cell(count(row.images)),
        ]
        for name, row in embedding.figures.density.items()
    ]


def _distance_cell(figure: Figure) -> Cell:
    if figure.value is None or figure.low is None or figure.high is None:
        return Cell(NOTHING if figure.value is None else distance(figure.value), small=figure.reason or "")
    return Cell(distance(figure.value), small=f"{distance(figure.low)} to {distance(figure.high)}")


# -- images to review ----------------------------------------------------------------------------------------


def suspects(embedding: TaskEmbedding, paths: pd.Series) -> SuspectLabels | None:
    """Training images whose label may be wrong, most suspicious first, each with its reasons."""
    counts = embedding.figures.suspects
    if counts is None:
        return None
    images = [
        SuspectLabel(
            picture=picture_of(paths[row["case_id"]]),
            case=row["case_id"],
            label=row["target"],
            suggested=row["suggested"],
            reasons=_reasons(row),
        )
        for row in _records(embedding.suspects.head(SUSPECTS))
    ]
    return SuspectLabels(
        images=images,
        total=f"{count(counts.total)} of {plural(counts.training_images, 'training image')}",
        counts=(
            f"{count(counts.confident_learning)} by confident learning, {count(counts.knn)} by their neighbours,"
            f" {count(counts.both)} by both"
        ),
        more=max(0, len(embedding.suspects) - SUSPECTS),
    )


def _reasons(row: dict[str, Any]) -> list[str]:
    """Why a label is suspect, in words."""
    own, neighbors = percent(row["self_confidence"], 0), percent(row["neighbor_share"], 0)
    reasons = []
    if int(row["confident_learning"]):
        reasons.append(f"a model fitted without this patient gives {row['target']} a probability of {own}")
    if int(row["knn_disagrees"]):
        reasons.append(f"{neighbors} of its neighbours are {row['target']}")
    return reasons


def duplicates(embedding: TaskEmbedding, paths: pd.Series) -> PairTable | None:
    """Pairs that are nearly one image to the model and that the audit of pixels missed."""
    counts = embedding.figures.duplicates
    if counts is None:
        return None
    table = embedding.duplicates
    new = table[(table["in_audit"] == 0) & (table["confirmed"] == 1)].head(PAIRS)
    pairs = [
        PairView(
            [Side(picture_of(paths[row[side]], 200), row[side]) for side in ("case_a", "case_b")],
            _pair_facts(row),
        )
        for row in _records(new)
    ]
    return PairTable(pairs, duplicates_sentence(counts), number(counts.threshold, 1))


def duplicates_sentence(counts: DuplicateCounts) -> str:
    """How many of the closest pairs are one image twice.

    >>> duplicates_sentence(DuplicateCounts(pairs=50, confirmed=0, new=0, threshold=0.9)).replace("\\xa0", " ")
    'Of the 50 pairs that lie closest together, none is confirmed as one image twice.'
    """
    near = f"Of the {plural(counts.pairs, 'pair')} that lie closest together"
    if not counts.confirmed:
        return f"{near}, none is confirmed as one image twice."
    verb = "is" if counts.confirmed == 1 else "are"
    confirmed = f"{near}, {count(counts.confirmed)} {verb} confirmed as one image twice."
    if not counts.new:
        return f"{confirmed} The audit of pixels had found all of them."
    return f"{confirmed} The audit of pixels had not found {count(counts.new)} of them; the closest:"


def _pair_facts(row: dict[str, Any]) -> str:
    """What the two images of a pair have in common."""
    return "; ".join(
        (
            f"distance {distance(row['distance'])}",
            "one patient" if int(row["same_patient"]) else "two patients",
            "one label" if int(row["same_class"]) else "two labels",
            listing(sorted({split_name(split) for split in str(row["splits"]).split("+")})),
        )
    )


def distance(value: float) -> str:
    """Three digits, so that distances of a row can be compared.

    >>> distance(3.4), distance(0.00123456), distance(512.0)
    ('3.40', '0.00123', '512')
    """
    return f"{value:#.3g}".rstrip(".")
