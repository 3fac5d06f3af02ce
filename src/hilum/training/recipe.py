"""Recipes: every choice of a study as validated YAML; a recipe file is a result that can be repeated.

A study recipe has one entry per task; a task has a split, a pixel contract, a model and a training.
`load_recipe` reads a preset by name ("quick", "seed", "best") or a file; `override` changes single values
("etiology.training.epochs=3"). An unknown key names the nearest known one.
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import ascii_letters, digits
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hilum.data.augment import Augment
from hilum.data.images import Fit, Pixels, Standardize
from hilum.data.tasks import TASKS
from hilum.errors import RecipeError, nearest

_Share = Annotated[float, Field(gt=0, le=1)]
_Part = Annotated[float, Field(gt=0, lt=1)]
_ROW = set(ascii_letters + digits + "_.-@")


class _Choice(BaseModel):
    """Unknown keys are errors; values do not change after they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SplitChoice(_Choice):
    """How cases are divided; see hilum.data.split for what each scheme does."""

    scheme: Literal["patient", "official", "image", "acquisition", "seed-1a", "seed-1b"] = "patient"
    val_fraction: float = Field(default=0.15, gt=0, lt=1)
    test_fraction: float | None = Field(default=None, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2)
    fold: int | None = Field(default=None, ge=0)
    seed: int = Field(default=0, ge=0)


class PixelChoice(_Choice):
    """The pixel contract without mean and sd, which are measured on the training cases. Training sees films
    at their full size, and changes them by `augment`; `zoom` is for films that are asked about.
    """

    size: tuple[int, int] = (224, 224)
    fit: Fit = "squeeze"
    standardize: Standardize = "dataset"
    clahe: float = Field(default=0.0, ge=0, le=100, description="clip limit; 0: no CLAHE")
    zoom: float = Field(
        default=1.0, ge=0.5, le=1, description="share of the frame that a film fills when asked"
    )

    @model_validator(mode="after")
    def _size_is_sensible(self) -> Self:
        if not all(16 <= side <= 2048 for side in self.size):
            raise ValueError(f"size {self.size[0]} x {self.size[1]} is outside 16..2048 px")
        return self

    def contract(self, mean: float, sd: float) -> Pixels:
        """The full contract, once mean and sd of the training cases are known."""
        return Pixels(
            self.size,
            self.fit,
            self.standardize,
            round(mean, 6),
            round(sd, 6),
            clahe=self.clahe,
            zoom=self.zoom,
        )


class ModelChoice(_Choice):
    """`name`: a file in hilum/models or a dotted module; `options`: the arguments of its build()."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class Optimizer(_Choice):
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019) or SGD with Nesterov momentum."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1, description="sgd only")


class Schedule(_Choice):
    """'plateau' lowers the rate when val_loss stalls; 'warmup_cosine' rises linearly over `warmup_steps`
    optimiser steps, then falls to zero along half a cosine."""

    name: Literal["constant", "plateau", "warmup_cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    factor: float = Field(default=0.3, gt=0, lt=1, description="plateau: new rate / old rate")
    patience: int = Field(default=2, ge=0, description="plateau: epochs without a better val_loss")


class Distill(_Choice):
    """Learning from the answers of trained models (Hinton, Vinyals & Dean 2015); see training/distill.py.

    `teachers`: task folders of runs, or model folders. `alpha`: weight of their soft answers; the labels get
    the rest. `temperature`: both sides' logits are divided by it.
    """

    teachers: tuple[str, ...] = Field(min_length=1)
    alpha: float = Field(default=0.7, ge=0, le=1)
    temperature: float = Field(default=2.0, gt=0)


class Training(_Choice):
    """Epochs, loss, optimiser and what belongs to them.

    `mixup`: films and labels are mixed in pairs, with shares from Beta(mixup, mixup) (Zhang et al., ICLR
    2018). `balance`: 'shortcuts' draws films so that the label says nothing about how they were taken.
    `group_dro`: step size with which weight moves to the groups (label and how the film was taken) that are
    learnt worst (Sagawa et al., ICLR 2020); 0 weighs all films alike.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(default=32, ge=1)
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    mixup: float = Field(default=0.0, ge=0)
    balance: Literal["none", "undersample", "weights", "sampler", "shortcuts"] = "none"
    group_dro: float = Field(default=0.0, ge=0, le=1)
    distill: Distill | None = None
    ema: float | None = Field(default=None, gt=0, lt=1, description="decay of averaged weights")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    monitor: str = "val_accuracy"
    seed: int = Field(default=0, ge=0)


