"""Operating points: likelihood ratios, predictive values, and the net benefit of a threshold.

References
    Altman DG, Bland JM. Diagnostic tests 2: predictive values. BMJ 309 (1994).
    Deeks JJ, Altman DG. Diagnostic tests 4: likelihood ratios. BMJ 329 (2004).
    Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 26 (2006).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.card import PredictiveValues
from hilum.artifacts.reliability import DecisionCurve, Decisions
from hilum.errors import DataError
from hilum.evaluation.decision import checked_probabilities
from hilum.evaluation.intervals import bootstrap, percentile_interval, wilson_interval, with_interval


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
    replicates: int = 2000,
    seed: int = 0,
) -> Decisions:
    """What decisions are worth, each figure with its 95 % interval over patients.

    `predicted`: whether each case was classified as abnormal, `is_abnormal`: whether it is, both "cases".
    Decisions are held fixed: the intervals leave out how the threshold was chosen. DataError when one class is
    absent.

    >>> decisions = decision_figures([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [*"abcdef"], replicates=200)
    >>> decisions.sensitivity.counts, round(decisions.lr_positive.value, 6)
    ('2/3', 2.0)
    """
    positive, abnormal = np.asarray(predicted, bool), np.asarray(is_abnormal, bool)
    if abnormal.all() or not abnormal.any():
        raise DataError(
            f"all {len(abnormal)} cases are {'abnormal' if len(abnormal) and abnormal.all() else 'normal'}",
            "judge an operating point on both kinds",
        )
    measure = partial(_decision_values, positive, abnormal, prevalences)
    values = {name: float(value[0]) for name, value in measure(np.ones((1, len(abnormal)))).items()}
    drawn, _ = bootstrap(measure, patients, abnormal, replicates, seed)
    figures = {name: with_interval(value, drawn[name], _reason(name)) for name, value in values.items()}
    for name, hits, counted in (
        ("sensitivity", positive & abnormal, abnormal),
        ("specificity", ~positive & ~abnormal, ~abnormal),
        ("precision", positive & abnormal, positive),
    ):
        figures[name] = _counted(figures[name], hits, counted, np.asarray(patients))
    return Decisions(
        **{name: figure for name, figure in figures.items() if name in Decisions.model_fields},
        at_prevalence=[
            PredictiveValues(prevalence=share, ppv=figures[f"ppv {share}"], npv=figures[f"npv {share}"])
            for share in prevalences
        ],
    )


def _decision_values(
    positive: np.ndarray, abnormal: np.ndarray, prevalences: Sequence[float], weights: np.ndarray
) -> dict[str, np.ndarray]:
    tp, fn = weights @ (positive & abnormal), weights @ (~positive & abnormal)
    fp, tn = weights @ (positive & ~abnormal), weights @ (~positive & ~abnormal)
    sens, spec = _divide(tp, tp + fn), _divide(tn, tn + fp)
    up, down = likelihood_ratios(sens, spec)
    values = {
        "sensitivity": sens,
        "specificity": spec,
        "precision": _divide(tp, tp + fp),
        "lr_positive": up,
        "lr_negative": down,
    }
    for share in prevalences:
        values[f"ppv {share}"], values[f"npv {share}"] = predictive_values(sens, spec, share)
    return values


def _counted(figure: Figure, hits: np.ndarray, counted: np.ndarray, patients: np.ndarray) -> Figure:
    """The share with its counts. A share of 0 or 1 has no spread to draw from: Wilson's interval over
    patients."""
    figure = figure.model_copy(update={"k": int(hits.sum()), "n": int(counted.sum())})
    if figure.value not in (0.0, 1.0):
        return figure
    n = len(np.unique(patients[counted]))
    low, high = wilson_interval(round(figure.value) * n, n)
    note = f"Wilson's interval over patients (n = {n})"
    return figure.model_copy(update={"low": low, "high": high, "note": note})


def _reason(name: str) -> str:
    """Why a figure does not exist."""
    if name == "lr_positive":
        return "no normal case was classified as abnormal: the ratio has no finite value"
    if name.split()[0] in ("precision", "ppv"):
        return "no case was classified as abnormal"
    return "no case was classified as normal"


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
        values[low], values[high] = np.array([percentile_interval(column) for column in drawn[name].T]).T
    return DecisionCurve(
        at=line.tolist(),
        share_abnormal=float(abnormal.mean()),
        **{name: np.round(value, 6).tolist() for name, value in values.items()},
    )


def _thresholds(at: ArrayLike) -> np.ndarray:
    line = np.asarray(at, np.float64)
    if not ((line > 0) & (line < 1)).all():
        raise DataError(f"thresholds {line.tolist()} are not all between 0 and 1", "give probabilities")
    return line


def _divide(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, NaN where whole is 0 or so small that only rounding made it."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)
