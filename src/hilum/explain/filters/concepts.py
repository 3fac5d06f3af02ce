"""Concept directions: does the network's evidence rise when its maps move towards "large heart"?

After Kim et al., "Interpretability beyond feature attribution: quantitative testing with concept activation
vectors (TCAV)", ICML 2018 (arXiv:1711.11279). A linear classifier tells images with a concept from images
without it by the maps of a layer; its normal is the direction of the concept. The score of a class is the share
of its images whose evidence rises when all positions of the layer's maps take a small step in that direction.
What differs from the paper:

- maps are averaged over positions before the classifier, so a direction has one number per filter;
- the direction is that of standardised filters, so that loud filters count as much as silent ones;
- the classifier is judged on held-out patients: a direction of a concept that it can't tell means nothing;
- scores are compared with those of directions from shuffled concept labels by the rank-sum test (Mann &
  Whitney 1947), not by a t-test, as many scores are 0 or 1 exactly;
- the draws share images, so that test says "different" of half of all directions that have nothing to do with the
  class. The cosine between direction and gradient has to stand out as well, among the cosines of shuffled labels,
  which spread about 0 as those of any unrelated direction do (Student's t).

A direction found by telling images apart holds whatever goes along with the concept in these images. Large
hearts of abnormal children point to disease, too. Take the images of one class where that matters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError
from hilum.explain.cam import maps_and_gradients
from hilum.explain.evidence import class_evidence

PENALTY = 0.01
"""Inverse strength of the ridge penalty (C of scikit-learn) on standardised features."""

ALPHA = 0.05
"""A concept matters to a class when the p-value, times the number of tests, is at most this."""

LEAST = 8
"""Images on each side of a concept below which no direction is fitted."""


class Direction(NamedTuple):
    """The unit `normal` of a classifier, "filters"; its balanced `accuracy` on held-out patients; `hits`: whether it
    told each held-out image, NaN for those of the fit."""

    normal: np.ndarray
    accuracy: float
    hits: np.ndarray


@dataclass(frozen=True)
class Concept:
    """One concept and one class. `score`: mean over the draws of the share of images whose evidence rises, 0
    to 1, 0.5 for neither; `scores`, `random`: that share in each draw, for the concept and for shuffled
    labels. `p`: two-sided, of the concept being no more to the class than shuffled labels are, by scores and by
    alignment, the larger of the two. `accuracy`: mean balanced accuracy of the
    concept's classifier on held-out patients, chance 0.5; `chance`: the same for shuffled labels. `slope`:
    mean change of the evidence for one step of unit length. `alignment`: mean
    cosine between the direction and the gradient of the evidence, -1 to 1; `noise`: the largest absolute
    alignment of a direction from shuffled labels. `images`: with and without the concept. `hits`: how often each
    image of the concept, of those on either side, was told correctly when held out, 0 to 1, NaN where it never
    was; `rises`: in which share of the draws the evidence of each of the class's images rises.
    """

    name: str
    target: int
    score: float
    scores: np.ndarray
    random: np.ndarray
    p: float
    accuracy: float
    chance: float
    slope: float
    alignment: float
    noise: float
    images: tuple[int, int]
    hits: np.ndarray
    rises: np.ndarray

    def readable(self) -> bool:
        """Whether the layer knows the concept at all: accuracy at least 0.1 above that of shuffled labels.

        >>> from dataclasses import replace
        >>> draws = np.ones(3), np.zeros(3)
        >>> concept = Concept("heart", 1, 1.0, *draws, 0.1, 0.8, 0.5, 0.2, 0.6, 0.3, (9, 9), *draws)
        >>> concept.readable(), replace(concept, accuracy=0.55).readable()
        (True, False)
        """
        return self.accuracy >= self.chance + 0.1

    def matters(self, tests: int = 1) -> bool:
        """Whether the layer knows the concept and it moves the class: `readable`, and p times `tests` at most
        0.05 (Bonferroni).

        >>> draws = np.ones(9), np.zeros(9)
        >>> concept = Concept("heart", 1, 1.0, *draws, 0.001, 0.8, 0.5, 0.2, 0.6, 0.3, (9, 9), *draws)
        >>> concept.matters(tests=10)
        True
        """
        return self.readable() and self.p * tests <= ALPHA


def image_concepts(image: np.ndarray, masks: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What can be measured on a phantom image whose masks are known (see hilum.data.sources.phantom).

    `image`: uint8 "rows cols"; `masks`: bool "rows cols" by name.

    `heart`: its area by the area of heart and lungs together. `ribs`: how much brighter the lung is on the
    ribs than between them, grey levels. `marker`: the planted disc, 0 or 1. `letter_left`: the side letter in
    the picture's left half, 0 or 1. `lesion_left`, `lesion_right`: lesion pixels by lung pixels in either
    half of the picture. NaN where the image does not show it.

    >>> names = ("lesion", "lung", "heart", "ribs", "marker", "shortcut")
    >>> masks = {name: np.zeros((4, 4), bool) for name in names}
    >>> masks["lung"][:, [0, 3]] = True; masks["heart"][0, 1:3] = True; masks["lesion"][:2, 3] = True
    >>> masks["ribs"][0] = True
    >>> image = np.zeros((4, 4), np.uint8); image[0] = 30
    >>> [round(value, 2) for value in image_concepts(image, masks).values()]
    [0.2, 30.0, 0.0, nan, 0.0, 0.5]
    """
    middle = image.shape[1] // 2
    lung, lesion, heart = masks["lung"], masks["lesion"], masks["heart"]
    grey = np.asarray(image, np.float64)
    on, between = lung & masks["ribs"], lung & ~masks["ribs"]
    letter = np.flatnonzero(masks["marker"].any(0))

    def share(part: slice) -> float:
        return _divided(lesion[:, part].sum(), lung[:, part].sum())

    return {
        "heart": _divided(heart.sum(), heart.sum() + lung.sum()),
        "ribs": float(grey[on].mean() - grey[between].mean()) if on.any() and between.any() else float("nan"),
        "marker": float(masks["shortcut"].any()),
        "letter_left": float(letter.mean() < middle) if len(letter) else float("nan"),
        "lesion_left": share(slice(None, middle)),
        "lesion_right": share(slice(middle, None)),
    }


