"""Cards of models that were never trained, for tests that need one or two of its entries."""

from collections.abc import Sequence
from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.card import (
    FORMAT,
    Architecture,
    Calibration,
    ModelCard,
    OperatingPoint,
    PixelContract,
    PredictionSets,
    ScalingFacts,
    SetFigure,
    TwoSteps,
)


def card(classes: Sequence[str], weights_digest: str = "a", **entries: Any) -> ModelCard:
    """A card with these entries beside what every card has."""
    return ModelCard(
        format=FORMAT,
        classes=list(classes),
        pixels=PixelContract(size=(32, 32)),
        architecture=Architecture(name="vgg"),
        weights_digest=weights_digest,
        **entries,
    )


def threshold(value: float, positive: str = "pneumonia") -> OperatingPoint:
    return OperatingPoint(positive=positive, value=value, chosen_on="val", rule="youden")


def two_steps(value: float) -> TwoSteps:
    return TwoSteps(threshold=value, rule="youden", chosen_on="val", split="val", accuracy=Figure(value=None))


def calibration(scaling: ScalingFacts, weights_digest: str = "a") -> Calibration:
    return Calibration(
        **scaling.model_dump(),
        fitted_on="val",
        n=1,
        weights_digest=weights_digest,
        judged_on="val",
        ece_before=Figure(value=None),
        ece_after=Figure(value=None),
    )


def conformal(quantiles: dict[str, float], weights_digest: str = "a") -> PredictionSets:
    return PredictionSets(
        alpha=0.1,
        kind="marginal",
        quantiles=quantiles,
        fitted_on="val",
        n=1,
        weights_digest=weights_digest,
        coverage=SetFigure(value=None),
        mean_size=Figure(value=None),
    )
