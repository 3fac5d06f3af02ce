"""Selective prediction: how the error falls as the least confident images are left to a person.

The area under the risk-coverage curve (AURC) has an interval in two parts, as average precision has
(hilum.evaluation.areas): where the confidences of errors and of correct predictions are normal, the share of errors
and the AUROC of confidence for being correct give one AURC. Wilson's interval of the share and the score interval of
the AUROC move it by so much on the logit scale; both movements start at the observed value and are added in squares.
A percentile bootstrap holds the truth in 68 to 90 % of sets with few errors (docs/intervals.md).

References
    Donner A, Zou GY. Closed-form confidence intervals for functions of the normal mean and standard deviation.
        Stat Methods Med Res 21 (2012).
    Geifman Y, El-Yaniv R. Selective classification for deep neural networks. NeurIPS (2017).
    Geifman Y, Uziel G, El-Yaniv R. Bias-reduced uncertainty estimation for deep neural classifiers. ICLR
        (2019).
"""

from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import RiskAt, RiskCurve, SelectiveFigures
from hilum.errors import DataError
from hilum.evaluation.areas import area_interval, class_sizes, shifted
from hilum.evaluation.metrics import auroc
from hilum.evaluation.shares import share_figure, share_interval


def risk_coverage(
    confidence: ArrayLike, wrong: ArrayLike, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (share of cases answered) and risk (share of errors among them), "cases", most confident first.

    `confidence`: any real numbers, higher is more confident; `wrong`: whether the prediction is an error; both
    "cases". Equal confidences are answered or left together: each such case has the figures of them all. With
    `weights` "replicates cases" both are "replicates cases". DataError for NaN or no cases.

    >>> coverage, risk = risk_coverage([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0])
    >>> coverage.tolist(), risk.tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.25])
    """
    score, error = _checked(confidence, wrong)
    counts = np.ones((1, len(score))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    order = np.argsort(-score, kind="stable")
    ordered_confidence = score[order]
    last_of_ties = np.searchsorted(-ordered_confidence, -ordered_confidence, side="right") - 1
    answered = np.cumsum(counts[:, order], axis=1)[:, last_of_ties]
    errors = np.cumsum(counts[:, order] * error[order], axis=1)[:, last_of_ties]
    coverage = answered / counts.sum(1, keepdims=True)
    risk = errors / np.maximum(answered, 1)  # nothing answered, no error
    return (coverage[0], risk[0]) if weights is None else (coverage, risk)


def aurc(confidence: ArrayLike, wrong: ArrayLike, weights: ArrayLike | None = None) -> float | np.ndarray:
    """Area under the risk-coverage curve, 0 (best) to 1: the mean risk over all coverages 1/n, 2/n, ... 1.

    An order without information has the share of errors; the best order of the same errors has
    `lowest_aurc` (Geifman & El-Yaniv 2017). Arguments as in `risk_coverage`.

    >>> aurc([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0])  # (0 + 0 + 0 + 1/4) / 4
    0.0625
    """
    score, error = _checked(confidence, wrong)
    counts = np.ones((1, len(score))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    _, risk = risk_coverage(score, error, counts)
    ordered = counts[:, np.argsort(-score, kind="stable")]
    areas = (risk * ordered).sum(1) / ordered.sum(1)
    return float(areas[0]) if weights is None else areas


def aurc_interval(confidence: ArrayLike, wrong: ArrayLike, patients: ArrayLike) -> tuple[float, float]:
    """The 95 % interval of `aurc` over patients, 0 to 1; arguments as there, `patients`: the patient of each case.

    Without an error it reaches from 0 to the end of the share's interval: an order without information has an AURC
    of that share. It is wide with fewer than about ten errors, whose order says little.

    >>> [round(end, 3) for end in aurc_interval(range(100), [False] * 100, range(100))]
    [0.0, 0.037]
    >>> [round(end, 3) for end in aurc_interval(range(100), [True] * 10 + [False] * 90, range(100))]
    [0.002, 0.024]
    """
    score, error = _checked(confidence, wrong)
    people, share = np.asarray(patients), float(error.mean())
    shares = share_interval(error, people, _of_truth(score, error))
    if share == 0:
        return 0.0, shares[1]
    if share == 1:
        return shares[0], 1.0
    value, area = float(aurc(score, error)), float(auroc(score, ~error))
    areas = area_interval(area, *class_sizes(score, ~error, people))
    here = aurc_of(area, share)
    distances = [
        np.hypot(
            value - shifted(value, here, aurc_of(area, of_share)),
            value - shifted(value, here, aurc_of(of_area, share)),
        )
        for of_share, of_area in zip(shares, reversed(areas), strict=True)
    ]
    return max(0.0, float(value - distances[0])), min(1.0, float(value + distances[1]))


def aurc_of(area: float, share: float) -> float:
    """The AURC where this share of predictions is wrong and normal confidences tell errors with this AUROC.

    >>> round(aurc_of(0.5, 0.2), 3), aurc_of(0.9, 0.2) < 0.2
    (0.2, True)
    """
    from scipy.special import ndtr, ndtri

    apart = np.sqrt(2) * ndtri(np.clip(area, 1e-12, 1 - 1e-12))
    line = np.linspace(9 + max(apart, 0), min(apart, 0) - 9, 3000)  # thresholds
    wrong = share * ndtr(-line)
    answered = wrong + (1 - share) * ndtr(apart - line)
    return float(np.trapezoid(wrong / np.maximum(answered, 1e-300), answered))


def lowest_aurc(wrong: ArrayLike) -> float:
    """The AURC of an order that puts every error last: what no confidence can beat.

    >>> lowest_aurc([0, 1, 0, 0])
    0.0625
    """
    ordered = np.sort(np.asarray(wrong, bool))
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def confidence_scores(probabilities: ArrayLike) -> dict[str, np.ndarray]:
    """Three confidences from one row of probabilities, each "cases", higher is more confident.

    probability: of the most probable class. margin: that less the second's. entropy: minus the entropy in nats.
    For two classes all three put images in the same order.

    >>> scores = confidence_scores([[0.75, 0.25, 0.0]])
    >>> {name: round(float(value[0]), 3) for name, value in scores.items()}
    {'probability': 0.75, 'margin': 0.5, 'entropy': -0.562}
    """
    values = np.asarray(probabilities, np.float64)
    ranked = np.sort(values, axis=1)
    logs = np.log(np.maximum(values, 1e-300))
    return {
        "probability": ranked[:, -1],
        "margin": ranked[:, -1] - ranked[:, -2],
        "entropy": (values * logs).sum(1),
    }


def risk_at_grid(confidence: ArrayLike, wrong: ArrayLike, coverages: ArrayLike) -> list[float]:
    """The risk of the smallest set of most confident cases that holds at least each of these shares.

    >>> risk_at_grid([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0], [0.5, 1.0])
    [0.0, 0.25]
    """
    covered, risk = risk_coverage(confidence, wrong)
    places = np.searchsorted(covered, np.asarray(coverages) - 1e-9)
    return risk[np.minimum(places, len(risk) - 1)].tolist()


def selective_figures(
    confidence: ArrayLike,
    wrong: ArrayLike,
    patients: ArrayLike,
    coverages: tuple[float, ...] = (0.5, 0.8, 0.9),
) -> SelectiveFigures:
    """AURC and the risk at some coverages with 95 % intervals over patients, and the curve.

    The risk at a coverage c is that of the smallest set of most confident cases that holds a share of at least
    c. Arguments as in `risk_coverage`; `patients`: the patient of each case.

    >>> figures = selective_figures([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0], [*"abcd"])
    >>> figures.aurc.value, figures.error.counts, figures.risk_at[0].risk.value
    (0.0625, '1/4', 0.0)
    """
    score, error = _checked(confidence, wrong)
    people = np.asarray(patients)
    grid = np.round(np.linspace(0.05, 1, 20), 2)
    points = np.unique([*grid, *coverages])
    low, high = aurc_interval(score, error, people)
    at = {float(share): _risk(float(share), score, error, people) for share in points}
    on_grid = [at[float(share)] for share in grid]
    return SelectiveFigures(
        n_cases=len(score),
        aurc=Figure(value=float(aurc(score, error)), low=low, high=high),
        lowest_aurc=lowest_aurc(error),
        error=share_figure(error, people, _of_truth(score, error)),
        risk_at=[RiskAt(coverage=share, risk=at[share]) for share in coverages],
        curve=RiskCurve(
            coverage=grid.tolist(),
            risk=[figure.value for figure in on_grid if figure.value is not None],
            low=[figure.low for figure in on_grid],
            high=[figure.high for figure in on_grid],
        ),
    )


def _of_truth(score: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Numbers in the order of the probability of the true class, with which errors of a patient go together."""
    above = score - score.min()
    return np.where(error, -above, above)


def _risk(share: float, score: np.ndarray, error: np.ndarray, patients: np.ndarray) -> Figure:
    """The share of errors among the most confident cases, as few as hold this share of all."""
    last = np.sort(score)[::-1][max(0, ceil(share * len(score) - 1e-9) - 1)]
    answered = score >= last
    return share_figure(error[answered], patients[answered], _of_truth(score, error)[answered])


def _checked(confidence: ArrayLike, wrong: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    score, error = np.asarray(confidence, np.float64), np.asarray(wrong, bool)
    if score.shape != error.shape or score.ndim != 1:
        raise ValueError(
            f"shapes {score.shape} and {error.shape} are not one confidence and one truth per case"
        )
    if not len(score):
        raise DataError("there are no cases to answer or to leave to a person", "use a split that has cases")
    bad = np.flatnonzero(np.isnan(score))
    if len(bad):
        raise DataError(f"the confidence of case {bad[0]} (counted from 0) is NaN", "score that image again")
    return score, error
