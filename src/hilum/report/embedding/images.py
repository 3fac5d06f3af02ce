"""Single images: examples with their neighbours, label suspects, pairs that look like one image twice."""

from typing import Any

import pandas as pd

from hilum.artifacts.embedding import DuplicateCounts
from hilum.report.embedding.explorer import confidence
from hilum.report.embedding.task import TaskEmbedding
from hilum.report.figures import look
from hilum.report.pictures import picture_of
from hilum.report.wording import count, listing, number, percent, plural, split_name

SUSPECTS, PAIRS = 12, 4
"""Pictures of label suspects, and of pairs that look like one image twice."""


# -- examples ------------------------------------------------------------------------------------------------


def examples(embedding: TaskEmbedding, paths: pd.Series) -> list[dict[str, Any]]:
    """For each class, of the first held-out split, the most confident correct and the most confident wrong
    prediction, each with its neighbours. `paths`: case_id -> file.

    >>> from hilum.artifacts.embedding import EmbeddingFigures, VectorSpace
    >>> figures = EmbeddingFigures.model_construct(
    ...     classes=["virus"], images={"test": 1}, space=VectorSpace.model_construct(k=1))
    >>> images = pd.DataFrame({"case_id": ["a", "b"], "split": ["test", "train"], "label": "virus", "target": "virus",
    ...     "predicted": "virus", "prob_virus": 0.9})
    >>> near = pd.DataFrame({"case_id": ["a"], "rank": 1, "neighbor": "b", "distance": 0.5, "same_class": 1})
    >>> paths = pd.Series({"a": "a.png", "b": "b.png"})
    >>> [example["votes"] for example in examples(TaskEmbedding(figures, images, near, near, near), paths)]
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
) -> dict[str, Any]:
    same = int(near["same_class"].sum())
    return {
        **_picture(embedding, row["case_id"], row["label"], paths),
        "predicted": row["predicted"],
        "correct": row["target"] == row["predicted"],
        "confidence": percent(row["confidence"], 0),
        "votes": f"{same} of {len(near)} neighbours are {row['target']}",
        "near": [
            {
                **_picture(embedding, each["neighbor"], labels[each["neighbor"]], paths),
                "distance": distance(each["distance"]),
            }
            for each in _records(near)
        ],
    }


def _picture(embedding: TaskEmbedding, case: str, label: str, paths: pd.Series) -> dict[str, Any]:
    """A small picture with its id, label and the label's colour."""
    colour = look(label, [*embedding.figures.classes, label]).colour
    return {"picture": picture_of(paths[case], longest=160), "case": case, "label": label, "colour": colour}


# -- tables --------------------------------------------------------------------------------------------------


def retrieval(embedding: TaskEmbedding) -> dict[str, Any] | None:
    """How many of the images that come back have the query's label; None where that was left out.

    >>> from hilum.artifacts.embedding import EmbeddingFigures, Retrieval
    >>> test = Retrieval(precision_at_k={5: 0.8}, mean_average_precision=0.7, chance=0.5, queries=10)
    >>> figures = EmbeddingFigures.model_construct(retrieval={"test": test})
    >>> retrieval(TaskEmbedding(figures, *[pd.DataFrame()] * 4))["rows"][0]["cells"][1:]
    ['0.700', '0.500', '10']
    """
    by_split = embedding.figures.retrieval
    if not by_split:
        return None
    ks = sorted({k for row in by_split.values() for k in row.precision_at_k})
    rows = [
        {
            "name": split_name(split),
            "cells": [
                *(percent(row.precision_at_k.get(k)) for k in ks),
                number(row.mean_average_precision),
                number(row.chance),
                count(row.queries),
            ],
        }
        for split, row in by_split.items()
    ]
    return {"ks": ks, "rows": rows}