class TaskRecipe(_Choice):
    """All choices of one task."""

    split: SplitChoice = SplitChoice()
    pixels: PixelChoice = PixelChoice()
    model: ModelChoice
    augment: Augment = Augment()
    training: Training
    threshold: str = Field(default="youden", description="rule for the operating point, applied to val")


class EmbeddingChoice(_Choice):
    """What is done with the vectors of a trained model; see hilum.embedding.

    `select`: transform, distance, weights and k by patient-disjoint cross-validation on train, instead of
    those given here. `map_seeds`: further seeds per map, to see how stable it is.
    """

    layer: str = "embedding"
    precision: Literal["float16", "float32"] = "float16"
    k: int = Field(default=7, ge=1)
    transform: Literal["none", "standardize", "pca", "lda"] = "standardize"
    distance: Literal["euclidean", "cosine"] = "cosine"
    weights: Literal["uniform", "distance"] = "distance"
    select: bool = False
    maps: tuple[Literal["pca", "lda", "tsne", "umap"], ...] = ("pca", "lda", "tsne")
    perplexity: float = Field(default=30.0, gt=1)
    exaggeration: float = Field(default=1.0, ge=1, description="t-SNE: kept after the early phase")
    iterations: int = Field(default=750, ge=50, description="t-SNE, after an early phase of a third as many")
    map_seeds: int = Field(default=0, ge=0)
    baselines: tuple[Literal["raw_pixels", "hog", "random_network"], ...] = (
        "raw_pixels",
        "hog",
        "random_network",
    )
    suspects: bool = True
    seed: int = Field(default=0, ge=0)


class AnomalyChoice(_Choice):
    """Detectors that are fitted on healthy films alone; see hilum.anomaly.

    `detectors`: row of the board -> options of its build(). The row is a detector's name; "name@variant"
    gives one detector several rows. `calibrate_fraction`: the share of the healthy val films that fixes the
    threshold; the others, and the sick ones, measure. `odd_films`: how many held-back healthy films are
    turned, inverted and so on. `own_ranking`: in how many parts the films to fit on are divided to see which
    of them are strange to the others; 0 leaves that out, and each part costs one more fit.
    """

    detectors: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"autoencoder": {}}, min_length=1)
    pixels: PixelChoice = PixelChoice(size=(96, 96))
    split: SplitChoice = SplitChoice(val_fraction=0.3)
    false_alarm_rate: float = Field(default=0.05, gt=0, lt=1)
    calibrate_fraction: float = Field(default=0.5, gt=0, lt=1)
    ensemble: bool = True
    odd_films: int = Field(default=100, ge=0)
    own_ranking: int = Field(default=2, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _rows_are_names(self) -> Self:
        for row in self.detectors:
            if row == "ensemble" or not row or not set(row) <= _ROW:
                raise ValueError(f"{row!r} can't name a detector: use letters, digits, '_', '.', '-' and '@'")
        if self.own_ranking == 1:
            raise ValueError("own_ranking needs two parts or more, or 0 for none")
        return self


class LedgerChoice(_Choice):
    """The leak ledger: short trainings with patients apart, and with films drawn by image; see
    hilum.compare.ledger. `task`: default the last of the recipe that the labels allow. `folds`: each film is
    held out once, so that is the number of trainings per way. No augmentation: what a network remembers of a
    patient should be seen."""

    task: str | None = None
    size: tuple[int, int] = (48, 48)
    model: ModelChoice = ModelChoice(
        name="resnet", options={"width": 16, "stages": [1, 1, 1], "embedding": 64}
    )
    folds: int = Field(default=2, ge=2)
    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=32, ge=1)
    lr: float = Field(default=2e-3, gt=0)
    seed: int = Field(default=0, ge=0)

    def recipe(self) -> "TaskRecipe":
        """The task recipe of the short trainings."""
        return TaskRecipe(
            pixels=PixelChoice(size=self.size),
            model=self.model,
            training=Training(
                epochs=self.epochs,
                batch_size=self.batch_size,
                optimizer=Optimizer(lr=self.lr, weight_decay=0.01),
                schedule=Schedule(name="warmup_cosine", warmup_steps=10),
                seed=self.seed,
            ),
        )


