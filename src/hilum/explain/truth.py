"""Explanations against a known truth: phantoms say where the disease is, and where a planted shortcut is.

Three figures for a map and the mask of a lesion: does the strongest pixel lie in it (pointing game), how much
of the map does (energy), and how much of the lesion do as many of the strongest pixels cover (IoU). Beside
each stands what a map by chance scores, since a lesion that fills a fifth of the image is easy to hit.

The reverse test: a network trained on images where a bright disc gives the answer away must be caught. Its
explanations have to point at the disc, those of an honest network on the same images must not.

What is true of a phantom need not be true of a chest: drawn lesions are clean and their networks are certain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY
from hilum.data.sources import phantom
from hilum.data.split import used_cases
from hilum.errors import DataError, HilumError, RecipeError
from hilum.evaluation.intervals import bootstrap_weights, percentile_interval, wilson_interval
from hilum.explain.faithfulness import BASELINES, Advance, Way, check_map, places, title_of
from hilum.models import ChestModel
from hilum.run import Run

TOLERANCE = 0.03
"""How far from the mask a peak may lie and still count as a hit, as a share of the shorter side (3 of 96 px).
Zhang et al. allow 15 px on photographs of about 500 px, which is the same share."""

CAUGHT = 0.5
"""A map unmasks a network when its peak lies on the planted marker in at least this share of the images."""

GOAL = 0.95
"""Pointing game of the best method on held-out images of an honest network: what we ask of ourselves."""


# -- figures of one map --------------------------------------------------------------------------------------


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
    peaks = [int(places(torch.from_numpy(np.array(one)), seed).argmin()) for one in heat]
    return np.array([one.ravel()[peak] for one, peak in zip(wide, peaks, strict=True)], bool)


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
    found = []
    for one, inside in zip(heat, mask, strict=True):
        top = places(torch.from_numpy(np.array(one)), seed).numpy() < inside.sum()
        found.append((top & inside).sum() / (top | inside).sum())
    return np.array(found)


def grown(mask: np.ndarray, by: int) -> np.ndarray:
    """Masks "images rows cols" with every pixel that is at most `by` px away.

    >>> grown(np.array([[[True, False, False]]]), 1)
    array([[[ True,  True, False]]])
    """
    if by <= 0:
        return mask
    away = np.arange(-by, by + 1)
    disc = (away[:, None] ** 2 + away**2 <= by**2).astype(np.uint8)
    return np.stack([cv2.dilate(one.astype(np.uint8), disc) > 0 for one in mask])


def _check(heat: np.ndarray, mask: np.ndarray) -> None:
    if heat.shape != mask.shape or heat.ndim != 3:
        raise DataError(
            f"maps of shape {heat.shape} and masks of shape {mask.shape} do not belong together",
            "give both as images x rows x cols",
        )
    if not mask.any((1, 2)).all():
        raise DataError("an image has an empty mask", "leave images without the finding out")


def smoothed(way: Way, sd: float) -> Way:
    """A way whose maps are blurred by a Gaussian of `sd` px, border repeated: the strongest pixel of a ragged
    map is a matter of chance, a region is not. RecipeError for `sd` below 0.

    >>> from hilum.explain.faithfulness import centre
    >>> smoothed(centre, 2.0)(nn.Identity(), torch.zeros(1, 1, 8, 8), 0).shape
    torch.Size([1, 8, 8])
    """
    if sd < 0:
        raise RecipeError(f"option sd = {sd!r} is not possible", "use 0 or more")
    return partial(_smoothed, way, sd)


def _smoothed(way: Way, sd: float, model: nn.Module, x: Tensor, target: int) -> Tensor:
    heat = way(model, x, target)
    values = gaussian_filter(heat.cpu().double().numpy(), (0, sd, sd), mode="nearest")
    return torch.from_numpy(values).to(heat)


# -- images with their truth ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """Abnormal images of a phantom as a network reads them, with the truth.

    x: float32 "images 1 rows cols". masks: bool "images rows cols" by name (see phantom.Image). called_abnormal:
    what the network says at its threshold, bool "images". case_ids, patients, labels: "images".
    """

    x: Tensor
    masks: Mapping[str, np.ndarray]
    called_abnormal: np.ndarray
    case_ids: np.ndarray
    patients: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def where(self, keep: np.ndarray) -> "Planted":
        """Some of the images. `keep`: bool "images"."""
        rows = np.flatnonzero(keep)
        return Planted(
            self.x[rows],
            {name: mask[rows] for name, mask in self.masks.items()},
            *(values[rows] for values in (self.called_abnormal, self.case_ids, self.patients, self.labels)),
        )


def planted_images(
    run: Run,
    model: ChestModel,
    part: str = "test",
    limit: int | None = None,
    seed: int = 0,
    task: str = "binary",
) -> Planted:
    """The abnormal images of one part of a run on phantoms, one image per patient, as `model` reads them.

    `model` may be of another run. `limit`: so many images, drawn by chance. Images whose lesion vanishes at the
    model's size are left out. DataError when the run's data are no phantom or there is no such image.
    """
    cases = run.cases()
    if not (cases.root / "masks").is_dir():
        raise DataError(f"{cases.root} holds no masks", "use a run on phantoms")
    table = cases.table.set_index("case_id", drop=False)
    table = table[(run.split(task).reindex(table.index) == part) & (table["label"] != HEALTHY)]
    table = table.drop_duplicates("patient")
    if limit is not None and limit < len(table):
        table = table.sample(limit, random_state=seed).sort_index()
    if table.empty:
        raise DataError(f"part {part!r} of {run.path} has no abnormal image", "choose train, val or test")
    used = used_cases(cases, run.split(task))
    cache = ImageCache.of(used, model.pixels)
    prepared = cache.images[cache.rows(table["case_id"])]
    images = torch.from_numpy(model.pixels.normalize(prepared))[:, None]
    drawn = [phantom.masks(cases.root, name) for name in table["case_id"]]
    masks = {
        name: np.stack([model.pixels.prepare(one[name].astype(np.uint8) * 255) >= 128 for one in drawn])
        for name in ("lesion", "shortcut", "lung", "marker")
    }
    names, patients, labels = (table[key].to_numpy() for key in ("case_id", "patient", "label"))
    found = Planted(images, masks, called_abnormal(model, images), names, patients, labels)
    return found.where(np.asarray(masks["lesion"].any((1, 2))))


@torch.no_grad()
def called_abnormal(model: ChestModel, x: Tensor) -> np.ndarray:
    """Whether a binary model calls each image abnormal at the threshold of its card (else 0.5), bool "images"."""
    threshold = (model.card.get("threshold") or {}).get("value", 0.5)
    healthy = model.classes.index(HEALTHY)
    shares = torch.cat([model(part).softmax(1)[:, healthy] for part in x.split(32)])
    return (1 - shares).cpu().numpy() >= threshold


# -- tables --------------------------------------------------------------------------------------------------


class Figure(NamedTuple):
    """A mean over images with its 95 % interval over patients, and what a random map is expected to have."""

    value: float
    low: float
    high: float
    chance: float
    k: int | None = None
    n: int = 0


def lesion_figures(
    heat: np.ndarray,
    mask: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    tolerance: int = 0,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """The figures of one method over images, as plain values (see `Figure`): "pointing", "pointing_near"
    (within `tolerance` px), "energy" and "iou". Expected by chance: the share of the (grown) mask in the
    image, for IoU a / (2 - a) with a the share of the mask.

    >>> heat, mask = np.array([[[3.0, 1.0, 0.0]]]), np.array([[[True, False, False]]])
    >>> lesion_figures(heat, mask, ["ann"])["energy"]["value"]
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
        name: figure(values, chance, patients, replicates, seed)._asdict()
        for name, (values, chance) in {**hits, **shares}.items()
    }


