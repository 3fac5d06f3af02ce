"""How a detector ranks its own healthy images, each scored by a copy that has not seen its patient.

An abnormal image that was labelled healthy becomes part of what the detector takes for healthy, and then looks
healthy to it. Scored by a copy fitted on other patients it stands out. So this list is where to look for
wrong labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from hilum.anomaly import SCORE_BATCH, Advance, Detector, HealthyImages, build
from hilum.data.images import Pixels
from hilum.errors import DataError


class CrossFitted(NamedTuple):
    """score: float64 "images", as given by the copy that did not see the image's patient; comparable within a
    fold only. p: float64 "images", the share of the fold's images at least as strange (1 / images of the fold
    for the strangest), comparable across folds. fold: int64 "images"."""

    score: np.ndarray
    p: np.ndarray
    fold: np.ndarray


def cross_fitted(
    name: str,
    pixels: Pixels,
    options: dict[str, Any] | None,
    images: HealthyImages,
    seed: int,
    folds: int = 2,
    advance: Advance | None = None,
) -> CrossFitted:
    """Fits `folds` copies of a detector, each on the patients of the other folds, and scores what is left.

    DataError when there are fewer patients than folds.

    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    >>> images = HealthyImages.of_images(images, ["normal"] * 6, Pixels(size=(32, 32)))
    >>> options = {"features": "pixels", "memory": 9}
    >>> cross_fitted("patch_memory", images.pixels, options, images, seed=0).p.shape
    (6,)
    """
    people = sorted(set(images.patients))
    if not 2 <= folds <= len(people):
        raise DataError(
            f"{len(people)} patients can't be divided into {folds} folds", "choose 2 folds, or add patients"
        )
    np.random.default_rng(seed).shuffle(people)
    fold_of = {person: place % folds for place, person in enumerate(people)}
    fold = np.array([fold_of[person] for person in images.patients])
    score, p = np.empty(len(images)), np.empty(len(images))
    for one in range(folds):
        detector = build(name, pixels, options)
        detector.fit(images.part(np.flatnonzero(fold != one)), seed, advance)
        inside = np.flatnonzero(fold == one)
        score[inside] = scores_of(detector, images.part(inside))
        p[inside] = (score[inside] >= score[inside][:, None]).mean(axis=1)
    return CrossFitted(score, p, fold)


def scores_of(detector: Detector, images: HealthyImages) -> np.ndarray:
    """Scores of healthy images in order, float64 "images"."""
    return torch.cat([detector.score(x).score for x in images.batches(SCORE_BATCH)]).double().numpy()