def _divided(part: float | np.integer, whole: float | np.integer) -> float:
    return float(part / whole) if whole else float("nan")


CONCEPTS = {
    "large heart": "heart",
    "strong ribs": "ribs",
    "planted marker": "marker",
    "side letter on the left": "letter_left",
    "lesion on the left": "lesion_left",
    "lesion on the right": "lesion_right",
}
"""Names of the concepts that `sides` makes, and what they are measured by; left and right of the picture."""

LESION = 0.05
"""A side with at least this share of lesion holds a lesion."""


def sides(table: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Which images show each concept: 1 yes, 0 no, -1 neither, int "images" by the names in CONCEPTS.

    `table`: columns of `image_concepts`, one value per image. Heart and ribs: the upper third against the lower
    third. Lesions: at least 5 % of that side's lung, against none there. Concepts with fewer than 8 images on
    one side are left out.

    >>> table = {"heart": np.arange(30.0), "marker": np.zeros(30)}
    >>> {name: (int((side == 1).sum()), int((side == 0).sum())) for name, side in sides(table).items()}
    {'large heart': (10, 10)}
    """
    concepts = {}
    for name, column in CONCEPTS.items():
        if column not in table:
            continue
        values = np.asarray(table[column], np.float64)
        known = np.isfinite(values)
        if not known.any():
            continue
        low, high = (0.0, 0.5) if column in ("marker", "letter_left") else (0.0, LESION)
        if column in ("heart", "ribs"):
            low, high = np.quantile(values[known], [1 / 3, 2 / 3])
        side = np.full(len(values), -1)
        side[known & (values >= high)] = 1
        side[known & (values <= low)] = 0
        if min((side == 1).sum(), (side == 0).sum()) >= LEAST:
            concepts[name] = side
    return concepts


def maps_and_slopes(
    model: nn.Module,
    x: Float[Tensor, "images channels rows cols"],
    layer: str | None,
    target: int,
    batch: int = 32,
) -> tuple[np.ndarray, np.ndarray]:
    """(means, slopes), float32 "images filters": the mean of each filter over its positions, and how the
    evidence for class `target` changes per unit when all positions of that filter rise together.

    `layer`: None for the last one with maps. Errors: see `hilum.explain.attribution.explain`.

    >>> import torch
    >>> layers = [nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)]
    >>> net = nn.Sequential(*layers)
    >>> net[0].weight.data.fill_(2.0); net[3].weight.data.fill_(-3.0)
    tensor([[[[2.]]]])
    tensor([[-3.]])
    >>> [values.tolist() for values in maps_and_slopes(net, torch.ones(1, 1, 2, 2), "0", 0)]
    [[[2.0]], [[-3.0]]]
    """
    means, slopes = [], []
    for part in x.split(batch):
        maps, gradients = maps_and_gradients(class_evidence(model, part, target), layer)
        means.append(maps.mean((2, 3)).cpu().numpy())
        slopes.append(gradients.sum((2, 3)).cpu().numpy())
    return np.concatenate(means), np.concatenate(slopes)


def concept_scores(
    name: str,
    means: np.ndarray,
    side: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    slopes: Mapping[int, np.ndarray],
    draws: int = 20,
    seed: int = 0,
) -> list[Concept]:
    """The score of each class for one concept; the same seed gives the same scores.

    `means`: "images filters" of images whose `side` "images" is 1 with the concept, 0 without, -1 not used;
    `patients`: whose image it is. `slopes`: by class, "images filters" of the images of that class (any images:
    not those of `means` necessarily), see `maps_and_slopes`. Each of `draws` takes two thirds of the patients
    of both sides for the fit and judges the classifier on the rest; then the same with shuffled labels.

    DataError when a side has fewer than 8 images or the shapes do not fit.

    >>> rng = np.random.default_rng(0)
    >>> means = rng.normal(size=(60, 16)); side = (means[:, 1] > 0).astype(int)
    >>> people = [str(i) for i in range(60)]
    >>> [concept] = concept_scores("second", means, side, people, {1: np.tile(2.0 * np.eye(16)[1], (5, 1))})
    >>> concept.score, concept.accuracy > 0.7, concept.matters()
    (1.0, True, True)
    """
    side, people = np.asarray(side), np.asarray(patients)
    if not len(means) == len(side) == len(people):
        raise DataError(f"{len(side)} sides do not fit {len(means)} images", "name the side of each image")
    used = side >= 0
    values, labels, people = np.asarray(means, np.float64)[used], side[used], people[used]
    images = int((labels == 1).sum()), int((labels == 0).sum())
    if min(images) < LEAST:
        raise DataError(
            f"concept {name!r} has {images[0]} images with it and {images[1]} without",
            f"give {LEAST} or more of each",
        )
    spread = values.std(0)
    spread[spread <= 1e-9 * max(1.0, float(np.abs(values).max()))] = (
        np.inf
    )  # a constant filter does not count
    values = (values - values.mean(0)) / spread
    rng = np.random.default_rng(seed)
    directions = [
        _directions(values, labels, people, rng, shuffled) for _ in range(draws) for shuffled in (0, 1)
    ]
    real, chance = directions[0::2], directions[1::2]
    concepts = []
    for target, slope in slopes.items():
        if slope.shape[1] != values.shape[1]:
            raise DataError(
                f"slopes of {slope.shape[1]} filters do not fit {values.shape[1]}", "take the same layer"
            )
        # a step of one standard deviation of a filter is `spread` in its own units
        scaled = slope * np.where(np.isfinite(spread), spread, 0.0)
        concepts.append(_concept(name, target, scaled, real, chance, images))
    return concepts


def _concept(
    name: str,
    target: int,
    slopes: np.ndarray,
    real: Sequence[Direction],
    chance: Sequence[Direction],
    images: tuple[int, int],
) -> Concept:
    """One class; `real`, `chance`: directions and accuracies for the concept and for shuffled labels."""
    steps = np.array([slopes @ direction.normal for direction in real])
    scores = np.array([(step > 0).mean() for step in steps])
    random = np.array([(slopes @ direction.normal > 0).mean() for direction in chance])
    along, apart = (
        np.array([_alignment(slopes, direction.normal) for direction in each]) for each in (real, chance)
    )
    hits = np.array([direction.hits for direction in real])
    known = np.isfinite(hits).sum(0)
    return Concept(
        name,
        target,
        score=float(scores.mean()),
        scores=scores,
        random=random,
        p=max(_rank_sum(scores, random), standing_out(float(along.mean()), apart)),
        accuracy=float(np.mean([direction.accuracy for direction in real])),
        chance=float(np.mean([direction.accuracy for direction in chance])),
        slope=float(np.mean(steps)),
        alignment=float(along.mean()),
        noise=float(np.abs(apart).max()),
        images=images,
        hits=np.where(known > 0, np.nansum(hits, 0) / np.maximum(known, 1), np.nan),
        rises=(steps > 0).mean(0),
    )


def _directions(
    values: np.ndarray, labels: np.ndarray, people: np.ndarray, rng: np.random.Generator, shuffled: int
) -> Direction:
    """One draw of patients to fit on and to hold out."""
    from sklearn.linear_model import LogisticRegression

    names, number = np.unique(people, return_inverse=True)
    if shuffled:
        labels = rng.permutation(labels)
    for _ in range(100):
        fit = (rng.permutation(len(names)) < np.ceil(2 * len(names) / 3))[number]
        if len(np.unique(labels[fit])) == len(np.unique(labels[~fit])) == 2:
            break
    else:
        raise DataError("one patient has all images of one side", "give images of more patients")
    probe: Any = LogisticRegression(C=PENALTY, max_iter=2000, class_weight="balanced")
    probe.fit(values[fit], labels[fit])
    predicted = probe.predict(values[~fit])
    accuracy = np.mean([(predicted[labels[~fit] == kind] == kind).mean() for kind in (0, 1)])
    direction = probe.coef_[0]
    hits = np.full(len(labels), np.nan)
    hits[~fit] = predicted == labels[~fit]
    return Direction(direction / max(float(np.linalg.norm(direction)), 1e-12), float(accuracy), hits)


def _alignment(slopes: np.ndarray, direction: np.ndarray) -> float:
    """Mean cosine between the slopes "images filters" and a unit direction; a slope of 0 counts as 0."""
    lengths = np.linalg.norm(slopes, axis=1)
    return float((slopes @ direction / np.where(lengths > 0, lengths, 1.0)).mean())


def standing_out(value: float, others: np.ndarray) -> float:
    """Two-sided p-value of `value` being one more of `others`, normal numbers about 0; 1 when all are 0.

    >>> round(standing_out(3.0, np.array([1.0, -1.0] * 10)), 4), standing_out(0.0, np.zeros(3))
    (0.0083, 1.0)
    """
    from scipy.stats import t

    spread = float(np.sqrt((others**2).mean() * (1 + 1 / len(others))))
    if spread == 0:
        return float(value == 0)
    return float(2 * t.sf(abs(value) / spread, len(others)))


def _rank_sum(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p-value of the rank-sum test; 1 when all values are equal."""
    from scipy.stats import mannwhitneyu

    if np.ptp(np.concatenate([first, second])) == 0:
        return 1.0
    return float(mannwhitneyu(first, second, alternative="two-sided", method="asymptotic").pvalue)