METHODS = (
    "occlusion",
    "grad_cam",
    "layer_cam",
    "integrated_gradients",
    "smooth_grad",
    "deep_lift",
    "rise",
    "saliency",
)
"""What is asked by default; the first of each kind stands in the report's rows of pictures."""


class OcclusionChoice(_Choice):
    """A square mask slides over the film. `mask`: its side in pixels; None: the side that covers the same
    share of the film as 90 px of 200 x 224 do. `fill`: what lies under it: black, the film's mean, a blurred
    copy of the film, or noise of the film's mean and spread."""

    mask: int | None = Field(default=None, ge=1)
    stride: int = Field(default=1, ge=1)
    fill: Literal["zero", "mean", "blur", "noise"] = "zero"
    precision: Literal["fp32", "bf16"] = "fp32"


class SynthesisChoice(_Choice):
    """Images that drive a filter. `filters`: how many of the layer. `steps` and `lr`: of the plain ascent
    from a film. `clean_steps`: of the careful ascent, which has a step length of its own; 0 leaves it out."""

    filters: int = Field(default=64, ge=0)
    steps: int = Field(default=1000, ge=1)
    lr: float = Field(default=10_000.0, gt=0)
    clean_steps: int = Field(default=256, ge=0)


class LayersChoice(_Choice):
    """What the network needs inside, and on how many films that is asked; 0 leaves it out. `ablation`:
    filters of the layer set to their mean. `probes`: a linear probe per layer. `concepts`: named notions, on
    drawn films."""

    ablation: int = Field(default=60, ge=0)
    probes: int = Field(default=1500, ge=0)
    concepts: int = Field(default=300, ge=0)


class FaithfulnessChoice(_Choice):
    """How far the methods may be believed. `films`: on how many held-out films; 0 leaves it out. `steps`:
    points of a deletion or insertion curve. `truth`: drawn films with lesions, where the data are drawn."""

    films: int = Field(default=12, ge=0)
    steps: int = Field(default=20, ge=2)
    truth: int = Field(default=60, ge=0)


class ExplainChoice(_Choice):
    """What each task's model looks at; see hilum.explain.

    `methods`: files of hilum/explain or dotted modules, each with its options. `cases_per_class`: films shown
    for each label. `mistakes`: of each class, surest first, shown with a map. `layer`: the convolution whose
    filters are shown; None: the latest that sees at most half of the film. `filters` x `images`: the grid of
    strongest activations. `scan`: how many films, drawn at random, are looked through for them; None: all.
    """

    methods: dict[str, dict[str, Any]] = Field(default_factory=lambda: {name: {} for name in METHODS})
    cases_per_class: int = Field(default=1, ge=1)
    mistakes: int = Field(default=5, ge=0)
    occlusion: OcclusionChoice = OcclusionChoice()
    layer: str | None = None
    filters: int = Field(default=5, ge=1)
    images: int = Field(default=10, ge=1)
    scan: int | None = Field(default=None, ge=1)
    synthesis: SynthesisChoice = SynthesisChoice()
    faithfulness: FaithfulnessChoice = FaithfulnessChoice()
    layers: LayersChoice = LayersChoice()
    seed: int = Field(default=0, ge=0)

    @field_validator("methods", mode="before")
    @classmethod
    def _names_alone_will_do(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
            return {name: {} for name in given}
        if isinstance(given, dict):
            return {name: options or {} for name, options in given.items()}
        return given


class LabelsChoice(_Choice):
    """Accuracy against the number of labelled patients; see hilum.evaluation.missing_labels.

    `fractions` of the train patients whose labels are known; `seeds`: how often they are drawn and trained
    on. Every fraction gets `steps` of `batch_size` films. `pretrain_*`: SimSiam on all train films. `k`:
    neighbours.
    """

    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    seeds: int = Field(default=3, ge=1)
    pixels: PixelChoice = PixelChoice(size=(48, 48))
    model: ModelChoice = ModelChoice(name="resnet", options={"width": 16, "embedding": 64})
    augment: Augment = Augment(rotate=7, translate=0.05, scale=0.1, contrast=0.2, brightness=0.1)
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=32, ge=2)
    lr: float = Field(default=2e-3, gt=0)
    pretrain_steps: int = Field(default=800, ge=1)
    pretrain_batch_size: int = Field(default=64, ge=2)
    pretrain_lr: float = Field(default=2e-3, gt=0)
    k: int = Field(default=20, ge=1)


