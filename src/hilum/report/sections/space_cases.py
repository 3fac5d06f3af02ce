"""Single images in the space of cases: their neighbours, label suspects, pairs that look like duplicates."""

from typing import Any

import pandas as pd

from hilum.report.embedded import Embedded
from hilum.report.figures import look
from hilum.report.pictures import picture_of
from hilum.report.wording import (
    count,
    listing,
    number,
    percent,
    plural,
    sentence,
    split_name,
)

SUSPECTS, PAIRS = 12, 4
"""Pictures of label suspects, and of pairs that look like duplicates."""


def examples(that: Embedded, images: pd.DataFrame, paths: pd.Series) -> list[dict[str, Any]]:
    """For each class, of the first held-out split, the image that the head names rightly and most surely, and
    the one that it names wrongly and most surely; each with its neighbours."""
    part = that.parts[0]
    held = images[images["split"] == part].copy()
    held["sure"] = [row[f"prob_{row['predicted']}"] for row in _records(held)]
    held = held.sort_values(["sure", "case_id"], ascending=[False, True], kind="stable")
    by_case = that.neighbors.sort_values("rank", kind="stable").groupby("case_id")
    labels = images.set_index("case_id")["label"]
    rows = []
    for target in that.one.classes:
        of_class = held[held["target"] == target]
        right = of_class["target"] == of_class["predicted"]
        for row in _records(pd.concat([of_class[right].head(1), of_class[~right].head(1)])):
            if row["case_id"] not in by_case.groups:
                continue
            near = _records(by_case.get_group(row["case_id"]))
            rows.append(_example(that, row, near, labels, paths))
    return rows


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as dictionaries from column to value."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _example(
    that: Embedded, row: dict[str, Any], near: list[dict[str, Any]], labels: pd.Series, paths: pd.Series
) -> dict[str, Any]:
    alike = [
        {
            "picture": picture_of(paths[one["neighbor"]], longest=160),
            "case": one["neighbor"],
            "label": labels[one["neighbor"]],
            "colour": look(labels[one["neighbor"]], [*that.one.classes, labels[one["neighbor"]]]).colour,
            "distance": _distance(one["distance"]),
        }
        for one in near[: that.k]
    ]
    same = sum(int(one["same_class"]) for one in near[: that.k])
    right = row["target"] == row["predicted"]
    return {
        "picture": picture_of(paths[row["case_id"]], longest=160),
        "case": row["case_id"],
        "label": row["label"],
        "called": row["predicted"],
        "right": right,
        "sure": percent(row["sure"], 0),
        "colour": look(row["label"], [*that.one.classes, row["label"]]).colour,
        "near": alike,
        "said": f"{same} of {len(alike)} neighbours are {row['target']}",
    }


def retrieval(that: Embedded) -> dict[str, Any] | None:
    """How many of the images that come back have the query's label."""
    blocks = {part: that.facts.get("retrieval", {}).get(part) for part in that.parts}
    blocks = {part: block for part, block in blocks.items() if block}
    if not blocks:
        return None
    ks = list(next(iter(blocks.values()))["precision_at_k"])
    return {
        "ks": ks,
        "rows": [
            {
                "name": split_name(part),
                "cells": [
                    *(percent(block["precision_at_k"].get(k)) for k in ks),
                    number(block.get("mean_average_precision")),
                    number(block.get("chance")),
                    count(block.get("queries")),
                ],
            }
            for part, block in blocks.items()
        ],
    }


def density(that: Embedded) -> list[list[str]]:
    """How close the images of a class lie, and how much of their neighbourhood is their own."""
    return [
        [name, _distance(one["mean_knn_distance"]), percent(one["own_class_share"]), count(one["n"])]
        for name, one in that.facts.get("density", {}).items()
        if one.get("mean_knn_distance") is not None
    ]


def suspects(that: Embedded, paths: pd.Series) -> dict[str, Any] | None:
    """Training images whose label may be wrong, most suspicious first, each with its reasons."""
    facts = that.facts.get("suspects")
    if facts is None:
        return None
    images = [
        {
            "picture": picture_of(paths[row["case_id"]]),
            "case": row["case_id"],
            "label": row["target"],
            "suggested": row["suggested"],
            "reasons": _reasons(that, row),
        }
        for row in _records(that.suspects.head(SUSPECTS))
    ]
    return {
        "images": images,
        "total": plural(facts["n"], "training image"),
        "counts": (
            f"{count(facts.get('confident_learning'))} by confident learning, {count(facts.get('knn'))} by"
            f" their neighbours, {count(facts.get('both'))} by both"
        ),
        "more": max(0, len(that.suspects) - SUSPECTS),
        "note": sentence(facts.get("note", "")),
    }


def _reasons(that: Embedded, row: dict[str, Any]) -> list[str]:
    """Why a label is doubted, in words."""
    reasons = []
    if int(row["confident_learning"]):
        reasons.append(
            f"a model that never saw this patient gives {row['target']} {percent(row['self_confidence'], 0)}"
        )
    if int(row["knn_disagrees"]):
        share = row["neighbor_share"]
        reasons.append(f"{percent(share, 0)} of its neighbours are {row['target']}")
    return reasons or [f"probability of {row['target']}: {percent(row['self_confidence'], 0)}"]


def duplicates(that: Embedded, paths: pd.Series) -> dict[str, Any] | None:
    """Pairs that are nearly one image to the model, those that the pixel audit missed first."""
    facts = that.facts.get("duplicates")
    if facts is None:
        return None
    new = that.duplicates
    if len(new):
        new = new[(new["in_audit"] == 0) & (new["confirmed"] == 1)]
    pairs = [
        {
            "images": [
                {"picture": picture_of(paths[row[side]], 200), "case": row[side]}
                for side in ("case_a", "case_b")
            ],
            "distance": _distance(row["distance"]),
            "said": "; ".join(
                (
                    "one patient" if int(row["same_patient"]) else "two patients",
                    "one label" if int(row["same_class"]) else "two labels",
                    listing(sorted({split_name(part) for part in str(row["splits"]).split("+")})),
                )
            ),
        }
        for row in _records(new.head(PAIRS))
    ]
    agreed, near = count(facts.get("confirmed")), plural(facts["pairs"], "pair")
    said = f"Of the {near} that lie closest together, {agreed} look like one image twice"
    if len(new):
        said += (
            f", and {count(len(new))} of them were not found by the audit of pixels. The closest of these:"
        )
    else:
        said += "; the audit of pixels had found them all." if facts.get("confirmed") else "."
    return {"pairs": pairs, "said": said, "note": sentence(facts.get("note", ""))}


def _distance(value: float) -> str:
    """Three digits, so that distances of a row can be compared.

    >>> _distance(3.4), _distance(0.00123456), _distance(512.0)
    ('3.40', '0.00123', '512')
    """
    return f"{value:#.3g}".rstrip(".")
