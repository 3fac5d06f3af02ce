"""Figures by acquisition group: where a model does worst, and whether it relies on acquisition shortcuts.

A network may do well on validation images by what belongs to the device (sharpness, file size, shape) and fail
on images from elsewhere. So the held-out images are evaluated in groups:

matched: pairs of a normal and an abnormal image that the shortcuts make equally likely to be abnormal
    (hilum.evaluation.matching).
conflicting: for each shortcut that separates abnormal from normal images (AUROC of at least 0.6), the
    shortcut-conflicting images: normal ones whose value is nearer to the median of the abnormal, and abnormal
    ones nearer to that of the normal.
series: normal images by the series in their name, where there are several (IM and NORMAL2 in the public set).
acquisition: acquisition groups (hilum.data.acquisition).

`worst_group` is the lowest accuracy of all groups with at least `FEWEST` images (Sagawa et al., ICLR 2020).
Being the lowest of several noisy shares it lies a little too low; it serves to compare models on the same
images. The thresholds are those of the whole part.
"""

from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.data.acquisition import clusters
from hilum.data.cases import HEALTHY
from hilum.data.shortcuts import NAMES
from hilum.errors import DataError
from hilum.evaluation.areas import area_figure
from hilum.evaluation.matching import match
from hilum.evaluation.metrics import auroc
from hilum.evaluation.shares import share_figure

FEWEST = 20
"""Images that a group needs to be counted as the worst."""

SEPARATES = 0.6
"""AUROC from which a shortcut has conflicting images."""

SERIES = "NORMAL2"
"""In the name of every image of the public set's second series of normal images."""


def shift_figures(
    predictions: pd.DataFrame,
    part: str,
    facts: pd.DataFrame,
    with_ends: bool = True,
) -> dict[str, Any]:
    """Figures of `part` by acquisition group: {"groups": [...], "worst_group": {...} | None, "note"}.

    `predictions`: rows of predictions.csv, all parts. `facts`: the facts table with the same case_ids. The
    propensity and the acquisition groups are learnt without the test images unless `part` is test.
    Each group: "kind", "name", "accuracy" and, where it holds normal and abnormal images, "auroc" of
    1 - P(normal) (both {"value", "low", "high"}, accuracy with "k" and "n"), "healthy" and "abnormal" (images),
    "patients". Intervals are 95 %, over patients (docs/intervals.md); none without `with_ends`.
    """
    table = predictions.reset_index(drop=True)
    table = table[(table["split"] != "test") | (part == "test")].reset_index(drop=True)
    facts = facts.set_index("case_id").loc[table["case_id"]].reset_index()
    inside = (table["split"] == part).to_numpy()
    rows = table[inside].reset_index(drop=True)
    members, note = _groups(table, facts, inside)
    groups = [
        {"kind": kind, "name": name, **_figures(rows, mask[inside], with_ends)}
        for kind, name, mask in members
        if mask[inside].any()
    ]
    counted = [group for group in groups if group["accuracy"]["n"] >= FEWEST and group["kind"] != "all"]
    worst = min(counted, key=lambda group: group["accuracy"]["value"], default=None)
    return {
        "groups": groups,
        "worst_group": None
        if worst is None
        else {"kind": worst["kind"], "name": worst["name"], **worst["accuracy"]},
        "note": note,
    }


Group = tuple[str, str, np.ndarray]
"""Kind, name in words, and which images of the table belong to it."""


def _groups(table: pd.DataFrame, facts: pd.DataFrame, held_out: np.ndarray) -> tuple[list[Group], str]:
    abnormal = (table["label"] != HEALTHY).to_numpy()
    groups: list[Group] = [("all", "all held-out images", np.ones(len(table), bool))]
    pairs = match(facts, table["label"], table["patient"], held_out)
    note = pairs if isinstance(pairs, str) else ""
    if not isinstance(pairs, str):
        inside = np.zeros(len(table), bool)
        inside[pairs.rows] = True
        groups.append(("matched", "shortcut-matched pairs", inside))
    for name in _separating(facts, abnormal):
        conflicting = conflicting_images(facts[name].to_numpy(float), abnormal)
        words = NAMES[name][0]
        groups.append(("conflicting", f"shortcut-conflicting: {words}", conflicting))
        groups.append(("conflicting", f"normal with the {words} of abnormal images", conflicting & ~abnormal))
        groups.append(("conflicting", f"abnormal with the {words} of normal images", conflicting & abnormal))
    second = table["case_id"].str.contains(f"{SERIES}-IM-", regex=False).to_numpy()
    if (second & ~abnormal).any() and (~second & ~abnormal).any():
        groups.append(("series", "normal, series IM", ~second & ~abnormal))
        groups.append(("series", f"normal, series {SERIES}", second & ~abnormal))
    try:
        cluster = clusters(facts)
    except DataError as error:
        return groups, f"{note} {error.what}".strip()
    groups += [
        ("acquisition", f"acquisition group {number + 1}", cluster == number) for number in np.unique(cluster)
    ]
    return groups, note


def _separating(facts: pd.DataFrame, abnormal: np.ndarray) -> list[str]:
    """The shortcuts that separate abnormal from normal images by themselves."""
    if abnormal.all() or not abnormal.any():
        return []
    areas = {name: float(auroc(facts[name].to_numpy(float), abnormal)) for name in NAMES if name in facts}
    return [name for name, area in areas.items() if max(area, 1 - area) >= SEPARATES]


def conflicting_images(values: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Which images lie nearer to the median of the other class: bool "images".

    >>> conflicting_images(np.array([1.0, 1.1, 5.0, 5.0, 5.2, 1.0]), np.array([0, 0, 0, 1, 1, 1], bool)).tolist()
    [False, False, True, False, False, True]
    """
    low, high = np.median(values[~abnormal]), np.median(values[abnormal])
    near_abnormal = np.abs(values - high) < np.abs(values - low)
    return near_abnormal != abnormal


def _figures(rows: pd.DataFrame, inside: np.ndarray, with_ends: bool) -> dict[str, Any]:
    """Accuracy and AUROC of some images of the part, with intervals."""
    group = rows[inside].reset_index(drop=True)
    correct = (group["predicted"] == group["target"]).to_numpy()
    abnormal = (group["label"] != HEALTHY).to_numpy()
    column = f"prob_{HEALTHY}"
    both = column in group and bool(abnormal.any()) and not abnormal.all()
    score = 1 - group[column].to_numpy(float) if both else np.zeros(len(group))
    patients = group["patient"].to_numpy()
    accuracy = share_figure(correct, patients, _of_truth(group))
    area = area_figure(score, abnormal, patients) if both else None
    return {
        "accuracy": _entry(accuracy, with_ends),
        "auroc": None if area is None else _entry(area, with_ends),
        "healthy": int((~abnormal).sum()),
        "abnormal": int(abnormal.sum()),
        "patients": int(group["patient"].nunique()),
    }


def _of_truth(group: pd.DataFrame) -> np.ndarray | None:
    """The probability of each image's own class; None where the table lacks probabilities."""
    values = np.zeros(len(group))
    for name in group["target"].unique():
        if f"prob_{name}" not in group:
            return None
        rows = (group["target"] == name).to_numpy()
        values[rows] = group[f"prob_{name}"].to_numpy(float)[rows]
    return values


def _entry(figure: Figure, with_ends: bool) -> dict[str, Any]:
    dropped = set() if with_ends else {"low", "high", "reason"}
    return {"value": figure.value, **figure.model_dump(exclude_none=True, exclude=dropped)}
