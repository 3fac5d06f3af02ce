"""Calibration: expected calibration error, the parts of the Brier score, and scalings that improve both.

References
    Murphy AH. A new vector partition of the probability score. J Appl Meteorol 12 (1973).
    Broecker J, Smith LA. Increasing the reliability of reliability diagrams. Weather Forecast 22 (2007).
    Stephenson DB, Coelho CAS, Jolliffe IT. Two extra components in the Brier score decomposition. Weather
        Forecast 23 (2008).
    Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML (2017).
    Nixon J et al. Measuring calibration in deep learning. CVPR workshops (2019): bins of equal mass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.reliability import BrierParts, ByChance, CalibrationFigures
from hilum.errors import DataError
from hilum.evaluation import crossfit
from hilum.evaluation.chance import BY_CHANCE, binned_gaps
from hilum.evaluation.curves import equal_mass_bins
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.metrics import brier, brier_multiclass, log_loss
from hilum.inference.calibrate import Scaling, softmax, temperature_scaling

BINS, CASES_PER_BIN = 15, 20
"""At most so many bins of a calibration error, and about so many cases in each at least."""

COLDEST, HOTTEST = 0.05, 20.0
"""The range of temperatures; a model without errors has no finite best temperature."""

NEVER_NEGATIVE = ("ece", "reliability", "resolution")
"""Sums of distances, which every bootstrap sample makes larger by its own chance."""

DRAWS = 1000
"""How often labels are drawn from the stated probabilities, for the error that chance alone makes."""


# -- calibration error---------------------------------------------------------------------------------------------


def number_of_bins(cases: int) -> int:
    """As many bins as this many cases can fill, from 2 to 15.

    >>> number_of_bins(100), number_of_bins(5000)
    (5, 15)
    """
    return max(2, min(BINS, cases // CASES_PER_BIN))


def ece(
    probability: ArrayLike, event: ArrayLike, bins: int | None = None, weights: ArrayLike | None = None
) -> float | np.ndarray:
    """Expected calibration error, 0 (best) to 1: sum of n_b / n |mean probability - share of events| by bin.

    `probability`: as stated, 0 to 1, "cases". `event`: whether it occurred, "cases". Bins hold equally
    many cases (equal mass), equal probabilities stay together; the bins are those of the whole sample, also
    for `weights` "replicates cases". It is never negative, so chance alone makes it positive: see
    `ece_of_chance`. Many bins make it larger, few bins hide faults.

    >>> ece([0.1, 0.3, 0.6, 0.8], [0, 0, 1, 1], bins=2)  # (2 |0.2 - 0| + 2 |0.7 - 1|) / 4
    0.25
    """
    stated, occurred = _stated(probability, event)
    member = _members(stated, bins)
    counts = np.ones((1, len(stated))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    errors = np.abs(counts @ (member * (stated - occurred)[:, None])).sum(1) / counts.sum(1)
    return float(errors[0]) if weights is None else errors


def ece_of_chance(
    probability: ArrayLike,
    event: ArrayLike,
    patients: ArrayLike,
    bins: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> ByChance:
    """`ece` of a perfectly calibrated model on the same images of as many patients: mean and 99 % quantile.

    Events are drawn from the stated probabilities themselves (consistency resampling, Broecker & Smith 2007), those
    of one patient as alike as the events that were seen (`hilum.evaluation.chance`). `event`: as in `ece`;
    `patients`: the patient of each case. An error below "high" is no evidence of miscalibration.

    >>> ece_of_chance([0.0, 1.0, 1.0, 0.0], [0, 1, 1, 0], [*"abcd"])
    ByChance(mean=0.0, high=0.0)
    """
    stated, occurred = _stated(probability, event)
    gaps = binned_gaps(stated, occurred, _members(stated, bins), patients, draws, seed)
    errors = np.abs(gaps).sum(1) / len(stated)
    return ByChance(mean=float(errors.mean()), high=float(np.quantile(errors, BY_CHANCE)))


def brier_parts(
    probability: ArrayLike, event: ArrayLike, bins: int | None = None, weights: ArrayLike | None = None
) -> dict[str, Any]:
    """The Brier score and its parts: score = reliability - resolution + uncertainty + within.

    reliability: squared distance of stated probability and observed share, by bin (0 is best). resolution: how
    far the bins' shares lie from the overall share (more is better). uncertainty: the score of stating the
    overall share (Murphy 1973). within: what bins lose that hold different probabilities; 0 when all of a bin
    are equal (Stephenson 2008). Arguments as in `ece`; with `weights` each is an array "replicates".

    >>> parts = brier_parts([0.2, 0.2, 0.8, 0.8], [0, 0, 1, 0], bins=2)
    >>> {name: round(value, 6) for name, value in parts.items()}
    {'score': 0.19, 'reliability': 0.065, 'resolution': 0.0625, 'uncertainty': 0.1875, 'within': 0.0}
    """
    stated, occurred = _stated(probability, event)
    member = _members(stated, bins)
    counts = np.ones((1, len(stated))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    total = counts.sum(1)
    n, expected, observed = (
        counts @ member,
        counts @ (member * stated[:, None]),
        counts @ (member * occurred[:, None]),
    )
    filled = np.maximum(n, 1e-300)  # an empty bin adds 0
    overall = (counts @ occurred / total)[:, None]
    score = counts @ (stated - occurred) ** 2 / total
    reliability = ((expected - observed) ** 2 / filled).sum(1) / total
    resolution = (n * (observed / filled - overall) ** 2).sum(1) / total
    uncertainty = (overall * (1 - overall))[:, 0]
    parts = {
        "score": score,
        "reliability": reliability,
        "resolution": resolution,
        "uncertainty": uncertainty,
        "within": score - reliability + resolution - uncertainty,
    }
    return {name: float(part[0]) for name, part in parts.items()} if weights is None else parts


def _stated(probability: ArrayLike, event: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 "cases", rounding outside 0..1 taken away; DataError when there are none or a probability is
    no number in 0..1."""
    stated, occurred = np.asarray(probability, np.float64), np.asarray(event, np.float64)
    if stated.shape != occurred.shape or stated.ndim != 1:
        raise ValueError(
            f"shapes {stated.shape} and {occurred.shape} are not one probability and one event per case"
        )
    if not len(stated):
        raise DataError("there are no cases to judge calibration on", "use a split that has cases")
    wrong = np.flatnonzero(~((stated >= -1e-9) & (stated <= 1 + 1e-9)))
    if len(wrong):
        raise DataError(
            f"the probability of case {wrong[0]} (counted from 0) is {stated[wrong[0]]:g}",
            "pass probabilities in 0..1 (softmax of the logits)",
        )
    return np.clip(stated, 0, 1), occurred