def figure(
    values: np.ndarray,
    chance: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
) -> Figure:
    """The mean over images, its bootstrap interval over patients (Wilson's over patients for a share of 0 or
    1, which has no spread), and k of n where the values are true or false.

    >>> found = figure(np.array([True, True]), np.array([0.1, 0.3]), ["ann", "bob"])
    >>> found.value, found.k, found.n, round(found.low, 2), found.chance
    (1.0, 2, 2, 0.34, 0.2)
    """
    numbers = values.astype(np.float64)
    value, is_count = float(numbers.mean()), values.dtype == bool
    if is_count and value in (0.0, 1.0):
        people = len(np.unique(np.asarray(patients)))
        low, high = wilson_interval(round(value) * people, people)
    else:
        means = [w @ numbers / w.sum(1) for w in bootstrap_weights(patients, replicates, seed)]
        low, high = percentile_interval(np.concatenate(means)) if means else (float("nan"), float("nan"))
    k = int(values.sum()) if is_count else None
    return Figure(value, low, high, float(np.mean(chance)), k, len(values))


def maps_of(model: nn.Module, x: Tensor, target: int, way: Way, batch: int = 8) -> np.ndarray:
    """The maps of one method for many images, float32 "images rows cols"."""
    parts = []
    for part in x.split(batch):
        heat = way(model, part, target)
        check_map(part, heat)
        parts.append(heat.cpu().numpy())
    return np.concatenate(parts)


