"""Prediction sets that hold the true class with a stated coverage: split conformal prediction.

Images that the model was not fitted on, the calibration images, show how improbable the true class can be
according to the model. A class stays in an image's set unless it is more improbable than nearly all of those.
If the image and the calibration images are exchangeable, the set misses the true class with a probability of
at most alpha, whatever the model is. Images of one patient are not exchangeable with those of others one by
one, and images from another hospital are not at all, so the coverage is also measured on held-out patients.

The sets need no calibrated probabilities: they are made from the model's own, so that the images that fitted a
temperature are not used twice.

References
    Vovk V, Gammerman A, Shafer G. Algorithmic learning in a random world (2005).
    Sadinle M, Lei J, Wasserman L. Least ambiguous set-valued classifiers with bounded error levels. JASA 114
        (2019).
    Clopper CJ, Pearson ES. The use of confidence or fiducial limits illustrated in the case of the binomial.
        Biometrika 26 (1934).
"""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import Coverage, RepeatedHalves, SetFigures, SetKind
from hilum.errors import DataError
from hilum.evaluation.crossfit import patient_parts
from hilum.evaluation.intervals import LEVEL, bootstrap, with_interval
from hilum.evaluation.means import mean_of_parts, mean_over_patients
from hilum.evaluation.shares import share_figure
from hilum.inference.calibrate import abstains, prediction_sets

KINDS: tuple[SetKind, ...] = ("marginal", "class_conditional")

SAME_PATIENTS = "all divisions are of the same patients: no interval"


def fit_quantiles(
    probabilities: ArrayLike, target: ArrayLike, classes: Sequence[str], alpha: float, kind: SetKind
) -> dict[str, float]:
    """How improbable each class may be and still stay in the set: {class: 0 to 1}.

    The score of a class is 1 - its probability (least ambiguous sets, Sadinle 2019). Of the n calibration
    cases' scores of their true class it is the ceil((n + 1)(1 - alpha))-th smallest; "marginal": one for all
    classes, which guarantees coverage over all images; "class_conditional": one per class from its own cases,
    which guarantees it for each class. 1 (every class stays) where n is too small for the guarantee.

    `probabilities`: "cases classes". `target`: class indices, "cases". DataError for an alpha that is not
    between 0 and 1, a class without cases, or a probability that is no number.

    >>> p = [[0.9, 0.1], [0.75, 0.25], [0.3, 0.7]]
    >>> fit_quantiles(p, [0, 0, 1], ["normal", "abnormal"], 0.5, "marginal")
    {'normal': 0.25, 'abnormal': 0.25}
    """
    values, index = _checked(probabilities, target, classes)
    rate = _alpha(alpha)
    scores = 1 - values[np.arange(len(index)), index]
    if kind == "marginal":
        return dict.fromkeys(classes, _quantile(scores, rate))
    return {name: _quantile(scores[index == number], rate) for number, name in enumerate(classes)}


def set_figures(
    sets: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    patients: ArrayLike,
    classes: Sequence[str],
    replicates: int = 2000,
    seed: int = 0,
    probabilities: np.ndarray | None = None,
) -> SetFigures:
    """Coverage and size of prediction sets, each with its 95 % interval over patients.

    `sets`: true or false, "cases classes". `target`, `predicted`: class indices, "cases". `probabilities`: "cases
    classes", of which only the order counts (see `shares.share_interval`). Coverages have the interval of Clopper and
    Pearson as well, which takes images as independent.

    >>> sets = np.array([[True, False], [True, True]])
    >>> figures = set_figures(sets, np.array([0, 1]), np.array([0, 1]), ["ann", "bob"], ["normal", "abnormal"], 50)
    >>> figures.coverage.counts, figures.mean_size.value, figures.abstained.counts
    ('2/2', 1.5, '1/2')
    """
    index, inside, people = np.asarray(target), np.asarray(sets, bool), np.asarray(patients)
    size = inside.sum(1)
    hit, single = inside[np.arange(len(index)), index], size == 1
    known = None if probabilities is None else np.asarray(probabilities, np.float64)
    truth = None if known is None else known[np.arange(len(index)), index]
    confidence = None if known is None else known.max(1)

    def share(hits: np.ndarray, rows: np.ndarray, scores: np.ndarray | None) -> Figure:
        return share_figure(
            hits[rows], people[rows], None if scores is None else scores[rows], "there is no such case"
        )

    everyone = np.ones(len(index), bool)
    drawn, _ = bootstrap(
        lambda weights: {"size": weights @ size / weights.sum(1)}, people, index, replicates, seed
    )
    return SetFigures(
        coverage=_coverage(share(hit, everyone, truth)),
        mean_size=with_interval(float(size.mean()), drawn["size"]),
        abstained=share(abstains(inside, predicted), everyone, confidence),
        single=share(single, everyone, confidence),
        correct_if_single=share(hit, single, truth),
        per_class={
            name: _coverage(share(hit, index == number, truth)) for number, name in enumerate(classes)
        },
    )


def _coverage(share: Figure) -> Coverage:
    return Coverage(**share.model_dump(), binomial=clopper_pearson(share.k or 0, share.n or 0))


