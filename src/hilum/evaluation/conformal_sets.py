"""An answer of several classes that holds the truth as often as promised: split conformal prediction sets.

Images that the model was not fitted on, the calibration images, show how improbable the true class can look. A
class stays in an image's answer unless it looks more improbable than nearly all of those. If the image and the
calibration images are exchangeable, the answer misses the truth with a chance of at most alpha, whatever the
model is. Images of one patient are not exchangeable with those of others one by one, and images from another
hospital are not at all, so the coverage is measured on held-out patients besides.

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
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError
from hilum.evaluation.crossfit import patient_parts
from hilum.evaluation.intervals import LEVEL, bootstrap, with_interval
from hilum.inference.calibrate import abstains, prediction_sets

Kind = Literal["marginal", "class_conditional"]
KINDS: tuple[Kind, ...] = ("marginal", "class_conditional")


def fit_quantiles(
    probabilities: ArrayLike, target: ArrayLike, classes: Sequence[str], alpha: float, kind: Kind
) -> dict[str, float]:
    """How improbable each class may look and still stay in the answer: {class: 0 to 1}.

    The score of a class is 1 - its probability (least ambiguous sets, Sadinle 2019). Of the n calibration
    cases' scores of their true class it is the ceil((n + 1)(1 - alpha))-th smallest; "marginal": one for all
    classes, which promises coverage over all images; "class_conditional": one per class from its own cases,
    which promises it for each class. 1 (every class stays) where n is too small for the promise.

    `probabilities`: "cases classes". `target`: class indices, "cases". DataError for an alpha that is not
    between 0 and 1, a class without cases, or a probability that is no number.

    >>> p = [[0.9, 0.1], [0.75, 0.25], [0.3, 0.7]]
    >>> fit_quantiles(p, [0, 0, 1], ["well", "abnormal"], 0.5, "marginal")
    {'well': 0.25, 'abnormal': 0.25}
    """
    values, index = _checked(probabilities, target, classes)
    rate = _alpha(alpha)
    scores = 1 - values[np.arange(len(index)), index]
    if kind == "marginal":
        return dict.fromkeys(classes, _quantile(scores, rate))
    return {name: _quantile(scores[index == one], rate) for one, name in enumerate(classes)}


def coverage_block(
    sets: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    patients: ArrayLike,
    classes: Sequence[str],
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """How often the answers hold the truth, ready for JSON.

    {"coverage", "mean_size", "unknown" (share of answers that are "abstained", see `abstains`),
    "single" (share with one class), "right_if_single", "per_class": {class: coverage}}, each with its 95 %
    interval over patients; coverages also have "k", "n" and "binomial", the interval of Clopper and Pearson,
    which takes images as independent.
    """
    index, inside = np.asarray(target), np.asarray(sets, bool)
    hit = inside[np.arange(len(index)), index]
    size = inside.sum(1)
    unknown = abstains(inside, predicted)
    single = size == 1

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        total = weights.sum(1)
        values = {
            "coverage": weights @ hit / total,
            "mean_size": weights @ size / total,
            "unknown": weights @ unknown / total,
            "single": weights @ single / total,
            "right_if_single": _divide(weights @ (hit & single), weights @ single),
        }
        for one, name in enumerate(classes):
            values[f"class {name}"] = _divide(weights @ (hit & (index == one)), weights @ (index == one))
        return values

    once = {name: float(value[0]) for name, value in measure(np.ones((1, len(index)))).items()}
    drawn, _ = bootstrap(measure, patients, index, replicates, seed)
    entries: dict[str, Any] = {
        name: with_interval(value, drawn[name], "there is no such case") for name, value in once.items()
    }
    entries["coverage"] |= _counted(hit)
    entries["unknown"] |= {"k": int(unknown.sum()), "n": len(index)}
    entries["single"] |= {"k": int(single.sum()), "n": len(index)}
    entries["right_if_single"] |= {"k": int((hit & single).sum()), "n": int(single.sum())}
    per_class = {}
    for one, name in enumerate(classes):
        per_class[name] = entries.pop(f"class {name}") | _counted(hit[index == one])
    return {**entries, "per_class": per_class}


def _counted(hit: np.ndarray) -> dict[str, Any]:
    k, n = int(hit.sum()), len(hit)
    return {"k": k, "n": n, "binomial": list(clopper_pearson(k, n))}


def clopper_pearson(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of a share k / n of independent cases (Clopper & Pearson 1934).

    Never less sure than it says, so a little wide. (0, 1) when n is 0.

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


def coverage_of_chance(fitted: int, measured: int, alpha: float, level: float = LEVEL) -> tuple[float, float]:
    """Between which coverages a valid marginal set lies with this chance, on `measured` new cases.

    The quantile is itself drawn with its n calibration cases, so the coverage varies more than a binomial
    share: the number of hits is beta-binomial (Vovk 2005; exchangeable cases, no ties).

    >>> [round(end, 3) for end in coverage_of_chance(400, 400, 0.1)]
    [0.855, 0.938]
    """
    from scipy.stats import betabinom

    outside = fitted + 1 - ceil((fitted + 1) * (1 - _alpha(alpha)))
    if not outside:
        return 1.0, 1.0
    hits = betabinom(measured, fitted + 1 - outside, outside)
    return float(hits.ppf((1 - level) / 2) / measured), float(hits.ppf((1 + level) / 2) / measured)


# -- coverage without a test split ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Halves:
    """Repeated divisions of one split into halves of other patients: one half fits, the other measures."""

    coverage: np.ndarray  # "divisions"
    size: np.ndarray  # "divisions"
    unknown: np.ndarray  # "divisions"
    per_class: np.ndarray  # "divisions classes"
    within: np.ndarray  # "divisions": whether the binomial interval of the coverage holds 1 - alpha

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Means over the divisions, and the share of divisions whose interval holds what was promised."""
        return {
            "divisions": len(self.coverage),
            "coverage": float(self.coverage.mean()),
            "coverage_sd": float(self.coverage.std()),
            "mean_size": float(self.size.mean()),
            "unknown": float(self.unknown.mean()),
            "per_class": dict(zip(classes, self.per_class.mean(0).tolist(), strict=True)),
            "within": float(self.within.mean()),
        }


