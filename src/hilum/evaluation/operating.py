"""Operating points: likelihood ratios, predictive values, and the net benefit of a threshold.

References
    Altman DG, Bland JM. Diagnostic tests 2: predictive values. BMJ 309 (1994).
    Deeks JJ, Altman DG. Diagnostic tests 4: likelihood ratios. BMJ 329 (2004).
    Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 26 (2006).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.card import PredictiveValues
from hilum.artifacts.reliability import DecisionCurve, Decisions
from hilum.errors import DataError
from hilum.evaluation.decision import checked_probabilities
from hilum.evaluation.intervals import bootstrap, percentile_band
from hilum.evaluation.ratios import probability_after, ratio_interval
from hilum.evaluation.shares import share_figure, share_size


def predictive_values(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative predictive value, each 0 to 1, where this share of people is abnormal (Bayes).

    NaN where no case is classified as abnormal, or none as normal. DataError for a prevalence not between 0 and 1.

    >>> ppv, npv = predictive_values(0.9, 0.9, prevalence=0.1)  # 9 / 18 and 81 / 82
    >>> round(float(ppv), 3), round(float(npv), 3)
    (0.5, 0.988)
    """
    if not 0 < prevalence < 1:
        raise DataError(f"prevalence {prevalence!r} is not between 0 and 1", "write 0.05 for 5 %")
    sens, spec = np.asarray(sensitivity, np.float64), np.asarray(specificity, np.float64)
    tp, fp = sens * prevalence, (1 - spec) * (1 - prevalence)
    fn, tn = (1 - sens) * prevalence, spec * (1 - prevalence)
    return _divide(tp, tp + fp), _divide(tn, tn + fn)


