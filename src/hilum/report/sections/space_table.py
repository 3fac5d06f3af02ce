"""What a vote of neighbours is worth beside the head: the lead, the table, the confusion matrices."""

from typing import Any

from hilum.evaluation.seed_report import CLASSES as SEED_CLASSES
from hilum.evaluation.seed_report import KNN_TEST, RESNET34_TEST, block_of
from hilum.report.embedded import Embedded
from hilum.report.results import with_interval
from hilum.report.titles import TITLES
from hilum.report.wording import (
    NOTHING,
    SPACE,
    count,
    figure,
    interval,
    number,
    of,
    percent,
    plural,
    split_name,
)

TRANSFORMS = {
    "none": "vectors as they are",
    "standardize": "each dimension scaled to standard deviation 1",
    "pca": "whitened by PCA",
    "lda": "turned by LDA so that the classes lie apart",
}
BASELINES = {
    "raw_pixels": "raw pixels",
    "hog": "HOG (edges and their directions)",
    "random_network": "an untrained network",
}
WEIGHTS = {"uniform": "each neighbour has one vote", "distance": "nearer neighbours count more"}


def sobering(that: Embedded) -> str:
    """Said where something that was never trained names images as well as the network's vectors do."""
    part, mine = that.parts[0], _row(that, "knn")
    rivals = [row for row in that.facts["table"] if row["name"] in BASELINES and part in row]
    if mine is None or part not in mine or not rivals:
        return ""
    best = max(rivals, key=lambda row: row[part]["accuracy"]["value"])
    theirs = best[part]["accuracy"]
    if theirs["value"] < mine[part]["accuracy"]["value"]:
        return ""
    return (
        f"Without any training, neighbours by {BASELINES[best['name']]} name {figure('accuracy', theirs)}"
        f" ({of(theirs)}), no fewer than neighbours by the network’s vectors: on these images training has not"
        " brought neighbours any closer."
    )


def _row(that: Embedded, name: str) -> dict[str, Any] | None:
    return next((row for row in that.facts["table"] if row["name"] == name), None)


def lead(that: Embedded) -> str:
    """How the vote of neighbours does beside the head, and what the seed report's did."""
    part = that.parts[0]
    knn, head = _row(that, "knn"), _row(that, "head")
    if knn is None or part not in knn:
        return "The images lie on a map by how alike the model finds them."
    mine = knn[part]["accuracy"]
    said = (
        f"By vote, the {that.k} most alike training images name {with_interval('accuracy', mine)} of the"
        f" {count(knn[part]['n_cases'])} {split_name(part)} images correctly"
    )
    if head is not None and part in head:
        theirs = head[part]["accuracy"]
        said += f": {_gap(mine, theirs)} the network’s own head ({figure('accuracy', theirs)}, {of(theirs)})"
    if not that.seed_is_comparable:
        return f"{said}."
    vote, network = (block_of(one)["accuracy"] for one in (KNN_TEST, RESNET34_TEST))
    return (
        f"{said}. In the seed report the vote named {percent(vote['value'], 2)} ({of(vote)}) of the official"
        f" test images, {_gap(vote, network)} its network’s own head."
    )


