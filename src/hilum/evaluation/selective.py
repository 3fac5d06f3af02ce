"""When a model may refuse: how the error falls as the least sure images are left to a person.

References
    Geifman Y, El-Yaniv R. Selective classification for deep neural networks. NeurIPS (2017).
    Geifman Y, Uziel G, El-Yaniv R. Bias-reduced uncertainty estimation for deep neural classifiers. ICLR
        (2019).
"""

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap, wilson_interval, with_interval


def risk_coverage(
    confidence: ArrayLike, wrong: ArrayLike, weights: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Coverage (share of cases answered) and risk (share of mistakes among them), "cases", surest first.

    `confidence`: any real numbers, higher is surer; `wrong`: whether the answer is a mistake; both "cases".
    Equal confidences are answered or refused together: each such case has the figures of them all. With
    `weights` "replicates cases" both are "replicates cases". DataError for NaN or no cases.

    >>> coverage, risk = risk_coverage([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0])
    >>> coverage.tolist(), risk.tolist()
    ([0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 0.0, 0.25])
    """
    sure, mistake = _checked(confidence, wrong)
    counts = np.ones((1, len(sure))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    order = np.argsort(-sure, kind="stable")
    sorted_sure = sure[order]
    last_of_ties = np.searchsorted(-sorted_sure, -sorted_sure, side="right") - 1
    answered = np.cumsum(counts[:, order], axis=1)[:, last_of_ties]
    mistakes = np.cumsum(counts[:, order] * mistake[order], axis=1)[:, last_of_ties]
    coverage = answered / counts.sum(1, keepdims=True)
    risk = mistakes / np.maximum(answered, 1)  # nothing answered, no mistake
    return (coverage[0], risk[0]) if weights is None else (coverage, risk)


def aurc(confidence: ArrayLike, wrong: ArrayLike, weights: ArrayLike | None = None) -> float | np.ndarray:
    """Area under the risk-coverage curve, 0 (best) to 1: the mean risk over all coverages 1/n, 2/n, ... 1.

    An order that says nothing earns the share of mistakes; the best order of the same mistakes earns
    `best_aurc` (Geifman & El-Yaniv 2017). Arguments as in `risk_coverage`.

    >>> aurc([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0])  # (0 + 0 + 0 + 1/4) / 4
    0.0625
    """
    sure, mistake = _checked(confidence, wrong)
    counts = np.ones((1, len(sure))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    _, risk = risk_coverage(sure, mistake, counts)
    ordered = counts[:, np.argsort(-sure, kind="stable")]
    areas = (risk * ordered).sum(1) / ordered.sum(1)
    return float(areas[0]) if weights is None else areas


def best_aurc(wrong: ArrayLike) -> float:
    """The AURC of an order that puts every mistake last: what no confidence can beat.

    >>> best_aurc([0, 1, 0, 0])
    0.0625
    """
    mistake = np.asarray(wrong, bool)
    ordered = np.sort(mistake)
    return float((np.cumsum(ordered) / np.arange(1, len(ordered) + 1)).mean())


def likeliest_margin_entropy(probabilities: ArrayLike) -> dict[str, np.ndarray]:
    """Three confidences from one row of probabilities, each "cases", higher is surer.

    probability: of the likeliest class. margin: that less the second's. entropy: minus the entropy in nats.
    For two classes all three put images in the same order.

    >>> sure = likeliest_margin_entropy([[0.75, 0.25, 0.0]])
    >>> {name: round(float(value[0]), 3) for name, value in sure.items()}
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
    """The risk of the smallest set of surest cases that holds at least each of these shares.

    >>> risk_at_grid([0.9, 0.6, 0.8, 0.7], [0, 1, 0, 0], [0.5, 1.0])
    [0.0, 0.25]
    """
    covered, risk = risk_coverage(confidence, wrong)
    places = np.searchsorted(covered, np.asarray(coverages) - 1e-9)
    return risk[np.minimum(places, len(risk) - 1)].tolist()


def selective_block(
    confidence: ArrayLike,
    wrong: ArrayLike,
    patients: ArrayLike,
    coverages: tuple[float, ...] = (0.5, 0.8, 0.9),
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """AURC and the risk at some coverages with 95 % intervals over patients, and the curve, ready for JSON.

    {"aurc", "best", "error" (at full coverage), "risk_at": [{"coverage", "risk"}], "curve": {"coverage",
    "risk", "low", "high"}}. The risk at a coverage c is that of the smallest set of surest cases that holds a
    share of at least c.
    """
    sure, mistake = _checked(confidence, wrong)
    people = np.asarray(patients)
    grid = np.round(np.linspace(0.05, 1, 20), 2)
    asked = np.unique([*grid, *coverages])

    def measure(weights: np.ndarray) -> dict[str, np.ndarray]:
        covered, risk = risk_coverage(sure, mistake, weights)
        places = np.array([np.searchsorted(row, asked - 1e-9) for row in covered])
        at = np.take_along_axis(risk, np.minimum(places, risk.shape[1] - 1), axis=1)
        area = np.asarray(aurc(sure, mistake, weights))
        return {"aurc": area, "error": weights @ mistake / weights.sum(1), "at": at}

    once = measure(np.ones((1, len(sure))))
    drawn, _ = bootstrap(measure, people, np.zeros(len(sure)), replicates, seed)
    at = {
        float(share): _risk(float(share), once["at"][0, place], drawn["at"][:, place], sure, people)
        for place, share in enumerate(asked)
    }
    return {
        "aurc": with_interval(once["aurc"][0], drawn["aurc"]),
        "best": best_aurc(mistake),
        "error": with_interval(once["error"][0], drawn["error"])
        | {"k": int(mistake.sum()), "n": len(mistake)},
        "risk_at": [{"coverage": share, "risk": at[share]} for share in coverages],
        "curve": {
            "coverage": grid.tolist(),
            **{
                name: [at[float(share)][key] for share in grid]
                for name, key in (("risk", "value"), ("low", "low"), ("high", "high"))
            },
        },
    }


def _risk(
    share: float, value: float, drawn: np.ndarray, sure: np.ndarray, patients: np.ndarray
) -> dict[str, Any]:
    """A risk with its interval; without a mistake Wilson's, counting the patients that were answered."""
    entry = with_interval(value, drawn)
    if value in (0.0, 1.0):
        answered = sure >= np.sort(sure)[::-1][max(0, ceil(share * len(sure) - 1e-9) - 1)]
        n = len(np.unique(patients[answered]))
        entry["low"], entry["high"] = wilson_interval(round(value) * n, n)
    return entry


def _checked(confidence: ArrayLike, wrong: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    sure, mistake = np.asarray(confidence, np.float64), np.asarray(wrong, bool)
    if sure.shape != mistake.shape or sure.ndim != 1:
        raise ValueError(
            f"shapes {sure.shape} and {mistake.shape} are not one confidence and one truth per case"
        )
    if not len(sure):
        raise DataError("there are no cases to answer or refuse", "use a split that has cases")
    bad = np.flatnonzero(np.isnan(sure))
    if len(bad):
        raise DataError(f"the confidence of case {bad[0]} (counted from 0) is NaN", "score that image again")
    return sure, mistake
