"""What travels with the weights: the entries `calibration` and `conformal` of a model's card."""

from hilum.artifacts.base import Figure
from hilum.artifacts.card import Calibration, ModelCard, PredictionSets, SetFigure
from hilum.artifacts.reliability import Reliability


def with_reliability(card: ModelCard, reliability: Reliability) -> ModelCard:
    """The card with the scaling and the quantiles in use, and the digest of the weights they were made for."""
    return card.model_copy(update={"calibration": _calibration(reliability), "conformal": _sets(reliability)})


def _calibration(reliability: Reliability) -> Calibration:
    calibration = reliability.calibration
    cross_fitted = ", cross-fitted by patient" if reliability.cross_fitted else ""
    return Calibration(
        **calibration.fitted[calibration.used].model_dump(exclude_none=True),
        fitted_on="val",
        n=reliability.n_fitted,
        weights_digest=reliability.weights_digest,
        judged_on=f"{reliability.judged_on}{cross_fitted}",
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
        coverage=SetFigure(**figures.coverage.model_dump(exclude_none=True)),
        mean_size=_bare(figures.mean_size),
    )


def _bare(figure: Figure) -> Figure:
    """Without what it does not have: the card is written as it was set."""
    return Figure(**figure.model_dump(exclude_none=True))
