"""model.json, the card of a model: what it is, what it was trained on, how it decides and how well.

`hilum.models.save_model` writes it beside the weights; the stages evaluate and reliability add the operating
point, the calibration and the prediction sets. The packaged models have more: how they were made and measured.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError

from hilum.artifacts.audit import JointShortcut
from hilum.artifacts.base import Figure, Part
from hilum.artifacts.metrics import SplitMetrics
from hilum.artifacts.run import SplitFacts
from hilum.errors import HilumError, ModelError
from hilum.files import read_json, write_json

FORMAT = 3
"""Raised when the meaning of a key changes; a card of another format is refused."""


class PixelContract(Part):
    """What happens between a decoded image and the network; the same fields and defaults as
    `hilum.data.images.Pixels`."""

    size: tuple[int, int]
    fit: Literal["squeeze", "pad", "lungs"] = "squeeze"
    standardize: Literal["dataset", "image"] = "dataset"
    mean: float = 0.5
    sd: float = 0.25
    channels: int = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    trim: bool = True


class Architecture(Part):
    """A file of hilum/models or hilum/anomaly/detectors, or a dotted module, with the arguments of its build()."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class BestMetric(Part):
    """The validation figure that chose the epoch."""

    name: str
    value: float


class TrainingFacts(Part):
    """How the weights came about; `images`: in the training split; `teachers`: digests of their weights."""

    seed: int
    epochs: int
    best_epoch: int
    best_metric: BestMetric | None = None
    seconds: float | None = None
    device: str = ""
    precision: str = ""
    images: int | None = None
    teachers: list[str] = Field(default_factory=list)


class Attribution(Part):
    """Where the images come from."""

    title: str
    authors: str | None = None
    year: int | None = None
    published: str | None = None
    paper: str | None = None
    licence: str | None = None
    changes: str | None = None


class TrainingData(Part):
    """The data of the training; `patients`: by split."""

    source: str
    digest: str = ""
    notes: list[str] = Field(default_factory=list)
    patients: dict[str, int] = Field(default_factory=dict)
    attribution: Attribution | None = None


IN_OTHER_LOOK = "counterfactual val"
"""Validation images in the look of the other label's devices alone: what cards until 28 November 2026 say."""

IN_BOTH_LOOKS = "val in both looks"
"""Validation images, each as it is or in the look of the other label's devices, whichever is harder; see
docs/shift.md."""


class OperatingPoint(Part):
    """The probability of the class `positive` ("class" in the file) from which it is predicted.

    `chosen_on`: "val", IN_BOTH_LOOKS, "nothing", or the folder of healthy images.

    Of `hilum recalibrate` alone: the rule is "healthy images"; `n`: how many there were; `expected_specificity`: on
    new healthy images of the same origin; `replaces`: the threshold before, which other figures of the card belong to.
    """

    positive: str = Field(validation_alias=AliasChoices("class", "positive"), serialization_alias="class")
    value: float
    chosen_on: str
    rule: str
    n: int | None = None
    expected_specificity: Figure | None = None
    replaces: float | None = None


class PredictiveValues(Part):
    """Predictive values where `prevalence` of the people are abnormal."""

    prevalence: float
    ppv: Figure
    npv: Figure


class AtPrevalence(Part):
    """Predictive values at the threshold of the card, by prevalence, and the two figures that they follow from."""

    sensitivity: Figure
    specificity: Figure
    measured_on: str
    values: list[PredictiveValues]


class EstimatedPrior(Part):
    """Shares of the classes: of the images that the probabilities were calibrated on, and as estimated for the new
    ones (Saerens, Latinne & Decaestecker 2002)."""

    before: dict[str, float]
    estimated: dict[str, float]


class Adaptation(Part):
    """What `hilum adapt` changed without labels. `layers`: normalisation layers with new statistics, in which
    training counts as `source_images` images (Schneider et al. 2020)."""

    adapted_to: str
    images: int
    layers: int
    source_images: int
    weights_digest_before: str
    prior: EstimatedPrior | None = None
    dropped: list[str]


class ScalingFacts(Part):
    """What was fitted on validation images: one temperature, or a scale and a shift per class."""

    method: Literal["temperature", "vector"]
    temperature: float | None = None
    scale: list[float] | None = None
    shift: list[float] | None = None


class Calibration(ScalingFacts):
    """The scaling in use; expected calibration error before and after, on the images of `judged_on`."""

    fitted_on: str
    n: int
    weights_digest: str
    judged_on: str
    ece_before: Figure
    ece_after: Figure


class SetFigure(Figure):
    """A share with the exact binomial interval beside the bootstrap's."""

    binomial: tuple[float, float] | None = None


class PredictionSets(Part):
    """Conformal prediction sets: the quantile of each class, for a coverage of 1 - alpha."""

    alpha: float
    kind: str
    quantiles: dict[str, float]
    fitted_on: str
    n: int
    weights_digest: str
    coverage: SetFigure
    mean_size: Figure


class OverlapFacts(Part):
    """Intersection over union with the true lungs: mean, and the value that nine in ten images exceed."""

    images: str
    mean: Figure
    lowest_tenth: float


class LungCard(Part):
    """card.json of the network that finds the lungs; `iou`: on phantom images of other patients."""

    about: str
    command: str
    trained_on: str
    weights_digest: str
    parameters: int
    iou: OverlapFacts


# -- what packing adds -----------------------------------------------------------------------------------------


