"""Figures on images that the camera cannot tell apart, and on the groups where a model does worst.

A network may win on validation by what belongs to the camera (sharpness, file size, shape) and lose on the
first image from elsewhere. So the held-out images are asked again in groups:

matched: pairs of a healthy and an abnormal image that the shortcut numbers make equally likely to be abnormal
    (hilum.evaluation.matching).
crossed: for each number that tells abnormal from healthy (AUROC of at least 0.6), the images on the wrong side:
    healthy ones whose number is nearer to the median of the abnormal, and abnormal ones nearer to the healthy.
series: healthy images by the series in their name, where there are several (IM and NORMAL2 in the public set).
cluster: images that were taken alike (hilum.data.acquisition).

`worst_group` is the lowest accuracy of all groups with at least `FEWEST` images (Sagawa et al., ICLR 2020).
Being the lowest of several noisy shares it lies a little too low; it serves to compare models on the same
images. The thresholds are those of the whole part.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.acquisition import clusters
from hilum.data.cases import HEALTHY
from hilum.data.shortcuts import NAMES
from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap_weights, percentile_interval, wilson_interval
from hilum.evaluation.matching import match
from hilum.evaluation.metrics import auroc, ranking_metrics

FEWEST = 20
"""Images that a group needs to be counted as the worst."""

TELLS = 0.6
"""AUROC from which a number is crossed with the label."""

SERIES = "NORMAL2"
"""In the name of every image of the public set's second series of healthy children."""


def shift_figures(
    predictions: pd.DataFrame,
    part: str,
    facts: pd.DataFrame,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """{"groups": [...], "worst_group": {...} | None, "note"}: what is left of the figures of `part`.

    `predictions`: rows of predictions.csv, all parts. `facts`: the facts table with the same case_ids. The
    propensity and the groups of images taken alike are learnt without the test images unless `part` is test.
    Each group: "kind", "name", "accuracy" and, where it holds healthy and abnormal images, "auroc" of
    1 - P(normal) (both {"value", "low", "high"}, accuracy with "k" and "n"), "healthy" and "abnormal" (images),
    "patients". Intervals are 95 %, bootstrap over patients.
    """
    table = predictions.reset_index(drop=True)
    table = table[(table["split"] != "test") | (part == "test")].reset_index(drop=True)
    facts = facts.set_index("case_id").loc[table["case_id"]].reset_index()
    asked = (table["split"] == part).to_numpy()
    rows = table[asked].reset_index(drop=True)
    found, note = _groups(table, facts, asked)
    groups = [
        {"kind": kind, "name": name, **_figures(rows, mask[asked], replicates, seed)}
        for kind, name, mask in found
        if mask[asked].any()
    ]
    counted = [one for one in groups if one["accuracy"]["n"] >= FEWEST and one["kind"] != "all"]
    worst = min(counted, key=lambda one: one["accuracy"]["value"], default=None)
    return {
        "groups": groups,
        "worst_group": None
        if worst is None
        else {"kind": worst["kind"], "name": worst["name"], **worst["accuracy"]},
        "note": note,
    }


Group = tuple[str, str, np.ndarray]
"""Kind, name in words, and which images of the table belong to it."""


def _groups(table: pd.DataFrame, facts: pd.DataFrame, asked: np.ndarray) -> tuple[list[Group], str]:
    abnormal = (table["label"] != HEALTHY).to_numpy()
    found: list[Group] = [("all", "all held-out images", np.ones(len(table), bool))]
    pairs = match(facts, table["label"], table["patient"], asked)
    note = pairs if isinstance(pairs, str) else ""
    if not isinstance(pairs, str):
        inside = np.zeros(len(table), bool)
        inside[pairs.rows] = True
        found.append(("matched", "pairs that simple numbers can't tell apart", inside))
    for name in _telling(facts, abnormal):
        crossed = crossed_images(facts[name].to_numpy(float), abnormal)
        words = NAMES[name][0]
        found.append(("crossed", f"wrong side of {words}: healthy and abnormal", crossed))
        found.append(("crossed", f"healthy with the {words} of the abnormal", crossed & ~abnormal))
        found.append(("crossed", f"abnormal with the {words} of the healthy", crossed & abnormal))
    second = table["case_id"].str.contains(SERIES).to_numpy()
    if (second & ~abnormal).any() and (~second & ~abnormal).any():
        found.append(("series", "healthy, series IM", ~second & ~abnormal))
        found.append(("series", f"healthy, series {SERIES}", second & ~abnormal))
    try:
        alike = clusters(facts)
    except DataError as error:
        return found, f"{note} {error.what}".strip()
    found += [("cluster", f"taken alike, group {number + 1}", alike == number) for number in np.unique(alike)]
    return found, note


def _telling(facts: pd.DataFrame, abnormal: np.ndarray) -> list[str]:
    """The numbers that tell abnormal from healthy by themselves."""
    if abnormal.all() or not abnormal.any():
        return []
    areas = {name: float(auroc(facts[name].to_numpy(float), abnormal)) for name in NAMES if name in facts}
    return [name for name, area in areas.items() if max(area, 1 - area) >= TELLS]


def crossed_images(values: np.ndarray, abnormal: np.ndarray) -> np.ndarray:
    """Which images lie nearer to the median of the other side: bool "images".

    >>> crossed_images(np.array([1.0, 1.1, 5.0, 5.0, 5.2, 1.0]), np.array([0, 0, 0, 1, 1, 1], bool)).tolist()
    [False, False, True, False, False, True]
    """
    low, high = np.median(values[~abnormal]), np.median(values[abnormal])
    near_abnormal = np.abs(values - high) < np.abs(values - low)
    return near_abnormal != abnormal


def _figures(rows: pd.DataFrame, inside: np.ndarray, replicates: int, seed: int) -> dict[str, Any]:
    """Accuracy and AUROC of some images of the part, with intervals."""
    some = rows[inside].reset_index(drop=True)
    right = (some["predicted"] == some["target"]).to_numpy()
    abnormal = (some["label"] != HEALTHY).to_numpy()
    column = f"prob_{HEALTHY}"
    both = column in some and bool(abnormal.any()) and not abnormal.all()
    score = 1 - some[column].to_numpy(float) if both else np.zeros(len(some))
    accuracies, areas = [], []
    for weights in bootstrap_weights(some["patient"].to_numpy(), replicates, seed):
        accuracies.append(weights @ right / weights.sum(1))
        if both:
            areas.append(ranking_metrics(score, abnormal, weights)[0])
    accuracy = {"value": float(right.mean()), "k": int(right.sum()), "n": len(right)}
    patients = int(some["patient"].nunique())
    ends = _ends(accuracies)
    if ends and ends["low"] == ends["high"]:  # no spread to draw from, which proves no certainty
        low, high = wilson_interval(round(accuracy["value"] * patients), patients)
        ends = {"low": low, "high": high}
    area = {"value": float(auroc(score, abnormal))} if both else None
    return {
        "accuracy": {**accuracy, **ends},
        "auroc": None if area is None else {**area, **_ends(areas)},
        "healthy": int((~abnormal).sum()),
        "abnormal": int(abnormal.sum()),
        "patients": patients,
    }


def _ends(drawn: Sequence[Any]) -> dict[str, float]:
    if not drawn:
        return {}
    low, high = percentile_interval(np.concatenate(drawn))
    return {} if np.isnan(low) else {"low": low, "high": high}
