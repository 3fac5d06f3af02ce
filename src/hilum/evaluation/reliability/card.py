"""What travels with the weights: the entries `calibration`, `conformal` and `predictive_values` of a model's card."""

from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.card import (
    AtPrevalence,
    Calibration,
    ModelCard,
    PredictionSets,
    PredictiveValues,
    SetFigure,
)
from hilum.artifacts.reliability import Reliability


def with_reliability(card: ModelCard, reliability: Reliability) -> ModelCard:
    """The card with the scaling and the quantiles in use, the digest of the weights they were made for, and, where a
    threshold is in use, predictive values."""
    values = _predictive_values(reliability)
    return card.model_copy(
        update={
            "calibration": _calibration(reliability),
            "conformal": _sets(reliability),
            **({"predictive_values": values} if values else {}),
        }
    )


def _calibration(reliability: Reliability) -> Calibration:
    calibration = reliability.calibration
    return Calibration(
        **calibration.fitted[calibration.used].model_dump(exclude_none=True),
        fitted_on="val",
        n=reliability.n_fitted,
        weights_digest=reliability.weights_digest,
        judged_on=_judged_on(reliability),
        ece_before=_bare(calibration.before.ece),
        ece_after=_bare(calibration.after.ece),
    )


def _sets(reliability: Reliability) -> PredictionSets:
    conformal = reliability.conformal
    figures = conformal.in_use.figures
    return PredictionSets(
        alpha=conformal.alpha,
        kind=conformal.used,
        quantiles=conformal.in_use.quantiles,
        fitted_on="val",
        n=reliability.n_fitted,
        weights_digest=reliability.weights_digest,
        coverage=SetFigure(**_kept(figures.coverage)),
        mean_size=_bare(figures.mean_size),
    )


def _predictive_values(reliability: Reliability) -> AtPrevalence | None:
    """At the threshold in use, at the prevalences of the recipe."""
    point = next((point for point in reliability.operating if point.in_use), None)
    if point is None or point.decisions is None:
        return None
    decisions = point.decisions
    chose = point.both_looks and reliability.judged_on == "val"
    return AtPrevalence(
        sensitivity=_bare(decisions.sensitivity),
        specificity=_bare(decisions.specificity),
        measured_on="val, which chose the threshold" if chose else _judged_on(reliability),
        values=[
            PredictiveValues(prevalence=at.prevalence, ppv=_bare(at.ppv), npv=_bare(at.npv))
            for at in decisions.at_prevalence
        ],
    )


def _judged_on(reliability: Reliability) -> str:
    return f"{reliability.judged_on}{', cross-fitted by patient' if reliability.cross_fitted else ''}"


def _bare(figure: Figure) -> Figure:
    """Without what it does not have: the card is written as it was set."""
    return Figure(**_kept(figure))


def _kept(figure: Figure) -> dict[str, Any]:
    """What a card keeps of a figure: its value, even where there is none, and what else it has."""
    return {"value": figure.value, **figure.model_dump(exclude_none=True)}