def density(embedding: TaskEmbedding) -> list[list[str]]:
    """How close the images of a class lie, and how much of their neighbourhood is their own.

    >>> from hilum.artifacts.embedding import ClassDensity, EmbeddingFigures
    >>> virus = ClassDensity(mean_knn_distance=1.5, own_class_share=0.75, images=40)
    >>> figures = EmbeddingFigures.model_construct(density={"virus": virus})
    >>> [cell.replace("\\xa0", " ") for cell in density(TaskEmbedding(figures, *[pd.DataFrame()] * 4))[0]]
    ['virus', '1.50', '75.0 %', '40']
    """
    return [
        [name, distance(row.mean_knn_distance), percent(row.own_class_share), count(row.images)]
        for name, row in embedding.figures.density.items()
    ]


# -- images to review ----------------------------------------------------------------------------------------


def suspects(embedding: TaskEmbedding, paths: pd.Series) -> dict[str, Any] | None:
    """Training images whose label may be wrong, most suspicious first, each with its reasons.

    >>> from hilum.artifacts.embedding import EmbeddingFigures, SuspectCounts
    >>> counts = SuspectCounts(total=1, confident_learning=1, knn=0, both=0, training_images=90)
    >>> table = pd.DataFrame([{"case_id": "a", "target": "virus", "suggested": "normal", "self_confidence": 0.1,
    ...     "neighbor_share": 0.4, "confident_learning": 1, "knn_disagrees": 0}])
    >>> figures = EmbeddingFigures.model_construct(suspects=counts)
    >>> review = suspects(TaskEmbedding(figures, table, table, table, table), pd.Series({"a": "a.png"}))
    >>> print(review["images"][0]["reasons"][0].replace("\\xa0", " "))
    a model fitted without this patient gives virus a probability of 10 %
    """
    counts = embedding.figures.suspects
    if counts is None:
        return None
    images = [
        {
            "picture": picture_of(paths[row["case_id"]]),
            "case": row["case_id"],
            "label": row["target"],
            "suggested": row["suggested"],
            "reasons": _reasons(row),
        }
        for row in _records(embedding.suspects.head(SUSPECTS))
    ]
    return {
        "images": images,
        "total": f"{count(counts.total)} of {plural(counts.training_images, 'training image')}",
        "counts": (
            f"{count(counts.confident_learning)} by confident learning, {count(counts.knn)} by their neighbours,"
            f" {count(counts.both)} by both"
        ),
        "more": max(0, len(embedding.suspects) - SUSPECTS),
    }


def _reasons(row: dict[str, Any]) -> list[str]:
    """Why a label is suspect, in words."""
    own, neighbors = percent(row["self_confidence"], 0), percent(row["neighbor_share"], 0)
    reasons = []
    if int(row["confident_learning"]):
        reasons.append(f"a model fitted without this patient gives {row['target']} a probability of {own}")
    if int(row["knn_disagrees"]):
        reasons.append(f"{neighbors} of its neighbours are {row['target']}")
    return reasons


def duplicates(embedding: TaskEmbedding, paths: pd.Series) -> dict[str, Any] | None:
    """Pairs that are nearly one image to the model and that the audit of pixels missed.

    >>> from hilum.artifacts.embedding import EmbeddingFigures
    >>> counts = DuplicateCounts(pairs=50, confirmed=1, new=1, threshold=0.9)
    >>> table = pd.DataFrame([{"case_a": "a", "case_b": "b", "in_audit": 0, "confirmed": 1, "distance": 0.1,
    ...     "same_patient": 0, "same_class": 1, "splits": "train+test"}])
    >>> figures = EmbeddingFigures.model_construct(duplicates=counts)
    >>> shown = duplicates(TaskEmbedding(figures, *[table] * 4), pd.Series({"a": "a.png", "b": "b.png"}))
    >>> print(shown["pairs"][0]["facts"])
    distance 0.100; two patients; one label; test and training
    """
    counts = embedding.figures.duplicates
    if counts is None:
        return None
    table = embedding.duplicates
    new = table[(table["in_audit"] == 0) & (table["confirmed"] == 1)].head(PAIRS)
    pairs = [
        {
            "images": [
                {"picture": picture_of(paths[row[side]], 200), "case": row[side]}
                for side in ("case_a", "case_b")
            ],
            "facts": _pair_facts(row),
        }
        for row in _records(new)
    ]
    return {"pairs": pairs, "sentence": duplicates_sentence(counts), "threshold": number(counts.threshold, 1)}


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
