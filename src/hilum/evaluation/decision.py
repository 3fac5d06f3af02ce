"""From a probability to a decision: the threshold above which a case is predicted abnormal.

The threshold is chosen on validation cases only, is written into the model's card, and travels with the
weights. A threshold chosen on the cases that it is then tested on flatters the model.
"""

import math
import re
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError, RecipeError
from hilum.evaluation.metrics import cumulative_counts

_SHARE = re.compile(r"(sensitivity|precision)\s*>=\s*(\d+(?:\.\d*)?|\.\d+)")


def choose_threshold(
    probability_abnormal: ArrayLike,
    is_abnormal: ArrayLike,
    rule: str = "youden",
    weights: ArrayLike | None = None,
) -> float:
    """The threshold t of a rule, 0 to 1; a case is predicted abnormal when its probability is at least t.

    Rules:
        "youden"              greatest sensitivity + specificity - 1 (Youden, Cancer 3, 1950)
        "sensitivity>=0.95"   greatest specificity of those with at least this sensitivity (any share)
        "precision>=0.95"     greatest sensitivity of those with at least this precision
        "half"                0.5, whatever the cases

    `probability_abnormal`: 0 to 1, "cases". `is_abnormal`: true or false, "cases". `weights`: how often each case
    counts, whole numbers, "cases".

    Every threshold between two neighbouring scores makes the same decisions; the middle of that gap is
    returned, so that rounding a probability does not flip a decision. When several gaps are equally good, the
    widest is taken, then the lowest (which is the more sensitive). The order of the cases does not matter.

    DataError when there are no cases of one class, a probability is no number in 0..1, or no threshold is as
    precise as required. RecipeError for another rule. On few cases the choice is unstable: see the interval of
    the resulting sensitivity.

    >>> choose_threshold([0.1, 0.3, 0.7, 0.8], [0, 0, 1, 1])
    0.5
    >>> choose_threshold([0.1, 0.3, 0.2, 0.8], [0, 0, 1, 1], rule="sensitivity>=0.9")
    0.15000000000000002
    """
    required = _required(rule)
    if rule == "half":
        return 0.5
    score, abnormal = checked_probabilities(probability_abnormal, is_abnormal)
    counts = np.ones(len(score)) if weights is None else np.asarray(weights)
    tp, predicted, scores = cumulative_counts(score, abnormal, counts[None, :])
    tp, fp = tp[0].astype(np.int64), (predicted - tp)[0].astype(np.int64)
    if tp[-1] == 0 or fp[-1] == 0:
        raise DataError(
            f"all cases that the threshold should be chosen on are {'normal' if tp[-1] == 0 else 'abnormal'}",
            "use a validation split that holds both classes, or the rule 'half'",
        )
    if required is None:
        best = _best_of_youden(tp, fp)
    else:
        what, least = required
        best = (_best_of_sensitivity if what == "sensitivity" else _best_of_precision)(tp, fp, least)
    return _middle_of_widest_gap(scores, best)


def _required(rule: str) -> tuple[str, Fraction] | None:
    """The figure and the share that "sensitivity>=0.95" requires, exactly; None for the other rules."""
    if rule in ("youden", "half"):
        return None
    match = _SHARE.fullmatch(rule.strip())
    if match and 0 < Fraction(match[2]) <= 1:
        return match[1], Fraction(match[2])
    raise RecipeError(
        f"threshold rule {rule!r} is not known",
        "known are 'youden', 'half', 'sensitivity>=X' and 'precision>=X' with X above 0 and at most 1",
    )


def checked_probabilities(
    probability_abnormal: ArrayLike, is_abnormal: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays "cases"; DataError when there are none or a probability is no number in 0..1."""
    score, abnormal = np.asarray(probability_abnormal, np.float64), np.asarray(is_abnormal, bool)
    if score.shape != abnormal.shape or score.ndim != 1:
        raise ValueError(
            f"shapes {score.shape} and {abnormal.shape} are not one score and one truth per case"
        )
    if len(score) == 0:
        raise DataError("there are no cases", "use a split that holds both classes")
    wrong = np.flatnonzero(~((score >= 0) & (score <= 1)))  # also true for NaN
    if len(wrong):
        raise DataError(
            f"the probability of case {wrong[0]} (counted from 0) is {score[wrong[0]]:g}",
            "pass probabilities in 0..1 (softmax of the logits)",
        )
    return score, abnormal


def _best_of_youden(tp: np.ndarray, fp: np.ndarray) -> np.ndarray:
    """Mask of the scores with the greatest tp/P - fp/N; as whole numbers, so that equal means equal."""
    youden = tp * fp[-1] - fp * tp[-1]
    return youden == youden.max()


def _best_of_sensitivity(tp: np.ndarray, fp: np.ndarray, least: Fraction) -> np.ndarray:
    """Mask of the scores sensitive enough with the fewest false positives, then the most true positives."""
    enough = tp >= math.ceil(least * int(tp[-1]))
    fewest = enough & (fp == fp[enough].min())
    return fewest & (tp == tp[fewest].max())


def _best_of_precision(tp: np.ndarray, fp: np.ndarray, least: Fraction) -> np.ndarray:
    """Mask of the scores precise enough with the most true positives, then the fewest false ones."""
    enough = tp * least.denominator >= (tp + fp) * least.numerator
    if not enough.any():
        highest = float((tp / (tp + fp)).max())
        raise DataError(
            f"no threshold has a precision of {float(least):g} on these cases; the highest is {highest:.3g}",
            "ask for a lower precision",
        )
    most = enough & (tp == tp[enough].max())
    return most & (fp == fp[most].min())


def _middle_of_widest_gap(scores: np.ndarray, best: np.ndarray) -> float:
    """The threshold in the widest gap (scores[i + 1], scores[i]] with best[i]; `scores` fall, 0 ends them."""
    below = np.append(scores[1:], 0.0)
    gap = np.where(best, scores - below, -1.0)
    chosen = np.flatnonzero(gap == gap.max())[-1]
    middle = (scores[chosen] + below[chosen]) / 2
    # Between neighbouring floats there is no middle: it would round down onto the lower score.
    return float(middle if middle > below[chosen] else scores[chosen])