def _members(stated: np.ndarray, bins: int | None) -> np.ndarray:
    """1 where a case is in a bin, "cases bins"."""
    bin_of_case = equal_mass_bins(stated, bins or number_of_bins(len(stated)))
    return np.eye(bin_of_case.max() + 1)[bin_of_case]


# -- scaling -------------------------------------------------------------------------------------------------


def fit_temperature(logits: ArrayLike, target: ArrayLike, classes: Sequence[str]) -> Scaling:
    """The one temperature with the lowest log-loss on these cases (Guo 2017, section 4.2).

    `logits`: "cases classes". `target`: class indices, "cases". It changes no order within an image, so not the
    most probable class. The search runs from 0.05 to 20: for a model without errors it stops at 0.05. DataError when a
    class is absent or a logit is no number.

    >>> rng = np.random.default_rng(0)
    >>> fair = rng.normal(size=(20000, 2)) * 2
    >>> truth = (rng.random(20000) < softmax(fair)[:, 1]).astype(int)
    >>> round(fit_temperature(3 * fair, truth, ["normal", "abnormal"]).temperature)  # logits 3 times too large
    3
    """
    from scipy.optimize import minimize_scalar

    values, index = _checked(logits, target, classes)

    def loss(log_temperature: float) -> float:
        return _nats(values / np.exp(log_temperature), index)

    best: Any = minimize_scalar(
        loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-6}
    )
    return temperature_scaling(float(np.exp(best.x)), values.shape[1])