class MadeWith(Part):
    """The version and the commit of hilum, and the libraries, that trained a packaged model."""

    hilum: str | None
    commit: str | None
    versions: dict[str, str] | None
    finished: str | None


class PackedFigures(SplitMetrics):
    """The block of metrics.json of the held-out split. `chose`: what the same images decided, so that the figures are
    slightly optimistic; empty where nothing was chosen on them."""

    split: str
    chose: list[str] = Field(default_factory=list)


class TwoSteps(Part):
    """The probability of any abnormal class from which an image is abnormal, and the accuracy of deciding that
    first and then the most probable abnormal class."""

    threshold: float
    rule: str
    chosen_on: str
    split: str
    accuracy: Figure


class Rounding(Part):
    """Held-out images that get the same class, and the correct one, from rounded weights."""

    images: int
    same_prediction: int
    correct: int
    correct_in_float32: int
    largest_difference_of_a_logit: float


class PackedCounterfactual(Part):
    """Held-out images as they are and in the look of the other label's devices (docs/shift.md): AUROC of normal
    against abnormal, and the specificity at a sensitivity of `fixed`."""

    images: int
    patients: int
    split: str
    fixed: float
    auroc: Figure
    auroc_swapped: Figure
    specificity: Figure
    specificity_swapped: Figure


class PackedOrdered(PackedCounterfactual):
    """The same for another training of the same recipe, on the split `ordered`: without the patients of the lowest case
    numbers of each series of names, which are its validation part.
    `accuracy`: over the classes of the task, of all images held out (its `n`); the others: of `images` of them."""

    accuracy: Figure


class PackedGuard(Part):
    """What rounding does to the guard: held-out images that it flags before and after, and how far a p-value moves.
    `validation_images`: among which p-values are taken."""

    rate: float
    validation_images: int
    images: int
    flagged: int
    flagged_in_float32: int
    largest_difference_of_a_p_value: float


class Distillation(Part):
    """Held-out images that teachers and student classify correctly; `teachers`: digests of their weights."""

    teachers: list[str]
    images: int
    correct_by_teachers_together: int
    correct_by_each_teacher: list[int]
    correct: int


class FindingRule(Part):
    """How a logit of a finding becomes a probability, sigmoid(scale * logit + shift), and from which probability on the
    finding is present. `n_present`, `n_absent`: stated in the images of `chosen_on`; `calibrated`: False where they
    are too few, and the probability is the network's own."""

    name: str
    threshold: float
    rule: str
    chosen_on: str
    n_present: int
    n_absent: int
    calibrated: bool
    scale: float = 1.0
    shift: float = 0.0


class ModelFacts(Part):
    """What is known of a model beyond its network. `threshold`: None for more than two classes, unless
    `hilum recalibrate` chose one for abnormal; `kind`: one class per image, or several findings, each with its rule in
    `findings`; everything after `adaptation` is in packaged cards alone;
    `shortcuts`: what numbers of file and image alone reach."""

    task: str = ""
    recipe: str = ""
    training: TrainingFacts | None = None
    data: TrainingData | None = None
    split: SplitFacts | None = None
    intended_use: str = ""
    threshold: OperatingPoint | None = None
    kind: Literal["single", "multi"] = "single"
    findings: list[FindingRule] | None = None
    calibration: Calibration | None = None
    conformal: PredictionSets | None = None
    predictive_values: AtPrevalence | None = None
    adaptation: Adaptation | None = None
    recipe_in_full: dict[str, Any] | None = None
    command: str | None = None
    made_with: MadeWith | None = None
    counterfactual: PackedCounterfactual | None = None
    ordered: PackedOrdered | None = None
    figures: PackedFigures | None = None
    shortcuts: JointShortcut | None = None
    two_steps: TwoSteps | None = None
    half_precision: Rounding | None = None
    int8_weights: Rounding | None = None
    guard: PackedGuard | None = None
    distillation: Distillation | None = None
    known_failures: list[str] | None = None


class ModelCard(ModelFacts):
    """The whole card. `pretrained`: the weights that training started from."""

    format: int
    classes: list[str]
    pixels: PixelContract
    architecture: Architecture
    parameters: int | None = None
    weights_digest: str
    pretrained: str | None = None

    @property
    def threshold_value(self) -> float | None:
        """Where abnormal begins in two classes, a probability; None for more classes."""
        return self.threshold.value if self.threshold else None

    def save(self, path: Path) -> None:
        """Writes model.json, all or nothing; what was not set is left out."""
        values = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        first = {name: values[name] for name in ModelCard.__annotations__ if name in values}
        write_json(path, {**first, **values})

    @classmethod
    def load(cls, path: Path) -> "ModelCard":
        """Reads model.json. ModelError when it is missing, damaged or of another format.

        >>> from importlib.resources import files
        >>> ModelCard.load(files("hilum") / "weights" / "binary" / "model.json").classes
        ['normal', 'pneumonia']
        """
        try:
            values = read_json(path)
        except HilumError as error:
            raise ModelError(error.what, "restore the file or train the model again") from None
        form = values.get("format") if isinstance(values, dict) else None
        if form != FORMAT:
            raise ModelError(
                f"{path} has format {form!r}, this hilum reads {FORMAT}",
                "train the model again or install the hilum version that wrote it",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ModelError(
                f"{path} is damaged ({place}: {first['msg']})", "train the model again"
            ) from None
