"""Selective prediction: how the error falls as the least confident images are left to a person.

References
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
from hilum.evaluation.intervals import bootstrap, with_interval
from hilum.evaluation.shares import share_figure


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
    replicates: int = 2000,
    seed: int = 0,
) -> SelectiveFigures:
    """AURC and the risk at some coverages with 95 % intervals over patients, and the curve.

    The risk at a coverage c is that of the smallest set of most confident cases that holds a share of at least
    c. Arguments as in `risk_coverage`; `patients`: the patient of each case.

    >>> figures = selective_figures([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0], [*"abcd"], replicates=50)
    >>> figures.aurc.value, figures.error.counts, figures.risk_at[0].risk.value
    (0.0625, '1/4', 0.0)
    """
    score, error = _checked(confidence, wrong)
    people = np.asarray(patients)
    grid = np.round(np.linspace(0.05, 1, 20), 2)
    points = np.unique([*grid, *coverages])

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"aurc": np.asarray(aurc(score, error, weights))}

    values = measure(np.ones((1, len(score))))
    drawn, _ = bootstrap(measure, people, np.zeros(len(score)), replicates, seed)
    at = {float(share): _risk(float(share), score, error, people) for share in points}
    on_grid = [at[float(share)] for share in grid]
    return SelectiveFigures(
        n_cases=len(score),
        aurc=with_interval(values["aurc"][0], drawn["aurc"]),
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
