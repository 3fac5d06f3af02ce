"""A map beside the mask of a lesion: pointing game, energy inside, intersection over union.

Beside each figure stands what a random map scores, since a lesion that fills a fifth of the image is easy to
hit.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from hilum.artifacts.explanations import TruthFigure
from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap_weights, with_interval
from hilum.evaluation.shares import share_figure
from hilum.explain.faithfulness.curves import places


def pointing(heat: np.ndarray, mask: np.ndarray, tolerance: int = 0, seed: int = 0) -> np.ndarray:
    """Whether the strongest pixel lies in the mask or at most `tolerance` px from it; bool "images".

    The pointing game of Zhang, Lin, Brandt, Shen & Sclaroff (ECCV 2016; IJCV 2018). `heat` "images rows cols",
    `mask` bool of the same shape. Of equally strong pixels one by chance counts. A random map hits in the
    share that the mask has of the image. DataError for a mask of another shape, or an empty one.

    >>> heat, mask = np.array([[[0.0, 1.0, 5.0]]]), np.array([[[True, True, False]]])
    >>> pointing(heat, mask), pointing(heat, mask, tolerance=1)
    (array([False]), array([ True]))
    """
    _check(heat, mask)
    wide = grown(mask, tolerance)
    peaks = [int(places(torch.from_numpy(np.array(values)), seed).argmin()) for values in heat]
    return np.array([near.ravel()[peak] for near, peak in zip(wide, peaks, strict=True)], bool)


def energy_inside(heat: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of the map's positive values that lies in the mask, 0 to 1, "images"; a map without positive
    values has 0. Higher is better; a flat map has the share of the mask.

    The energy-based pointing game of Wang et al., "Score-CAM" (CVPR Workshops 2020), without rescaling.

    >>> energy_inside(np.array([[[3.0, 1.0, -5.0]]]), np.array([[[True, False, True]]]))
    array([0.75])
    """
    _check(heat, mask)
    positive = np.clip(heat.astype(np.float64), 0, None)
    total = positive.sum((1, 2))
    return np.divide((positive * mask).sum((1, 2)), total, out=np.zeros(len(heat)), where=total > 0)


def iou_at_area(heat: np.ndarray, mask: np.ndarray, seed: int = 0) -> np.ndarray:
    """Intersection over union of the mask and as many of the strongest pixels as it has, 0 to 1, "images".

    Fixing the area needs no threshold and treats all methods alike. Of equal values those by chance count.

    >>> iou_at_area(np.array([[[3.0, 1.0, 2.0]]]), np.array([[[True, True, False]]]))
    array([0.33333333])
    """
    _check(heat, mask)
    overlaps = []
    for values, inside in zip(heat, mask, strict=True):
        top = places(torch.from_numpy(np.array(values)), seed).numpy() < inside.sum()
        overlaps.append((top & inside).sum() / (top | inside).sum())
    return np.array(overlaps)


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """Masks "images rows cols" with every pixel that is at most `by` px away.

    >>> grown(np.array([[[True, False, False]]]), 1)
    array([[[ True,  True, False]]])
    """
    if by <= 0:
        return mask
    away = np.arange(-by, by + 1)
    disc = (away[:, None] ** 2 + away**2 <= by**2).astype(np.uint8)
    return np.stack([cv2.dilate(image.astype(np.uint8), disc) > 0 for image in mask])


def _check(heat: np.ndarray, mask: np.ndarray) -> None:
    if heat.shape != mask.shape or heat.ndim != 3:
        raise DataError(
            f"maps of shape {heat.shape} and masks of shape {mask.shape} do not belong together",
            "give both as images x rows x cols",
        )
    if not mask.any((1, 2)).all():
        raise DataError("an image has an empty mask", "leave images without the finding out")


def lesion_figures(
    heat: np.ndarray,
    mask: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    tolerance: int = 0,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, TruthFigure]:
    """The figures of one method over images: "pointing", "pointing_near"
    (within `tolerance` px), "energy" and "iou". Expected by chance: the share of the (grown) mask in the
    image, for IoU a / (2 - a) with a the share of the mask.

    >>> heat, mask = np.array([[[3.0, 1.0, 0.0]]]), np.array([[[True, False, False]]])
    >>> lesion_figures(heat, mask, ["ann"])["energy"].value
    0.75
    """
    area, near = mask.mean((1, 2)), grown(mask, tolerance).mean((1, 2))
    hits = {"pointing": (pointing(heat, mask, 0, seed), area)}
    hits["pointing_near"] = (pointing(heat, mask, tolerance, seed), near)
    shares = {
        "energy": (energy_inside(heat, mask), area),
        "iou": (iou_at_area(heat, mask, seed), area / (2 - area)),
    }
    return {
        name: figure(values, chance, patients, replicates, seed)
        for name, (values, chance) in {**hits, **shares}.items()
    }


def figure(
    values: np.ndarray,
    chance: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
) -> TruthFigure:
    """The mean over images with its interval over patients: from a bootstrap, or for true and false that of a share
    in which a patient counts as one image, with k of n.

    >>> share = figure(np.array([True, True]), np.array([0.1, 0.3]), ["ann", "bob"])
    >>> share.value, share.k, share.n, round(share.low, 2), share.chance
    (1.0, 2, 2, 0.34, 0.2)
    """
    by_chance = float(np.mean(chance))
    if values.dtype == bool:
        share = share_figure(values, np.asarray(patients))
        return TruthFigure(**share.model_dump(exclude={"n", "note"}), n=len(values), chance=by_chance)
    means = [w @ values / w.sum(1) for w in bootstrap_weights(patients, replicates, seed)]
    mean = with_interval(float(values.mean()), np.concatenate(means) if means else [])
    return TruthFigure(value=mean.value, low=mean.low, high=mean.high, chance=by_chance, n=len(values))