def halves(
    probabilities: np.ndarray,
    target: np.ndarray,
    predicted: np.ndarray,
    patients: ArrayLike,
    classes: Sequence[str],
    alpha: float,
    kind: Kind,
    divisions: int = 100,
    seed: int = 0,
) -> Halves:
    """Fits quantiles on one half of the patients and measures on the other, `divisions` times.

    DataError when a class has fewer than two patients.
    """
    values, index = _checked(probabilities, target, classes)
    found = []
    for one in range(divisions):
        fitted = patient_parts(patients, np.array(classes)[index], 2, seed + one) == 0
        quantiles = fit_quantiles(values[fitted], index[fitted], classes, alpha, kind)
        sets, truth = prediction_sets(values[~fitted], quantiles, classes), index[~fitted]
        hit, size = sets[np.arange(len(truth)), truth], sets.sum(1)
        low, high = clopper_pearson(int(hit.sum()), len(hit))
        found.append(
            (
                hit.mean(),
                size.mean(),
                abstains(sets, predicted[~fitted]).mean(),
                [hit[truth == one].mean() for one in range(len(classes))],
                low <= 1 - alpha <= high,
            )
        )
    return Halves(*(np.array(column) for column in zip(*found, strict=True)))


# -- checks --------------------------------------------------------------------------------------------------


def _quantile(scores: np.ndarray, alpha: Fraction) -> float:
    rank = ceil((len(scores) + 1) * (1 - alpha))
    return 1.0 if rank > len(scores) else float(np.sort(scores)[rank - 1])


def _alpha(alpha: float) -> Fraction:
    """As it was written, 0.1 and not the binary number beside it: the rank must not hang on that."""
    if not 0 < alpha < 1:
        raise DataError(f"alpha {alpha!r} is not between 0 and 1", "write 0.1 for answers right in 90 %")
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
    for one, name in enumerate(classes):
        if not (index == one).any():
            raise DataError(
                f"none of {len(index)} calibration cases is {name!r}", "use a split that holds every class"
            )
    return values, index


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