def _gap(mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    """How far a vote lies from the head, in percentage points."""
    points = 100 * (mine["value"] - theirs["value"])
    if abs(points) < 0.05:
        return "as many as"
    return f"{abs(points):.1f}{SPACE}points {'more' if points > 0 else 'fewer'} than"


def _title(words: str) -> str:
    """A capital first letter, but not for kNN.

    >>> _title("linear probe"), _title("kNN on pixels")
    ('Linear probe', 'kNN on pixels')
    """
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def table(that: Embedded) -> dict[str, Any]:
    """A row per way to name an image; accuracy on each held-out split, the rest on the first."""
    parts = that.parts
    blocks = {part: next(row[part] for row in that.facts["table"] if part in row) for part in parts}
    seed = _seed_column(that)
    rows = [
        {
            "title": _title(row["title"]),
            "note": row.get("note", ""),
            "strong": row["name"] in ("knn", "head"),
            "accuracy": [_cell("accuracy", row.get(part)) for part in parts],
            "more": [_cell(key, row.get(parts[0])) for key in ("balanced_accuracy", "auroc")],
            "seed": seed.get(row["name"], NOTHING),
        }
        for row in that.facts["table"]
    ]
    return {
        "title": TITLES[that.one.task],
        "parts": [
            {"name": split_name(part), "images": plural(blocks[part]["n_cases"], "image")} for part in parts
        ],
        "first": split_name(parts[0]),
        "rows": rows,
        "seed": bool(seed),
        "chosen_on_val": "val" in parts and bool(that.one.chosen_on_val),
        "replicates": count(blocks[parts[0]].get("replicates")),
    }


def _cell(key: str, block: dict[str, Any] | None) -> dict[str, str]:
    entry = (block or {}).get(key)
    if not entry or entry.get("value") is None:
        return {"value": NOTHING, "of": "", "interval": ""}
    known = interval(key, entry) if entry.get("low") is not None else ""
    return {"value": figure(key, entry), "of": of(entry), "interval": known}


def _seed_column(that: Embedded) -> dict[str, str]:
    """The seed report's figures on the official test images, for the rows that it has."""
    if not that.seed_is_comparable:
        return {}
    printed = {"head": RESNET34_TEST, "knn_seed": KNN_TEST}
    entries = {name: block_of(table)["accuracy"] for name, table in printed.items()}
    return {name: f"{percent(entry['value'], 2)} ({of(entry)})" for name, entry in entries.items()}


def confusions(that: Embedded) -> list[dict[str, Any]]:
    """The confusion matrix of every row on the first held-out split, and the seed report's two."""
    part = that.parts[0]
    tables = [
        (_title(row["title"]), row[part]["classes"], row[part]["confusion"])
        for row in that.facts["table"]
        if part in row
    ]
    if that.seed_is_comparable:
        tables += [
            ("Seed report: ResNet34, official test images", SEED_CLASSES, RESNET34_TEST),
            ("Seed report: kNN, k = 7, official test images", SEED_CLASSES, KNN_TEST),
        ]
    return [_confusion(title, classes, table) for title, classes, table in tables]


def _confusion(title: str, classes: Any, table: Any) -> dict[str, Any]:
    rows = []
    for label, counts in zip(classes, table, strict=True):
        shares = [n / max(sum(counts), 1) for n in counts]
        cells = [
            {
                "count": count(n),
                "share": percent(share, 0),
                "shade": round(share, 3),
                "right": label == predicted,
            }
            for n, share, predicted in zip(counts, shares, classes, strict=True)
        ]
        rows.append({"label": label, "cells": cells})
    right = sum(table[place][place] for place in range(len(classes)))
    total = sum(map(sum, table))
    return {"title": title, "classes": classes, "rows": rows, "right": f"{right}/{total}"}


def space_words(that: Embedded) -> str:
    """In which space images are compared, as a sentence."""
    chosen = that.facts["space"]
    how = (
        "chosen by cross-validation over the patients of the training images"
        if chosen.get("selected_by") == "cross-validation"
        else "as the recipe says"
    )
    return (
        f"Images are compared by {chosen['distance']} distance between the network’s vectors"
        f" (layer “{chosen['layer']}”, {count(that.facts.get('dimensions'))} numbers per image;"
        f" {TRANSFORMS.get(chosen['transform'], chosen['transform'])}); {that.k} neighbours,"
        f" {WEIGHTS.get(chosen['weights'], chosen['weights'])}; {how}. An image’s neighbours are training images"
        " of other patients."
    )


def selection(that: Embedded) -> list[list[str]]:
    """The ways that cross-validation compared, best first."""
    return [
        [
            TRANSFORMS.get(one["transform"], str(one["transform"])),
            str(one["distance"]),
            str(one["weights"]),
            str(one["k"]),
            number(one.get("log_loss")),
            percent(one.get("accuracy")),
            percent(one.get("balanced_accuracy")),
        ]
        for one in that.facts.get("selection", [])[:12]
    ]
