"""Example images of a detector with their anomaly maps, for the report."""

import numpy as np
import pandas as pd

from hilum.anomaly.detector import Detector
from hilum.anomaly.inputs import Inputs, as_tensor
from hilum.anomaly.lesions import lesions
from hilum.anomaly.result import Examples
from hilum.data.cases import HEALTHY
from hilum.data.images import Pixels
from hilum.files import digest

EXTREMES = 3
"""Healthy images with the highest and abnormal images with the lowest scores, one per patient."""

RANDOM, HIGHEST_HEALTHY, LOWEST_ABNORMAL = "random", "highest healthy", "lowest abnormal"
"""Why an image is an example."""


def examples(detector: Detector, inputs: Inputs, score: np.ndarray) -> Examples:
    """A few held-out images with their maps: random ones, the same for every detector, and the errors of this one.
    `score`: float "cases"."""
    chosen = choose_examples(inputs.table.assign(score=score))
    rows = np.array([row for row, _ in chosen], np.int64)
    images = inputs.images(rows) if len(rows) else np.zeros((0, *inputs.pixels.size), np.uint8)
    maps = np.zeros(images.shape, np.float32)
    reconstruction = None
    if len(rows):
        scored = detector.score(as_tensor(inputs.pixels, images))
        maps = scored.map.numpy().astype(np.float32)
        if scored.reconstruction is not None:
            reconstruction = to_grey(inputs.pixels, scored.reconstruction.numpy(), images)
    ids = inputs.table["case_id"].iloc[rows]
    known = inputs.cases.source == "phantom"
    masks = lesions(inputs.cases, ids.tolist(), inputs.pixels) if known else None
    why = np.array([reason for _, reason in chosen], str)
    return Examples(ids.to_numpy(str), why, images, maps, reconstruction, masks)


def choose_examples(table: pd.DataFrame) -> list[tuple[int, str]]:
    """(position, why): per label the first image in the order of a digest of the names, the healthy images with
    the highest and the abnormal images with the lowest scores, one per patient.

    `table`: case_id, patient, label, role, score; a row per image. Images that measure, or test where none do.

    >>> labels = {"label": ["normal", "virus"], "role": ["test", "test"], "score": [1.0, 2.0]}
    >>> choose_examples(pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], **labels}))
    [(0, 'random'), (1, 'random'), (0, 'highest healthy'), (1, 'lowest abnormal')]
    """
    table = table.reset_index(drop=True)
    part = "measure" if (table["role"] == "measure").any() else "test"
    held_out = table[table["role"] == part]
    names = sorted(set(held_out["label"]), key=lambda label: (label != HEALTHY, label))
    keys = [digest("example", case) for case in held_out["case_id"]]
    order = held_out.assign(order=keys).sort_values("order")
    chosen = [(int(order.index[order["label"] == label][0]), RANDOM) for label in names]
    ranked = held_out.sort_values(["score", "case_id"], kind="stable")
    healthy = ranked[ranked["label"] == HEALTHY].iloc[::-1].drop_duplicates("patient").head(EXTREMES)
    abnormal = ranked[ranked["label"] != HEALTHY].drop_duplicates("patient").head(EXTREMES)
    chosen += [(int(row), HIGHEST_HEALTHY) for row in healthy.index]
    chosen += [(int(row), LOWEST_ABNORMAL) for row in abnormal.index]
    return chosen


def to_grey(pixels: Pixels, values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Reconstructions in the units of the network as grey levels, uint8 "images rows cols": the inverse of
    `pixels.normalize` for those images.

    >>> pixels, image = Pixels(size=(1, 2)), np.array([[[0, 255]]], np.uint8)
    >>> to_grey(pixels, pixels.normalize(image), image).tolist()
    [[[0, 255]]]
    """
    if pixels.standardize == "image":
        plain = images.astype(np.float32) / 255
        mean = plain.mean(axis=(1, 2), keepdims=True)
        sd = np.maximum(plain.std(axis=(1, 2), keepdims=True), 1e-3)
    else:
        mean, sd = np.float32(pixels.mean), np.float32(pixels.sd)
    return np.clip(np.rint(255 * (values * sd + mean)), 0, 255).astype(np.uint8)
