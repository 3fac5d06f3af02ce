"""What a threshold is worth at the bedside: likelihood ratios, predictive values, and the net benefit.

References
    Altman DG, Bland JM. Diagnostic tests 2: predictive values. BMJ 309 (1994).
    Deeks JJ, Altman DG. Diagnostic tests 4: likelihood ratios. BMJ 329 (2004).
    Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 26 (2006).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError
from hilum.evaluation.decision import checked_probabilities
from hilum.evaluation.intervals import bootstrap, percentile_interval, wilson_interval, with_interval


def predictive_values(
    sensitivity: ArrayLike, specificity: ArrayLike, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative predictive value, each 0 to 1, where this share of people is abnormal (Bayes).

    NaN where nobody is predicted abnormal, or nobody healthy. DataError for a prevalence not between 0 and 1.

    >>> ppv, npv = predictive_values(0.9, 0.9, prevalence=0.1)  # 9 of 18 predicted abnormal are; 81 of 82 are not
    >>> round(float(ppv), 3), round(float(npv), 3)
    (0.5, 0.988)
    """
    if not 0 < prevalence < 1:
        raise DataError(f"prevalence {prevalence!r} is not between 0 and 1", "write 0.05 for 5 %")
    found, cleared = np.asarray(sensitivity, np.float64), np.asarray(specificity, np.float64)
    true_alarms, false_alarms = found * prevalence, (1 - cleared) * (1 - prevalence)
    missed, spared = (1 - found) * prevalence, cleared * (1 - prevalence)
    return _divide(true_alarms, true_alarms + false_alarms), _divide(spared, spared + missed)


def likelihood_ratios(sensitivity: ArrayLike, specificity: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """How many times a call of abnormal, and a call of healthy, multiply the odds of being abnormal.

    Positive: sensitivity / (1 - specificity), 1 says nothing, 10 and more is strong; negative:
    (1 - sensitivity) / specificity, 0.1 and less is strong (Deeks & Altman 2004). NaN for 0 below the line.

    >>> positive, negative = likelihood_ratios(0.9, 0.8)
    >>> round(float(positive), 3), round(float(negative), 3)
    (4.5, 0.125)
    """
    found, cleared = np.asarray(sensitivity, np.float64), np.asarray(specificity, np.float64)
    return _divide(found, 1 - cleared), _divide(1 - found, cleared)


def operating_point(
    predicted: ArrayLike,
    is_abnormal: ArrayLike,
    patients: ArrayLike,
    prevalences: Sequence[float] = (),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """What decisions are worth, ready for JSON, each figure with its 95 % interval over patients.

    `called`: whether each case was predicted abnormal, `is_abnormal`: whether it is, both "cases". The figures:
    sensitivity, specificity, precision (with "k" and "n"), lr_positive, lr_negative, and per prevalence
    {"prevalence", "ppv", "npv"}. Decisions are held fixed: the intervals leave out how the threshold was
    chosen. DataError when one class is absent.

    >>> point = operating_point([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0], [*"abcdef"], replicates=200)
    >>> point["sensitivity"]["k"], point["sensitivity"]["n"], round(point["lr_positive"]["value"], 6)
    (2, 3, 2.0)
    """
    positive, abnormal = np.asarray(predicted, bool), np.asarray(is_abnormal, bool)
    people = np.asarray(patients)
    if abnormal.all() or not abnormal.any():
        raise DataError(
            f"all {len(abnormal)} cases are {'abnormal' if len(abnormal) and abnormal.all() else 'healthy'}",
            "judge an operating point on both kinds",
        )

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        tp, fn = weights @ (positive & abnormal), weights @ (~positive & abnormal)
        fp, tn = weights @ (positive & ~abnormal), weights @ (~positive & ~abnormal)
        found, cleared = _divide(tp, tp + fn), _divide(tn, tn + fp)
        up, down = likelihood_ratios(found, cleared)
        values = {
            "sensitivity": found,
            "specificity": cleared,
            "precision": _divide(tp, tp + fp),
            "lr_positive": up,
            "lr_negative": down,
        }
        for share in prevalences:
            values[f"ppv {share}"], values[f"npv {share}"] = predictive_values(found, cleared, share)
        return values

    once = {name: float(value[0]) for name, value in measure(np.ones((1, len(abnormal)))).items()}
    drawn, _ = bootstrap(measure, people, abnormal, replicates, seed)
    entries: dict[str, Any] = {
        name: with_interval(value, drawn[name], _why(name)) for name, value in once.items()
    }
    shares = {
        "sensitivity": (positive & abnormal, abnormal),
        "specificity": (~positive & ~abnormal, ~abnormal),
        "precision": (positive & abnormal, positive),
    }
    for name, (hits, counted) in shares.items():
        entries[name] |= {"k": int(hits.sum()), "n": int(counted.sum())}
        if once[name] in (0.0, 1.0):  # no spread to draw from: Wilson's interval, counting patients
            n = len(np.unique(people[counted]))
            entries[name]["low"], entries[name]["high"] = wilson_interval(round(once[name]) * n, n)
            entries[name]["note"] = f"Wilson's interval over patients (n = {n})"
    return {
        **{name: entries[name] for name in (*shares, "lr_positive", "lr_negative")},
        "at_prevalence": [
            {"prevalence": share, "ppv": entries[f"ppv {share}"], "npv": entries[f"npv {share}"]}
            for share in prevalences
        ],
    }


def _why(name: str) -> str:
    what = name.split()[0]
    if what in ("lr_positive",):
        return "no healthy case was predicted abnormal: the ratio has no finite value"
    if what in ("precision", "ppv"):
        return "no case was predicted abnormal"
    return "no case was predicted healthy"


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
) -> dict[str, Any]:
    """The decision curve with its band, ready for JSON: {"at", "model", "low", "high", "treat_all", "gain",
    "gain_low", "gain_high"}, each "at".

    "gain" is the model's net benefit less the better of treating everybody and treating nobody; its interval
    says where the model is worth having. Thresholds 0.01, 0.02, ... 0.99 by default.
    """
    score, abnormal = checked_probabilities(probability_abnormal, is_abnormal)
    line = np.round(np.arange(0.01, 1, 0.01), 2) if at is None else _thresholds(at)

    def measure(weights: np.ndarray) -> Mapping[str, np.ndarray]:
        model = net_benefit(score, abnormal, line, weights)
        everybody = treat_all(weights @ abnormal / weights.sum(1), line)
        return {"model": model, "treat_all": everybody, "gain": model - np.maximum(everybody, 0)}

    once = {name: value[0] for name, value in measure(np.ones((1, len(score)))).items()}
    drawn, _ = bootstrap(measure, patients, abnormal, replicates, seed)
    band = {
        name: np.array([percentile_interval(column) for column in drawn[name].T])
        for name in ("model", "gain")
    }
    arrays = {
        "at": line,
        "model": once["model"],
        "low": band["model"][:, 0],
        "high": band["model"][:, 1],
        "treat_all": once["treat_all"],
        "gain": once["gain"],
        "gain_low": band["gain"][:, 0],
        "gain_high": band["gain"][:, 1],
    }
    return {name: np.round(values, 6).tolist() for name, values in arrays.items()}


def _thresholds(at: ArrayLike) -> np.ndarray:
    line = np.asarray(at, np.float64)
    if not ((line > 0) & (line < 1)).all():
        raise DataError(f"thresholds {line.tolist()} are not all between 0 and 1", "give probabilities")
    return line


def _divide(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, NaN where whole is 0 or so small that only rounding made it."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)
