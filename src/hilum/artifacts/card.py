"""model.json, the card of a model: what it is, what it was trained on, how it decides and how well.

`hilum.models.save_model` writes it beside the weights; the stages evaluate and reliability add the operating
point, the calibration and the prediction sets. The packaged models have more: how they were made and measured.
"""

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from hilum.artifacts.base import Figure, Part
from hilum.artifacts.reliability import PredictiveValues
from hilum.errors import HilumError, ModelError
from hilum.files import read_json


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
    clahe: float = 0.0
    trim: bool = True


class Architecture(Part):
    """A file of hilum/models, or a dotted module, with the arguments of its build()."""

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


class TrainingData(Part):
    """The data of the training; `patients`: by split; `attribution`: title, authors, licence."""

    source: str
    digest: str = ""
    notes: list[str] = Field(default_factory=list)
    patients: dict[str, int] = Field(default_factory=dict)
    attribution: dict[str, Any] | None = None


class SplitFacts(Part):
    """How the cases were divided; see `hilum.data.split.Split`."""

    scheme: str
    seed: int
    leaky: bool
    shared_patients: int
    shared_images: int
    note: str
    fold: int | None = None
    folds: int | None = None


class OperatingPoint(Part):
    """The probability of the class `positive` ("class" in the file) from which it is predicted.

    Of `hilum recalibrate` alone: the rule is "healthy images"; `n`: how many there were; `expected_specificity`: on
    new healthy images of the same origin; `replaces`: the threshold before, which other figures of the card belong to.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    positive: str = Field(alias="class")
    value: float
    chosen_on: str
    rule: str
    n: int | None = None
    expected_specificity: Figure | None = None
    replaces: float | None = None


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


class Calibration(Part):
    """Temperature scaling, or vector scaling (`scale` and `shift` per class); expected calibration error before
    and after, on the images of `judged_on`."""

    method: str
    temperature: float | None = None
    scale: list[float] | None = None
    shift: list[float] | None = None
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


class ModelCard(Part):
    """The whole card. `threshold`: None for more than two classes, unless `hilum recalibrate` chose one for abnormal;
    `pretrained`: the weights that training started from; everything after `adaptation` is in packaged cards alone."""

    format: int
    task: str = ""
    classes: list[str]
    pixels: PixelContract
    architecture: Architecture
    parameters: int | None = None
    weights_digest: str
    pretrained: str | None = None
    recipe: str = ""
    training: TrainingFacts | None = None
    data: TrainingData | None = None
    split: SplitFacts | None = None
    intended_use: str = ""
    threshold: OperatingPoint | None = None
    calibration: Calibration | None = None
    conformal: PredictionSets | None = None
    predictive_values: AtPrevalence | None = None
    adaptation: Adaptation | None = None
    recipe_in_full: dict[str, Any] | None = None
    command: str | None = None
    made_with: dict[str, Any] | None = None
    figures: dict[str, Any] | None = None
    shortcuts: dict[str, Any] | str | None = None
    two_steps: dict[str, Any] | None = None
    half_precision: dict[str, Any] | None = None
    int8_weights: dict[str, Any] | None = None
    distillation: dict[str, Any] | None = None
    known_failures: list[str] | None = None

    @classmethod
    def load(cls, path: Path) -> "ModelCard":
        """Reads model.json. ModelError when it is missing or damaged.

        >>> from importlib.resources import files
        >>> ModelCard.load(files("hilum") / "weights" / "binary" / "model.json").classes
        ['normal', 'pneumonia']
        """
        try:
            return cls.model_validate(read_json(path))
        except HilumError as error:
            raise ModelError(error.what, "restore the file or train the model again") from None
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ModelError(
                f"{path} is damaged ({place}: {first['msg']})", "train the model again"
            ) from None
