"""What chance alone does to figures of patients who have several images, for the verdicts of calibration and of
prediction sets.

A verdict ("differs", "too high") compares a figure with what a faultless model would show on these images. Such a
comparison has to know that images of one patient are alike: as independent draws they vary far too little, and a
faultless model is called faulty in up to two of three sets. So the likeness is estimated from the images at hand,
one standard error is added, and chance is drawn with it. benchmarks/verdicts.py counts how often each verdict
is wrong.

References
    Kish L. Survey sampling (1965), section 5.4: the design effect.
    Donner A, Koval JJ. The estimation of intraclass correlation in the analysis of family data. Biometrics 36
        (1980).
    Lunn AD, Davies SJ. A note on generating correlated binary variables. Biometrika 85 (1998).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from hilum.evaluation.clusters import effective_size

BLOCK = 250_000
"""Numbers drawn at once (2 MB)."""

BY_CHANCE = 0.99
"""The share of calibrated models whose error chance is said to explain. With it a calibrated model is called
miscalibrated in at most 5 % of sets, however its patients are clustered (benchmarks/verdicts.py): the likeness of
a patient's images is itself an estimate."""

EQUAL_DRAWS = 1000
"""Of sets whose groups do not differ."""


def likeness(residual: ArrayLike, spread: ArrayLike, patients: ArrayLike) -> float:
    """Correlation of the residuals of two images of one patient, 0 to 1, one standard error added.

    `residual`: what was seen less what was expected, "cases"; `spread`: the standard deviation expected of each,
    "cases". The products of all pairs of a patient against the products of their spreads (pairwise estimator,
    Donner & Koval 1980). 0 where no patient has two images; patients without any spread say nothing.

    >>> likeness([1, 1, -1, -1], [1, 1, 1, 1], [*"aabb"])
    1.0
    >>> likeness([1, -1, 1, -1], [1, 1, 1, 1], [*"abcd"])
    0.0
    """
    values, sd = np.asarray(residual, np.float64), np.asarray(spread, np.float64)
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    seen = np.bincount(patient, values) ** 2 - np.bincount(patient, values**2)
    most = np.bincount(patient, sd) ** 2 - np.bincount(patient, sd**2)
    if most.sum() <= 1e-12:
        return 0.0
    mean = seen.sum() / most.sum()
    error = np.sqrt(((seen - mean * most) ** 2).sum()) / most.sum()
    return float(np.clip(mean + error, 0, 1))


def effective_cases(hits: ArrayLike, patients: ArrayLike) -> float:
    """How many independent images say as much about a share as these: n / design effect (Kish 1965).

    `hits`: whether each image counts, "cases". Between the number of patients and that of images when patients
    have equally many images; where no image or every image is a hit, the likeness is not known and 1 is taken.

    >>> effective_cases([1, 1, 0, 0], [*"aabb"]), effective_cases([1, 1, 0, 0], [*"abcd"])
    (2.0, 4.0)
    """
    flags = np.asarray(hits, np.float64)
    share = flags.mean()
    sd = np.sqrt(share * (1 - share))
    alike = likeness(flags - share, np.full(len(flags), sd), patients) if sd else 1.0
    return effective_size(patients, alike)


def drawn_events(
    probability: np.ndarray, alike: float, patients: ArrayLike, draws: int, seed: int
) -> Iterator[np.ndarray]:
    """Yields blocks of events "draws cases", true with exactly the stated probabilities, images of a patient alike.

    Each image takes its patient's random number with probability sqrt(`alike`), else one of its own (Lunn &
    Davies 1998), so that two images of equal probability have the correlation `alike`.

    >>> [events] = drawn_events(np.array([0.5, 0.5]), 1.0, ["ann", "ann"], draws=9, seed=0)
    >>> events.shape, bool((events[:, 0] == events[:, 1]).all())
    ((9, 2), True)
    """
    patient = np.unique(np.asarray(patients), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    at_once = max(1, BLOCK // len(probability))
    for start in range(0, draws, at_once):
        shape = min(at_once, draws - start), len(probability)
        number = rng.random(shape)
        if alike > 0:
            shared = rng.random((shape[0], patient.max() + 1))[:, patient]
            number = np.where(rng.random(shape) < np.sqrt(alike), shared, number)
        yield number < probability


def binned_gaps(
    probability: np.ndarray, event: np.ndarray, member: np.ndarray, patients: ArrayLike, draws: int, seed: int
) -> np.ndarray:
    """Stated less observed of a calibrated model, summed by bin, "draws bins".

    `member`: 1 where a case is in a bin, "cases bins". The likeness of a patient's images is that of the events
    about the bins' own shares, so that a miscalibrated model does not look like a clustered one.

    >>> gaps = binned_gaps(np.full(4, 0.5), np.array([0, 1, 0, 1]), np.ones((4, 1)), [*"abcd"], draws=50, seed=0)
    >>> gaps.shape, bool(np.isin(gaps, [-2, -1, 0, 1, 2]).all())
    ((50, 1), True)
    """
    shift = (member * (event - probability)[:, None]).sum(0) / np.maximum(member.sum(0), 1)
    residual = event - probability - member @ shift
    alike = likeness(residual, np.sqrt(probability * (1 - probability)), patients)
    blocks = drawn_events(probability, alike, patients, draws, seed)
    return np.concatenate([(probability - events) @ member for events in blocks])


def equal_shares(
    hits: ArrayLike, patients: ArrayLike, groups: ArrayLike, draws: int = EQUAL_DRAWS, seed: int = 0
) -> float:
    """p-value of all groups having the same share of hits, by draws from one share with patients as alike as these.

    `hits`, `patients`: "cases"; `groups`: which cases belong to each, "groups cases"; cases of no group are left out.
    The statistic sums over the groups the squares of the hits beyond the common share, each by its variance. A test
    by its limiting distribution errs in up to 23 % of sets where groups differ in images per patient, as a few large
    patients rule them (docs/log.md). 1 where all hit or none does.

    >>> hits, people = np.array([1, 1, 1, 0, 0, 0, 1, 0] * 10), np.arange(80)
    >>> one = np.arange(80) % 8 < 4
    >>> equal_shares(hits, people, np.array([one, ~one])) < 0.01
    True
    """
    inside = np.asarray(groups, bool)
    kept = inside.any(0)
    known, people, member = np.asarray(hits, np.float64)[kept], np.asarray(patients)[kept], inside[:, kept]
    share = float(known.mean()) if len(known) else 0.0
    if share in (0.0, 1.0):
        return 1.0
    alike = likeness(known - share, np.full(len(known), np.sqrt(share * (1 - share))), people)
    scale = np.array([rows.sum() ** 2 / effective_size(people[rows], alike) for rows in member])
    weights = member.T.astype(np.float64)
    seen = _unequal(known[None], weights, scale)[0]
    blocks = drawn_events(np.full(len(known), share), alike, people, draws, seed)
    drawn = np.concatenate([_unequal(events.astype(np.float64), weights, scale) for events in blocks])
    return float((1 + (drawn >= seen - 1e-9).sum()) / (1 + draws))


def _unequal(hits: np.ndarray, member: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """How unequal the groups' shares are, "draws": 0 where all hit or none does."""
    common = hits.mean(1, keepdims=True)
    spread = (common * (1 - common))[:, 0]
    squares = (((hits - common) @ member) ** 2 / scale).sum(1)
    return np.where(spread > 0, squares / np.where(spread > 0, spread, 1), 0.0)
