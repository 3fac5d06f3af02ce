"""What the script of the interactive map reads (explorer.js, which draws on a canvas and needs no library)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hilum.report.embedding.sprites import COLUMNS, Sprites
from hilum.report.figures import look
from hilum.report.wording import SPLIT_NAMES

MOST = 10_000
"""Images on the map. Of larger sets all held-out images are kept first, then a sample of training images."""


def on_the_map(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """At most `most` rows: the held-out ones first, then a random sample of training images, in the old order.

    >>> len(on_the_map(pd.DataFrame({"split": ["train"] * 9 + ["test"]}), most=4))
    4
    """
    if len(table) <= most:
        return table
    held_out = table[table["split"] != "train"]
    held_out = held_out.sample(min(len(held_out), most), random_state=0)
    train = table[table["split"] == "train"]
    rest = train.sample(min(len(train), most - len(held_out)), random_state=0)
    return table.loc[sorted([*held_out.index, *rest.index])]


def script_data(
    images: pd.DataFrame,
    maps: Mapping[str, str],
    neighbors: pd.DataFrame,
    classes: Sequence[str],
    pictures: Sprites,
    title: str,
) -> dict[str, Any]:
    """What explorer.js reads, as plain values without NaN.

    `images`: a row per image with case_id, patient, split, label, target, predicted, prob_<class>,
    <map>_x, <map>_y, and anomaly_score where it is known; `maps`: map -> its title; `neighbors`: case_id, rank,
    neighbor, distance; `title`: the heading of an image's neighbours.

    >>> images = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "split": ["train", "test"],
    ...     "label": "virus", "target": "virus", "predicted": "virus", "prob_normal": 0.1, "prob_virus": 0.9,
    ...     "tsne_x": [0.0, 2.0], "tsne_y": [1.0, 3.0]})
    >>> neighbors = pd.DataFrame({"case_id": ["b"], "rank": [1], "neighbor": ["a"], "distance": [0.5]})
    >>> data = script_data(images, {"tsne": "t-SNE"}, neighbors, ["normal", "virus"], Sprites((), {}, 96), "Nearest")
    >>> data["maps"], data["neighbors"]["rows"]
    ({'t-SNE': {'x': [0.0, 2.0], 'y': [1.0, 3.0]}}, [[], [0]])
    """
    row_of = {case: row for row, case in enumerate(images["case_id"])}
    rows, distances = _neighbor_lists(neighbors, row_of)
    splits = [split for split in ("train", "val", "test") if (images["split"] == split).any()]
    labels = sorted({*classes, *images["label"]}, key=class_order(classes))
    return {
        "images": {
            "case": images["case_id"].tolist(),
            "patient": images["patient"].tolist(),
            "split": images["split"].tolist(),
            "label": images["label"].tolist(),
            "target": images["target"].tolist(),
            "predicted": images["predicted"].tolist(),
            "confidence": [round(value, 4) for value in confidence(images)],
            "tile": [pictures.tile_of.get(case) for case in images["case_id"]],
        },
        "classes": [_class(name, classes) for name in labels],
        "splits": splits,
        "split_names": {split: SPLIT_NAMES[split] for split in splits},
        "maps": {
            title: {axis: _numbers(images[f"{name}_{axis}"]) for axis in "xy"} for name, title in maps.items()
        },
        "scores": _scores(images, classes),
        "neighbors": {"rows": rows, "distances": distances, "title": title},
        "sprites": {"sheets": list(pictures.sheets), "columns": COLUMNS},
        "first": _first(images),
    }


def confidence(images: pd.DataFrame) -> list[float]:
    """The probability of the predicted class, 0 to 1.

    >>> confidence(pd.DataFrame({"predicted": ["virus"], "prob_normal": [0.2], "prob_virus": [0.8]}))
    [0.8]
    """
    return [float(row[f"prob_{row['predicted']}"]) for row in images.to_dict("records")]


def _class(name: str, classes: Sequence[str]) -> dict[str, str]:
    """A label that is no class of the task (bacteria in a binary task) has its own look."""
    mine = look(name, [*classes, name])
    return {"name": name, "colour": mine.colour, "marker": mine.marker}


def class_order(classes: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """Sorts the task's classes first, in their order, then other labels by name.

    >>> sorted(["virus", "pneumonia", "normal"], key=class_order(["normal", "pneumonia"]))
    ['normal', 'pneumonia', 'virus']
    """
    return lambda name: (classes.index(name) if name in classes else len(classes), name)


def _scores(images: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Numbers to colour by: the probability that the image is abnormal, where the model has a normal class;
    the anomaly score of a detector fitted on normal images alone (column `anomaly_score`)."""
    columns = {}
    normal = f"prob_{classes[0]}"
    if classes[0] == "normal" and normal in images:
        columns["probability_of_abnormal"] = ("probability of abnormal", 1 - images[normal])
    if "anomaly_score" in images:
        columns["anomaly_score"] = ("anomaly score (1 − p-value)", images["anomaly_score"])
    return {key: {"name": name, "values": _numbers(values)} for key, (name, values) in columns.items()}


def _numbers(values: pd.Series) -> list[float | None]:
    """Four digits are more than a screen shows."""
    return [None if value != value else float(f"{value:.4g}") for value in values.to_numpy(float)]


def _neighbor_lists(
    neighbors: pd.DataFrame, row_of: Mapping[str, int]
) -> tuple[list[list[int]], list[list[float]]]:
    """For each image the rows and distances of its neighbours, nearest first; those off the map are out."""
    rows: list[list[int]] = [[] for _ in row_of]
    distances: list[list[float]] = [[] for _ in row_of]
    table = neighbors.sort_values(["case_id", "rank"], kind="stable")
    for case, other, distance in zip(table["case_id"], table["neighbor"], table["distance"], strict=True):
        if case in row_of and other in row_of:
            rows[row_of[case]].append(row_of[other])
            distances[row_of[case]].append(float(f"{distance:.4g}"))
    return rows, distances


def _first(images: pd.DataFrame) -> int:
    """The image that is shown until the reader chooses one: the first misclassified held-out one."""
    wrong = (images["split"] != "train") & (images["target"] != images["predicted"])
    return int(np.argmax(wrong.to_numpy())) if wrong.any() else 0


def as_script(value: Any) -> Markup:
    r"""JSON that may stand inside a script element: no '<', so that no name can close it.

    >>> as_script({"case": "</script>"})
    Markup('{"case":"\\u003c/script>"}')
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