def likelihood_ratios(sensitivity: ArrayLike, specificity: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """By how much a positive, and a negative, prediction multiplies the odds of being abnormal.

    Positive: sensitivity / (1 - specificity), 1 is no information, 10 and more is strong; negative:
    (1 - sensitivity) / specificity, 0.1 and less is strong (Deeks & Altman 2004). NaN where the denominator is 0.

    >>> positive, negative = likelihood_ratios(0.9, 0.8)
    >>> round(float(positive), 3), round(float(negative), 3)
    (4.5, 0.125)
    """
    sens, spec = np.asarray(sensitivity, np.float64), np.asarray(specificity, np.float64)
    return _divide(sens, 1 - spec), _divide(1 - sens, spec)


def decision_figures(
    predicted: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    prevalences: Sequence[float] = (),
    scores: ArrayLike | None = None,
) -> Decisions:
    """What decisions are worth, each figure with its 95 % interval over patients.

    `predicted`: whether each case was classified as abnormal, `is_abnormal`: whether it is, both "cases". `scores`:
    the numbers behind the decisions, of which only the order counts (see `shares.share_interval`). Decisions are held
    fixed: the intervals leave out how the threshold was chosen. DataError when one class is absent.

    >>> decisions = decision_figures([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [*"abcdef"])
    >>> decisions.sensitivity.counts, round(decisions.lr_positive.value, 6)
    ('2/3', 2.0)
    """
    positive, abnormal = np.asarray(predicted, bool), np.asarray(is_abnormal, bool)
    if abnormal.all() or not abnormal.any():
        raise DataError(
            f"all {len(abnormal)} cases are {'abnormal' if len(abnormal) and abnormal.all() else 'normal'}",
            "judge an operating point on both kinds",
        )
    people = np.asarray(patients)
    of_abnormal, of_normal = (
        _Share.of(hits[rows], people[rows], None if scores is None else np.asarray(scores)[rows])
        for hits, rows in ((positive, abnormal), (~positive, ~abnormal))
    )
    sens, spec = of_abnormal.value, of_normal.value
    up, down = likelihood_ratios(sens, spec)
    up_ends = ratio_interval(sens, of_abnormal.size, 1 - spec, of_normal.size)
    down_ends = ratio_interval(1 - sens, of_abnormal.size, spec, of_normal.size)
    return Decisions(
        sensitivity=of_abnormal.figure,
        specificity=of_normal.figure,
        precision=share_figure(abnormal[positive], people[positive], reason=NONE_POSITIVE),
        lr_positive=_ratio_figure(
            float(up), up_ends, NONE_POSITIVE, "no normal case was classified as abnormal"
        ),
        lr_negative=_ratio_figure(
            float(down), down_ends, NONE_NEGATIVE, "no normal case was classified as normal"
        ),
        at_prevalence=[_at_prevalence(sens, spec, up_ends, down_ends, share) for share in prevalences],
    )


NONE_POSITIVE = "no case was classified as abnormal"
NONE_NEGATIVE = "no case was classified as normal"

Ends = tuple[float, float]


@dataclass(frozen=True)
class _Share:
    """A share of one class and how many independent images tell as much."""

    value: float
    size: float
    figure: Figure

    @classmethod
    def of(cls, hits: np.ndarray, patients: np.ndarray, scores: np.ndarray | None) -> "_Share":
        size = share_size(hits, patients, scores)
        return cls(float(hits.mean()), size, share_figure(hits, patients, scores))


def _ratio_figure(value: float, ends: Ends, none: str, infinite: str) -> Figure:
    """A ratio with its interval. One without a finite value has the reason and its lower end in words: `none` for 0/0,
    `infinite` where only the lower share is 0."""
    if np.isfinite(value):
        return Figure(value=value, low=ends[0], high=ends[1])
    if ends[0] == 0:
        return Figure(value=None, reason=none)
    least = f"the ratio has no finite value, and is at least {ends[0]:.3g} (95 %)"
    return Figure(value=None, reason=f"{infinite}: {least}")


def _at_prevalence(
    sensitivity: float, specificity: float, up: Ends, down: Ends, prevalence: float
) -> PredictiveValues:
    """Both predictive values; their intervals follow from those of the likelihood ratios (Bayes)."""
    ppv, npv = (float(value) for value in predictive_values(sensitivity, specificity, prevalence))
    up_ends = [probability_after(end, prevalence) for end in up]
    down_ends = [1 - probability_after(end, prevalence) for end in down]
    return PredictiveValues(
        prevalence=prevalence,
        ppv=Figure(value=None, reason=NONE_POSITIVE)
        if np.isnan(ppv)
        else Figure(value=ppv, low=up_ends[0], high=up_ends[1]),
        npv=Figure(value=None, reason=NONE_NEGATIVE)
        if np.isnan(npv)
        else Figure(value=npv, low=down_ends[1], high=down_ends[0]),
    )


# -- decision curve ------------------------------------------------------------------------------------------


def net_benefit(
    probability_abnormal: ArrayLike, is_abnormal: ArrayLike, at: ArrayLike, weights: ArrayLike | None = None
) -> np.ndarray:
    """Net benefit of treating whoever has at least this probability: TP / n - FP / n * t / (1 - t), "at".

    In true positives per case (Vickers & Elkin 2006, equation 1): a threshold t says that one missed abnormal
    patient weighs as much as (1 - t) / t healthy ones treated. `at`: thresholds, above 0 and below 1. With
    `weights` "replicates cases": "replicates at". The probabilities are taken at their word, so calibrate
    them first. DataError for probabilities or thresholds out of range.

    >>> net_benefit([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0], at=[0.5, 0.2]).tolist()  # 1/4 - 1/4, 2/4 - 1/4 / 4
    [0.0, 0.4375]
    """
    score, abnormal = checked_probabilities(probability_abnormal, is_abnormal)
    line = _thresholds(at)
    counts = np.ones((1, len(score))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    treated = score[:, None] >= line[None, :]
    tp, fp = counts @ (treated & abnormal[:, None]), counts @ (treated & ~abnormal[:, None])
    benefit = (tp - fp * (line / (1 - line))) / counts.sum(1, keepdims=True)
    return benefit[0] if weights is None else benefit


def treat_all(share_abnormal: ArrayLike, at: ArrayLike) -> np.ndarray:
    """Net benefit of treating everybody, "... at"; treating nobody has 0.

    >>> treat_all(0.5, [0.5, 0.2]).tolist()
    [0.0, 0.375]
    """
    line = _thresholds(at)
    share = np.asarray(share_abnormal, np.float64)[..., None]
    return share - (1 - share) * line / (1 - line)


def decision_curve(
    probability_abnormal: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    at: ArrayLike | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> DecisionCurve:
    """The decision curve with its band, rounded to 6 digits.

    `gain` is the model's net benefit less the better of treating everybody and treating nobody; its interval
    says where the model is worth having. Thresholds 0.01, 0.02, ... 0.99 by default.

    >>> curve = decision_curve([0.9, 0.6, 0.4, 0.1], [1, 0, 1, 0], [*"abcd"], at=[0.5, 0.2], replicates=50)
    >>> curve.model, curve.treat_all, curve.share_abnormal
    ([0.0, 0.4375], [0.0, 0.375], 0.5)
    """
    score, abnormal = checked_probabilities(probability_abnormal, is_abnormal)
    line = np.round(np.arange(0.01, 1, 0.01), 2) if at is None else _thresholds(at)

    def measure(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        model = net_benefit(score, abnormal, line, weights)
        everybody = treat_all(weights @ abnormal / weights.sum(1), line)
        return {"model": model, "treat_all": everybody, "gain": model - np.maximum(everybody, 0)}

    values = {name: value[0] for name, value in measure(np.ones((1, len(score)))).items()}
    drawn, _ = bootstrap(measure, patients, abnormal, replicates, seed)
    for name, low, high in (("model", "low", "high"), ("gain", "gain_low", "gain_high")):
        values[low], values[high] = percentile_band(drawn[name])
    return DecisionCurve(
        at=line.tolist(),
        share_abnormal=float(abnormal.mean()),
        shown=above_chance(values["gain"], drawn["gain"]).tolist(),
        **{name: np.round(value, 6).tolist() for name, value in values.items()},
    )


def above_chance(values: np.ndarray, drawn: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Where a curve lies above 0 by a band that holds for all its points together, bool "points".

    The band is as wide at each point, in standard deviations of the draws, as the largest deviation over the whole
    curve is in `level` of the draws (sup-t band). `values`: "points"; `drawn`: "replicates points".

    >>> above_chance(np.array([0.0, 5.0]), np.random.default_rng(0).normal(0, 1, (500, 2)) + [0, 5]).tolist()
    [False, True]
    """
    if not len(drawn):
        return np.zeros(len(values), bool)
    sd = drawn.std(0)
    deviation = np.abs(drawn - drawn.mean(0)) / np.where(sd > 0, sd, np.inf)
    return values > sd * np.quantile(deviation.max(1), level) + 1e-9


def _thresholds(at: ArrayLike) -> np.ndarray:
    line = np.asarray(at, np.float64)
    if not ((line > 0) & (line < 1)).all():
        raise DataError(f"thresholds {line.tolist()} are not all between 0 and 1", "give probabilities")
    return line


def _divide(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, NaN where whole is 0 or so small that only rounding made it."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)