def clopper_pearson(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of a share k / n of independent cases (Clopper & Pearson 1934).

    It covers at least as often as stated, so it is a little wide. (0, 1) when n is 0.

    >>> [round(end, 4) for end in clopper_pearson(9, 10)]
    [0.555, 0.9975]
    """
    from scipy.stats import beta

    if n == 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1 - tail, k + 1, n - k))
    return low, high


class Sizes(NamedTuple):
    """The images that fit one quantile and those that measure it, and how many independent images say as much as
    these (`hilum.evaluation.chance.effective_cases`)."""

    fitted: int
    measured: int
    fitted_effective: float
    measured_effective: float


def coverage_of_chance(
    groups: Sequence[Sizes], alpha: float, level: float = LEVEL, draws: int = 20_000, seed: int = 0
) -> tuple[float, float]:
    """Between which coverages valid sets lie with this probability.

    `groups`: one where all classes have one quantile, else one per class. A quantile is itself drawn with its
    images, so the coverage varies more than a binomial share: of n exchangeable images without ties the true
    coverage is a beta variable and the hits are beta-binomial (Vovk 2005). Both n are the effective ones, because
    images of one patient say less. By seeded draws; DataError for an alpha that is not between 0 and 1.

    >>> [round(end, 2) for end in coverage_of_chance([Sizes(400, 400, 400, 400)], 0.1)]
    [0.86, 0.94]
    """
    rng = np.random.default_rng(seed)
    measured = sum(group.measured for group in groups)
    coverage = sum(_drawn_coverage(group, alpha, draws, rng) * group.measured for group in groups) / measured
    low, high = np.quantile(coverage, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _drawn_coverage(group: Sizes, alpha: float, draws: int, rng: np.random.Generator) -> np.ndarray:
    """The measured coverage of one quantile, "draws"; 1 where it lets every class stay."""
    outside = group.fitted + 1 - ceil((group.fitted + 1) * (1 - _alpha(alpha)))
    if not outside:
        return np.ones(draws)
    share, whole = outside / (group.fitted + 1), group.fitted_effective + 1
    true = rng.beta(whole * (1 - share), whole * share, draws)
    images = max(1, int(group.measured_effective))
    return rng.binomial(images, true) / images


# -- coverage without a test split ---------------------------------------------------------------------------


def repeated_halves(
    probabilities: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    patients: ArrayLike,
    classes: Sequence[str],
    alpha: float,
    kind: SetKind,
    divisions: int = 100,
    seed: int = 0,
) -> RepeatedHalves:
    """Fits quantiles on one half of the patients and measures the sets on the other, `divisions` times.

    An image counts with its mean over the divisions that measured it, so that each figure is a mean over images with
    an interval over patients. The quantiles move with the same patients, towards the nominal coverage: the interval
    is a little wide. DataError when a class has fewer than two patients.
    """
    values, index = _checked(probabilities, target, classes)
    counted, total = (
        np.zeros(len(index)),
        {name: np.zeros(len(index)) for name in ("hit", "size", "abstained")},
    )
    coverage, within = [], 0
    for division in range(divisions):
        fitted = patient_parts(patients, np.array(classes)[index], 2, seed + division) == 0
        quantiles = fit_quantiles(values[fitted], index[fitted], classes, alpha, kind)
        sets, truth = prediction_sets(values[~fitted], quantiles, classes), index[~fitted]
        hit = sets[np.arange(len(truth)), truth]
        low, high = clopper_pearson(int(hit.sum()), len(hit))
        counted[~fitted] += 1
        total["hit"][~fitted] += hit
        total["size"][~fitted] += sets.sum(1)
        total["abstained"][~fitted] += abstains(sets, predicted[~fitted])
        coverage.append(hit.mean())
        within += bool(low <= 1 - alpha <= high)
    known, people = counted > 0, np.asarray(patients)
    mean = {name: values[known] / counted[known] for name, values in total.items()}
    people, index = people[known], index[known]
    return RepeatedHalves(
        divisions=divisions,
        coverage=mean_of_parts(mean["hit"], people),
        coverage_sd=float(np.std(coverage)),
        mean_size=mean_over_patients(mean["size"], people, 0, len(classes)),
        abstained=mean_of_parts(mean["abstained"], people),
        per_class={
            name: mean_of_parts(mean["hit"][index == number], people[index == number])
            for number, name in enumerate(classes)
        },
        within=Figure(value=within / divisions, k=within, n=divisions, reason=SAME_PATIENTS),
    )


# -- checks --------------------------------------------------------------------------------------------------


def _quantile(scores: np.ndarray, alpha: Fraction) -> float:
    rank = ceil((len(scores) + 1) * (1 - alpha))
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


def _alpha(alpha: float) -> Fraction:
    """As it was written, 0.1 and not the nearest binary number: the rank must not depend on that."""
    if not 0 < alpha < 1:
        raise DataError(f"alpha {alpha!r} is not between 0 and 1", "write 0.1 for a coverage of 90 %")
    return Fraction(str(float(alpha)))


def _checked(
    probabilities: ArrayLike, target: ArrayLike, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    values, index = np.asarray(probabilities, np.float64), np.asarray(target, np.int64)
    if values.shape != (len(index), len(classes)):
        raise ValueError(
            f"probabilities of shape {values.shape} are not {len(index)} cases x {len(classes)} classes"
        )
    wrong = np.flatnonzero(~np.isfinite(values).all(1))
    if len(wrong):
        raise DataError(
            f"a probability of case {wrong[0]} (counted from 0) is no number", "evaluate it again"
        )
    for number, name in enumerate(classes):
        if not (index == number).any():
            raise DataError(
                f"none of {len(index)} calibration cases is {name!r}", "use a split that holds every class"
            )
    return values, index
