"""Cross-fitted scores of the training images: each image is scored by a copy fitted on other patients.

An abnormal image with the label healthy lowers its own score when the detector is fitted on it. Scored by a copy
fitted on other patients it stands out. So the highest scores are candidates for wrong labels.
"""

from typing import Any, NamedTuple

import numpy as np
import torch

from hilum.anomaly.detector import SCORE_BATCH, Detector, build
from hilum.anomaly.healthy import HealthyImages
from hilum.data.images import Pixels
from hilum.errors import DataError
from hilum.inference.runtimes.torch import choose_device
from hilum.progress import Advance


class CrossFitted(NamedTuple):
    """score: float64 "images", by the copy that was not fitted on the image's patient; comparable within a fold
    only. p: float64 "images", the share of the fold's images that score at least as high (1 / images of the fold
    for the highest), comparable across folds. fold: int64 "images"."""

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
    """Fits `folds` copies of a detector, each on the patients of the other folds, and scores the images of its own.

    DataError when there are fewer patients than folds.

    >>> images = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
    >>> images = HealthyImages.of_images(images, ["normal"] * 6, Pixels(size=(32, 32)))
    >>> options = {"features": "pixels", "memory": 9}
    >>> cross_fitted("patch_memory", images.pixels, options, images, seed=0).p.shape
    (6,)
    """
    patients = sorted(set(images.patients))
    if not 2 <= folds <= len(patients):
        raise DataError(
            f"{len(patients)} patients can't be divided into {folds} folds", "choose 2 folds or add patients"
        )
    np.random.default_rng(seed).shuffle(patients)
    fold_of = {patient: place % folds for place, patient in enumerate(patients)}
    fold = np.array([fold_of[patient] for patient in images.patients])
    score, p = np.empty(len(images)), np.empty(len(images))
    for number in range(folds):
        detector = build(name, pixels, options).to(choose_device())
        detector.fit(images.part(np.flatnonzero(fold != number)), seed, advance)
        inside = np.flatnonzero(fold == number)
        score[inside] = scores_of(detector, images.part(inside))
        p[inside] = (score[inside] >= score[inside][:, None]).mean(axis=1)
    return CrossFitted(score, p, fold)


def scores_of(detector: Detector, images: HealthyImages) -> np.ndarray:
    """Scores of healthy images in order, float64 "images".

    >>> images = HealthyImages.of_images(np.zeros((3, 16, 16), np.uint8), ["normal"] * 3, Pixels(size=(16, 16)))
    >>> detector = build("patch_memory", images.pixels, {"features": "pixels", "memory": 4})
    >>> detector.fit(images, seed=0)
    >>> scores_of(detector, images).tolist()
    [0.0, 0.0, 0.0]
    """
    return torch.cat([detector.score(x).score for x in images.batches(SCORE_BATCH)]).double().numpy()