def fit_vector(logits: ArrayLike, target: ArrayLike, classes: Sequence[str]) -> Scaling:
    """A scale and a shift per class with the lowest log-loss on these cases (Guo 2017, section 4.2).

    Arguments and errors as in `fit_temperature`. It may change the most probable class. The shift of the first
    class stays 0, because adding one number to all logits changes nothing. Scales stay in 0.05..20.
    """
    from scipy.optimize import minimize

    values, index = _checked(logits, target, classes)
    n_classes = values.shape[1]
    truth = np.eye(n_classes)[index]

    def loss_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = x[:n_classes], np.append(0.0, x[n_classes:])
        scaled = values * scale + shift
        error = (softmax(scaled) - truth) / len(values)
        return _nats(scaled, index), np.concatenate([(error * values).sum(0), error.sum(0)[1:]])

    start = np.concatenate([np.ones(n_classes), np.zeros(n_classes - 1)])
    bounds = [(1 / HOTTEST, 1 / COLDEST)] * n_classes + [(-50.0, 50.0)] * (n_classes - 1)
    best = minimize(loss_and_slope, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale, shift = best.x[:n_classes].tolist(), [0.0, *best.x[n_classes:].tolist()]
    return Scaling("vector", tuple(scale), tuple(shift))


def _nats(logits: np.ndarray, index: np.ndarray) -> float:
    """Mean of -ln(probability of the true class), without clipping, so that it has a slope everywhere."""
    highest = logits.max(1)
    total = np.log(np.exp(logits - highest[:, None]).sum(1)) + highest
    return float((total - logits[np.arange(len(index)), index]).mean())


def _checked(logits: ArrayLike, target: ArrayLike, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    values, index = np.asarray(logits, np.float64), np.asarray(target, np.int64)
    if values.ndim != 2 or values.shape != (len(index), len(classes)):
        raise ValueError(
            f"logits of shape {values.shape} are not {len(index)} cases x {len(classes)} classes"
        )
    for number, name in enumerate(classes):
        if not (index == number).any():
            raise DataError(
                f"calibration needs cases of every class, and none of {len(index)} is {name!r}",
                "fit on a split that holds them all",
            )
    wrong = np.flatnonzero(~np.isfinite(values).all(1))
    if len(wrong):
        raise DataError(
            f"a logit of case {wrong[0]} (counted from 0) is no number", "evaluate the model again"
        )
    return values, index


# -- figures ------------------------------------------------------------------------------------------------

Fit = Callable[[np.ndarray, np.ndarray, Sequence[str]], Scaling]


def cross_fitted(
    fit: Fit,
    logits: np.ndarray,
    target: np.ndarray,
    patients: np.ndarray,
    classes: Sequence[str],
    folds: int,
    seed: int,
) -> np.ndarray:
    """Scaled logits "cases classes", each case by the scaling fitted on the other parts of the patients."""
    scaled = np.empty_like(logits)
    for fitted, judged in crossfit.folds(patients, np.array(classes)[target], folds, seed):
        scaled[judged] = fit(logits[fitted], target[fitted], classes)(logits[judged])
    return scaled


def centred(drawn: np.ndarray, value: float) -> np.ndarray:
    """Bootstrap values without the bias that drawing adds to a sum of distances; not below 0.

    >>> centred(np.array([0.25, 0.75]), 0.25).tolist()
    [0.0, 0.5]
    """
    return np.maximum(drawn - (drawn.mean() - value), 0)


def calibration_figures(
    logits: np.ndarray, target: np.ndarray, patients: np.ndarray, replicates: int, seed: int = 0
) -> CalibrationFigures:
    """How well these logits are calibrated, with 95 % intervals over patients.

    Two classes: error of the probability of the second. More: error of the most probable class's probability
    (Guo 2017), and the parts of the Brier score summed over the classes, each against the rest. A bootstrap
    sample is noisier than the cases themselves, which raises every sum of distances: intervals of ece,
    reliability and resolution are moved back by that much.
    """
    probabilities = softmax(logits)
    two = probabilities.shape[1] == 2
    stated = probabilities[:, 1] if two else probabilities.max(1)
    occurred = target == 1 if two else probabilities.argmax(1) == target

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        parts = [
            brier_parts(probabilities[:, index], target == index, weights=weights)
            for index in ([1] if two else range(probabilities.shape[1]))
        ]
        summed = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
        nats = log_loss(probabilities, target, weights)
        return {
            "ece": np.asarray(ece(stated, occurred, weights=weights)),
            "log_loss": np.asarray(nats),
            **summed,
        }

    once = {name: float(value[0]) for name, value in measure(np.ones((1, len(target)))).items()}
    drawn, _ = bootstrap(measure, patients, target, replicates, seed)
    figures = {
        name: with_interval(value, centred(drawn[name], value) if name in NEVER_NEGATIVE else drawn[name])
        for name, value in once.items()
    }
    whole = brier(stated, occurred) if two else brier_multiclass(probabilities, target)
    assert abs(once["score"] - float(whole)) < 1e-9, "the parts are not those of the score in metrics.json"
    return CalibrationFigures(
        ece=figures.pop("ece"),
        ece_of_chance=ece_of_chance(stated, occurred, patients, seed=seed),
        log_loss=figures.pop("log_loss"),
        brier=BrierParts(**figures),
    )
