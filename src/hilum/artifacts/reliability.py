"""reliability.json of a task: calibration, operating points, conformal sets, selective prediction, the guard."""

from typing import ClassVar, Literal

from pydantic import Field

from hilum.artifacts.anomaly import OodShare
from hilum.artifacts.base import Artifact, Figure, Part
from hilum.artifacts.card import PredictiveValues, ScalingFacts
from hilum.artifacts.curves import Bin

SetKind = Literal["marginal", "class_conditional"]


# -- calibration ---------------------------------------------------------------------------------------------


class ByChance(Part):
    """The calibration error of a perfectly calibrated model on the same images: mean and 99 % quantile, the images of
    a patient being alike."""

    mean: float
    high: float


class BrierParts(Part):
    """score = reliability - resolution + uncertainty + within (Murphy 1973, Stephenson 2008)."""

    score: Figure
    reliability: Figure
    resolution: Figure
    uncertainty: Figure
    within: Figure


class CalibrationFigures(Part):
    """How well some probabilities are calibrated."""

    ece: Figure
    ece_of_chance: ByChance
    log_loss: Figure
    brier: BrierParts


class Calibration(Part):
    """`used`: the scaling that travels with the model; `fitted`: all scalings; `methods`: the figures without
    ("none") and with each scaling; `diagrams`: by class and by method, "none" and the one in use."""

    used: str
    fitted: dict[str, ScalingFacts]
    methods: dict[str, CalibrationFigures]
    diagrams: dict[str, dict[str, list[Bin]]]

    @property
    def before(self) -> CalibrationFigures:
        """As trained.

        >>> as_trained = CalibrationFigures.model_construct(ece=Figure(value=0.08))
        >>> Calibration.model_construct(methods={"none": as_trained}).before.ece.value
        0.08
        """
        return self.methods["none"]

    @property
    def after(self) -> CalibrationFigures:
        """With the scaling in use.

        >>> scaled = CalibrationFigures.model_construct(ece=Figure(value=0.02))
        >>> Calibration.model_construct(used="temperature", methods={"temperature": scaled}).after.ece.value
        0.02
        """
        return self.methods[self.used]


# -- decisions -----------------------------------------------------------------------------------------------


class Decisions(Part):
    """What decisions are worth, whatever rule made them."""

    sensitivity: Figure
    specificity: Figure
    precision: Figure
    lr_positive: Figure
    lr_negative: Figure
    at_prevalence: list[PredictiveValues]


class OperatingPoint(Part):
    """A rule for the threshold of one class. `threshold` and `decisions` are None where the model can't satisfy
    the rule, and `reason` says why. `both_looks`: the threshold of the card, chosen on val images in both looks."""

    class_name: str
    rule: str
    in_use: bool
    both_looks: bool = False
    threshold: float | None = None
    decisions: Decisions | None = None
    reason: str | None = None


class DecisionCurve(Part):
    """Net benefit at the thresholds `at`, in true positives per image: of the model with its band, of treating
    everybody, and the gain over the better of treating everybody and nobody with its band; `shown`: where the gain
    lies above 0 by a band that holds for all thresholds together."""

    at: list[float]
    model: list[float]
    low: list[float]
    high: list[float]
    treat_all: list[float]
    gain: list[float]
    gain_low: list[float]
    gain_high: list[float]
    shown: list[bool]
    share_abnormal: float


# -- conformal sets ------------------------------------------------------------------------------------------


class Coverage(Figure):
    """A share of images whose set holds the true class; `binomial`: the interval of Clopper and Pearson, which
    takes images as independent."""

    binomial: tuple[float, float]


class SetFigures(Part):
    """What prediction sets are worth. `abstained`: sets without an answer; `single`: sets of one class;
    `correct_if_single`: how many of those are correct."""

    coverage: Coverage
    mean_size: Figure
    abstained: Figure
    single: Figure
    correct_if_single: Figure
    per_class: dict[str, Coverage]


class RepeatedHalves(Part):
    """Means over divisions of the patients into halves, with intervals over patients: each image counts with its
    mean over the divisions that measured it. `coverage_sd`: over the divisions; `within`: the divisions whose binomial
    interval holds the nominal coverage."""

    divisions: int
    coverage: Figure
    coverage_sd: float
    mean_size: Figure
    abstained: Figure
    per_class: dict[str, Figure]
    within: Figure


class FittedSets(Part):
    """Prediction sets of one kind. `quantiles`: from all validation images; `n_fitted`, `n_measured`: the
    images behind the figures; `sizes`: how many sets hold 0, 1, 2 ... classes; `by_chance`: between which
    coverages valid sets lie in 95 % of cases, given so many patients and images to fit and to measure;
    `repeated`: where there is no test split."""

    quantiles: dict[str, float]
    n_fitted: int
    n_measured: int
    sizes: list[int]
    figures: SetFigures
    by_chance: tuple[float, float]
    repeated: RepeatedHalves | None = None


