"""Settings of the reliability stage."""

from typing import Annotated, Literal

from pydantic import Field

from hilum.config import Config

_Share = Annotated[float, Field(gt=0, le=1)]


_Part = Annotated[float, Field(gt=0, lt=1)]


class ReliabilityConfig(Config):
    """How far each task's answers can be trusted; see hilum.evaluation.reliability.

    `alpha`: the share of answers that may miss the truth; `answer`: which conformal sets `hilum predict`
    gives. `calibration`: the way of scaling that travels with the model; auto takes the one with the lower
    cross-fitted log-loss on val. `sensitivities`, `precisions`: for which thresholds are sought.
    `prevalences`: shares of abnormal people for which predictive values are given. `folds`: of the cross-fitting
    in val, and `divisions`: how often val is halved, where there is no test split. `ensemble`: other runs
    on the same split whose predictions are averaged with this one's. `mc_passes`: with dropout left on; 0
    leaves that out. `views`: whether images are looked at turned and shifted, too; `images`: how many held-out
    images, drawn at random, are looked at again for these two.
    """

    alpha: float = Field(default=0.1, gt=0, lt=1)
    answer: Literal["marginal", "class_conditional"] = "class_conditional"
    calibration: Literal["auto", "temperature", "vector"] = "auto"
    sensitivities: tuple[_Share, ...] = (0.95, 0.99)
    precisions: tuple[_Share, ...] = (0.95,)
    prevalences: tuple[_Part, ...] = (0.05, 0.2, 0.5)
    folds: int = Field(default=5, ge=2)
    divisions: int = Field(default=100, ge=1)
    ensemble: tuple[str, ...] = ()
    mc_passes: int = Field(default=20, ge=0)
    views: bool = True
    images: int = Field(default=300, ge=1)
    seed: int = Field(default=0, ge=0)