class ClassesChoice(_Choice):
    """A label that the network never saw; see hilum.evaluation.missing_classes.

    `without`: the class; None: the last of the task. The network, its pixels and batches are those of
    `missing.labels`, its `steps` its own.
    """

    without: str | None = None
    steps: int = Field(default=900, ge=1)
    seed: int = Field(default=0, ge=0)


class SpoiltChoice(_Choice):
    """Training for spoilt films; see hilum.evaluation.missing_training.

    `share` of the films are spoilt in training. Network, pixels and batches are those of `missing.labels`.
    """

    share: float = Field(default=0.5, gt=0, le=1)
    steps: int = Field(default=900, ge=1)
    seeds: int = Field(default=3, ge=1)


class MissingChoice(_Choice):
    """What happens when pixels are missing; see hilum.evaluation.missing_pixels.

    `corruptions`: names of hilum.data.robustness; None: all. `films`: at most so many held-out films;
    None: all. `labels`, `classes`, `training`: what `hilum missing RUN --labels`, `--classes` and
    `--training` do; a study leaves them out.
    """

    corruptions: tuple[str, ...] | None = Field(default=None, min_length=1)
    severities: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    films: int | None = Field(default=None, ge=2)
    replicates: int = Field(default=1000, ge=0)
    seed: int = Field(default=0, ge=0)
    labels: LabelsChoice = LabelsChoice()
    classes: ClassesChoice = ClassesChoice()
    training: SpoiltChoice = SpoiltChoice()


class TrustChoice(_Choice):
    """How far each task's answers can be trusted; see hilum.evaluation.trust.

    `alpha`: the share of answers that may miss the truth; `answer`: which conformal sets `hilum predict`
    gives. `calibration`: the way of scaling that travels with the model; auto takes the one with the lower
    cross-fitted log-loss on val. `sensitivities`, `precisions`: for which thresholds are sought.
    `prevalences`: shares of sick people for which predictive values are given. `folds`: of the cross-fitting
    in val, and `divisions`: how often val is halved, where there is no test split. `ensemble`: other runs
    on the same split whose predictions are averaged with this one's. `mc_passes`: with dropout left on; 0
    leaves that out. `views`: whether films are looked at turned and shifted, too; `films`: how many held-out
    films, drawn at random, are looked at again for these two.
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
    films: int = Field(default=300, ge=1)
    seed: int = Field(default=0, ge=0)


class StudyRecipe(_Choice):
    """The whole study. `replicates`: bootstrap replicates of every interval. `embedding`: what is done with
    the vectors of each task's model; `explain`: what is asked about its decisions; `anomaly`: detectors
    fitted on healthy films; `missing`: the held-out films with pixels missing; `ledger`: what a split by
    image would have bought; `trust`: how far answers can be trusted; None leaves a stage out.
    """

    name: str
    about: str = ""
    tasks: dict[str, TaskRecipe]
    embedding: EmbeddingChoice | None = EmbeddingChoice()
    anomaly: AnomalyChoice | None = None
    missing: MissingChoice | None = MissingChoice(severities=(1, 3, 5), films=200)
    explain: ExplainChoice | None = ExplainChoice()
    ledger: LedgerChoice | None = LedgerChoice()
    trust: TrustChoice | None = TrustChoice()
    replicates: int = Field(default=2000, ge=0)
    skip_unreadable: bool = False

    @model_validator(mode="after")
    def _tasks_are_known(self) -> Self:
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"task {name!r} is not known; {nearest(name, TASKS)}")
        if not self.tasks:
            raise ValueError(f"no task given; known are: {', '.join(TASKS)}")
        return self

    def to_yaml(self) -> dict[str, Any]:
        """Plain values for recipe.yaml, defaults written out."""
        return self.model_dump(mode="json")


def presets() -> list[str]:
    """Names of the recipes that come with the package.

    >>> "quick" in presets() and "seed" in presets()
    True
    """
    folder = files("hilum") / "recipes"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_recipe(source: str | Path, overrides: Sequence[str] = ()) -> StudyRecipe:
    """A preset's name or a YAML file -> a checked recipe. RecipeError names file, key and remedy."""
    text, where = _read(str(source))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML ({str(error).splitlines()[0]})", "correct the file") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is empty or no mapping", "start from: hilum study --preset quick")
    for item in overrides:
        override(values, item)
    return checked(values, where)


