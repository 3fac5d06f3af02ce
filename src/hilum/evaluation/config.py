"""Settings of the reliability stage."""

from typing import Annotated, Literal

from pydantic import Field

from hilum.config import Config

_Share = Annotated[float, Field(gt=0, le=1)]
_Part = Annotated[float, Field(gt=0, lt=1)]


class ReliabilityConfig(Config):
    """Calibration, operating points, prediction sets and selective prediction; see docs/reliability.md.

    `alpha`: the share of prediction sets that may miss the true class; `answer`: which sets `hilum predict`
    gives. `calibration`: the scaling that travels with the model; auto takes the one with the lower
    cross-fitted log-loss on val. `sensitivities`, `precisions`: required of operating points. `prevalences`:
    shares of abnormal people for which predictive values are given. `folds`: of the cross-fitting in val, and
    `divisions`: how often val is halved, where there is no test split. `ensemble`: other runs on the same split
    whose probabilities are averaged with this run's. `mc_passes`: forward passes with dropout; 0 leaves them
    out. `views`: whether images are also predicted rotated, shifted and magnified; `images`: how many random
    held-out images these two predict again. `ood_rate`: the share of images like the validation images that the
    guard on the network's layers flags, null for no guard; `guard_other_look`: how many training and how many
    validation images it also sees in the look of the other label's devices, so that these are no reason for a flag;
    `ood_images`: how many held-out images are altered to see how many of those it flags.
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
    ood_rate: _Part | None = 0.03
    guard_other_look: int = Field(default=300, ge=0)
    ood_images: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)