def truth_table(
    model: ChestModel,
    images: Planted,
    asked: Mapping[str, Way],
    found_only: bool = True,
    replicates: int = 1000,
    seed: int = 0,
    progress: Advance | None = None,
) -> dict[str, Any]:
    """Every method against the lesions of a phantom, as plain values.

    `asked`: see faithfulness.ways; `found_only`: only images that the model calls abnormal, since a verdict that
    was not given has no explanation (the others are counted). A method that fails is a sentence
    in "failures".

    {"images", "missed", "lesion_area", "tolerance", "goal", "note", "rows": [{"name", "title", "kind",
    **lesion_figures}], "best", "reached", "failures"}. DataError when no image is left.
    """
    left = images.where(images.called_abnormal) if found_only else images
    if not len(left):
        raise DataError(
            "the model calls no abnormal image abnormal", "train it longer or choose another part"
        )
    mask, target = left.masks["lesion"], abnormal_class(model)
    tolerance = round(TOLERANCE * min(mask.shape[1:]))
    table: dict[str, Any] = {}
    failures: list[str] = []
    for place, (name, way) in enumerate(asked.items()):
        try:
            heat = maps_of(model, left.x, target, way)
            table[name] = lesion_figures(heat, mask, left.patients, tolerance, replicates, seed)
        except HilumError as error:
            failures.append(f"{name}: {error}")
        if progress:
            progress(place + 1, len(asked))
    if not table:
        raise DataError("no method gave a map", failures[0] if failures else "name one method or more")
    best = max(table, key=lambda name: (table[name]["pointing"]["value"], table[name]["iou"]["value"]))
    return {
        "images": len(left),
        "missed": len(images) - len(left),
        "lesion_area": float(mask.mean()),
        "tolerance": tolerance,
        "goal": GOAL,
        "note": "Phantom images that the model calls abnormal, one per patient; "
        f"{len(images) - len(left)} abnormal images were missed. Lesions fill {mask.mean():.0%} of an image, "
        "and that is how often a map of random numbers would hit.",
        "rows": [
            {
                "name": name,
                "title": title_of(name),
                "kind": "baseline" if name in BASELINES else "method",
                **row,
            }
            for name, row in table.items()
        ],
        "best": best,
        "reached": bool(table[best]["pointing"]["value"] >= GOAL),
        "failures": failures,
    }


def shortcut_table(
    honest: ChestModel,
    fooled: ChestModel,
    images: Planted,
    asked: Mapping[str, Way],
    replicates: int = 1000,
    seed: int = 0,
    progress: Advance | None = None,
) -> dict[str, Any]:
    """The reverse test: two networks on the same images with the planted marker, seen by every method.

    `honest` was trained without the marker, `fooled` with it in every abnormal image. Both have the same pixel
    contract up to mean and sd; `images` as `fooled` reads them. A method passes when its peak lies on the
    marker (within the tolerance) in at least `CAUGHT` of the images for the fooled network and in fewer for
    the honest one.

    {"images", "rule", "marker_area", "methods": {name: {"fooled": {"pointing", "energy"}, "honest": {...},
    "passes"}}, "unmasked_by": [...], "failures"}. DataError when no image carries the marker.
    """
    shown = np.asarray(images.masks["shortcut"].any((1, 2)))
    if not shown.any():
        raise DataError("no image carries the planted marker", "draw the phantom with shortcut='marker'")
    left = images.where(shown)
    mask = left.masks["shortcut"]
    tolerance = round(TOLERANCE * min(mask.shape[1:]))
    raw = left.x * fooled.pixels.sd + fooled.pixels.mean  # both standardise by fixed numbers
    seen = {"fooled": (fooled, left.x), "honest": (honest, (raw - honest.pixels.mean) / honest.pixels.sd)}
    table: dict[str, Any] = {}
    failures: list[str] = []
    for place, (name, way) in enumerate(asked.items()):
        try:
            row: dict[str, Any] = {}
            for who, (model, x) in seen.items():
                heat = maps_of(model, x, abnormal_class(model), way)
                found = lesion_figures(heat, mask, left.patients, tolerance, replicates, seed)
                row[who] = {"pointing": found["pointing_near"], "energy": found["energy"]}
            shares = [row[who]["pointing"]["value"] for who in ("fooled", "honest")]
            row["passes"] = bool(shares[0] >= CAUGHT > shares[1])
            table[name] = row
        except HilumError as error:
            failures.append(f"{name}: {error}")
        if progress:
            progress(place + 1, len(asked))
    return {
        "images": len(left),
        "rule": f"the peak lies within {tolerance} px of the marker in at least {CAUGHT:.0%} of the images of "
        "the network trained with it, and in fewer of the network trained without it",
        "marker_area": float(mask.mean()),
        "methods": table,
        "unmasked_by": [name for name, row in table.items() if row["passes"]],
        "failures": failures,
    }


def abnormal_class(model: ChestModel) -> int:
    """The position of the abnormal class of a binary model. DataError for a model of other classes.

    >>> from hilum import models
    >>> from hilum.data.images import Pixels
    >>> abnormal_class(models.build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64))))
    1
    """
    if len(model.classes) != 2 or HEALTHY not in model.classes:
        raise DataError(f"the model's classes are {', '.join(model.classes)}", "use a binary model")
    return 1 - model.classes.index(HEALTHY)