class Conformal(Part):
    """`alpha`: the share of sets that may miss the true class; `used`: the kind that `hilum predict` gives;
    `halves`: whether one half of val fitted the sets and the other measured them."""

    alpha: float
    used: SetKind
    halves: bool
    marginal: FittedSets
    class_conditional: FittedSets

    def kind(self, name: SetKind) -> FittedSets:
        """The sets of one kind.

        >>> conformal = Conformal.model_construct(marginal=FittedSets.model_construct(n_fitted=100))
        >>> conformal.kind("marginal").n_fitted
        100
        """
        return self.marginal if name == "marginal" else self.class_conditional

    @property
    def in_use(self) -> FittedSets:
        """The sets that `hilum predict` gives.

        >>> sets = FittedSets.model_construct(n_fitted=100)
        >>> Conformal.model_construct(used="marginal", marginal=sets).in_use.n_fitted
        100
        """
        return self.kind(self.used)

    @property
    def nominal(self) -> float:
        """The nominal coverage, 1 - alpha.

        >>> Conformal.model_construct(alpha=0.25).nominal
        0.75
        """
        return 1 - self.alpha


# -- selective prediction ------------------------------------------------------------------------------------


class RiskAt(Part):
    """The share of errors where this share of the images is answered, the most confident first."""

    coverage: float
    risk: Figure


class RiskCurve(Part):
    """Risk at each coverage, with its band."""

    coverage: list[float]
    risk: list[float]
    low: list[float | None]
    high: list[float | None]


class SelectiveFigures(Part):
    """Risk against coverage when images are answered in the order of one confidence score. `lowest_aurc`: of
    the best order of the same errors; `error`: the share of errors when every image is answered;
    `probability_risk` and `aurc_difference` compare it with the probability on the same images, `p_holm` by a test
    over patients, corrected for the number of scores."""

    n_cases: int
    aurc: Figure
    lowest_aurc: float
    error: Figure
    risk_at: list[RiskAt]
    curve: RiskCurve
    probability_risk: list[float] | None = None
    aurc_difference: Figure | None = None
    p_holm: float | None = None


# -- out-of-distribution images ------------------------------------------------------------------------------


class Ood(Part):
    """The guard on the middle layers, guard.npz beside the weights. `rate`: the share of images like the held-out ones
    that is flagged; `n`: the validation images among which an image is ranked, `n_other_look` of them once more in the
    look of the other label's devices; `reason`: why there is no guard, None
    where there is one; `test`: the share of test images that is flagged, None without a test split; `altered`: the
    share of altered images, by kind, made from images of `altered_from`."""

    rate: float
    n: int
    n_other_look: int = 0
    reason: str | None = None
    test: Figure | None = None
    altered_from: Literal["val", "test"]
    altered: list[OodShare]


class IntakeShares(Part):
    """The intake check, intake.npz beside the weights: is this a picture of the kind at all? `rate`: the share of
    images like the held-out ones that is flagged; `n`: the images among which one is ranked; `reason`: why there is
    no check, None where there is one; `fitted_on_val`: whether val was too small, so that train and val were
    cross-fitted; `val`, `test`: the shares that are flagged, None without such images; `altered`: of images of
    `altered_from` that were changed; `fewest_pixels`: rows and columns below which an image is refused before it is
    judged; `colour`: whether a file in colour is flagged."""

    rate: float
    n: int = 0
    reason: str | None = None
    fitted_on_val: bool = False
    val: Figure | None = None
    test: Figure | None = None
    altered_from: Literal["val", "test"]
    altered: list[OodShare] = Field(default_factory=list)
    fewest_pixels: int = 1
    colour: bool = True


class Reliability(Artifact):
    """`judged_on`: the split behind the figures; `cross_fitted`: whether validation patients were divided into
    `folds` parts because there is no test split; `n_fitted`: validation images; `ood`, `intake`: None where the
    settings leave guard and intake check out."""

    SCHEMA: ClassVar[int] = 3
    STAGE: ClassVar[str] = "reliability"

    weights_digest: str
    classes: list[str]
    judged_on: Literal["val", "test"]
    cross_fitted: bool
    folds: int
    n_cases: int
    n_patients: int
    n_fitted: int
    replicates: int
    prevalences: list[float]
    calibration: Calibration
    operating: list[OperatingPoint]
    decision_curve: DecisionCurve | None
    conformal: Conformal
    selective: dict[str, SelectiveFigures] = Field(min_length=1)
    ood: Ood | None = None
    intake: IntakeShares | None = None