def checked(values: dict[str, Any], where: str) -> StudyRecipe:
    """Plain values -> StudyRecipe; the first fault becomes one sentence."""
    try:
        return StudyRecipe.model_validate(values)
    except ValidationError as error:
        raise _sentence(error, where) from None


def override(values: dict[str, Any], item: str) -> None:
    """Applies "a.b.c=value" (value read as YAML) to nested plain values. Keys under `tasks` may be short:
    "etiology.training.epochs=3" means "tasks.etiology.training.epochs=3".

    >>> values = {"tasks": {"binary": {"training": {"epochs": 9}}}}
    >>> override(values, "binary.training.epochs=3"); values["tasks"]["binary"]["training"]["epochs"]
    3
    """
    path, equals, text = item.partition("=")
    if not equals:
        raise RecipeError(f"--set {item!r} has no '='", "write it as key.key=value")
    keys = path.strip().split(".")
    if keys[0] in TASKS:
        keys = ["tasks", *keys]
    if keys[0] == "tasks" and len(keys) > 1 and keys[1] not in values.get("tasks", {}):
        known = list(values.get("tasks", {}))
        raise RecipeError(f"--set {item!r}: the recipe has no task {keys[1]!r}", nearest(keys[1], known))
    place = values
    for key in keys[:-1]:
        inner = place.get(key, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {item!r}: {key!r} holds no keys", "hilum recipe prints all keys")
        place[key] = dict(inner)  # a copy: a YAML anchor may stand for several tasks
        place = place[key]
    try:
        place[keys[-1]] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise RecipeError(f"--set {item!r}: the value is no YAML", "quote it") from None


def _read(source: str) -> tuple[str, str]:
    if source in presets():
        return (files("hilum") / "recipes" / f"{source}.yaml").read_text(
            encoding="utf-8"
        ), f"preset {source!r}"
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        raise RecipeError(
            f"preset {source!r} is not known", f"{nearest(source, presets())} (or name a .yaml file)"
        )
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        raise RecipeError(f"recipe {path} does not exist", f"presets are: {', '.join(presets())}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"recipe {path} is no UTF-8 text", "save it as UTF-8") from None


def _sentence(error: ValidationError, where: str) -> RecipeError:
    """pydantic's first complaint in our words: where, key, value, remedy."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return RecipeError(
            f"{where}: key {place!r} is not known", nearest(key, _known_keys(first["loc"][:-1]))
        )
    if first["type"] == "missing":
        return RecipeError(f"{where}: key {place!r} is missing", "add it")
    message = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    shown = f" = {value!r}" if not isinstance(value, dict) else ""
    message = message[0].lower() + message[1:]
    return RecipeError(f"{where}: {place or 'the recipe'}{shown} is not possible: {message}")


def _known_keys(place: tuple[int | str, ...]) -> list[str]:
    """The field names of the part of a recipe that `place` points to."""
    if not place:
        return [*StudyRecipe.model_fields, *TASKS]
    part: Any = StudyRecipe
    for key in place:
        if part is StudyRecipe and key == "tasks":
            part = dict
        elif part is dict:
            part = TaskRecipe
        else:
            part = part.model_fields[str(key)].annotation
            part = next((one for one in get_args(part) if hasattr(one, "model_fields")), part)  # X | None
    return list(part.model_fields) if hasattr(part, "model_fields") else list(TASKS)
