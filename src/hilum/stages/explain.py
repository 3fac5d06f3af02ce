"""Explanations of one task's model: maps of chosen images, filters, and how faithful all of it is.

The stage is a list of parts, each a key of attributions/figures.json. Finished parts are kept in parts.json, so
a stage that was stopped goes on; a part that can't be done is a sentence in figures.json, never a lost stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from hilum.config import Config
from hilum.explain.config import FaithfulnessConfig, LayersConfig, OcclusionConfig, SynthesisConfig
from hilum.stages.contract import Context, Stage

if TYPE_CHECKING:
    from hilum.artifacts import explanations as found
    from hilum.artifacts.explanations import Explanations as Figures
    from hilum.explain.faithfulness.explainers import Explainer
    from hilum.explain.job import Job
    from hilum.explain.maps import PreparedImage

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
"""The default; the first of each kind stands in the report's rows of pictures."""

CAMS = ("grad_cam", "layer_cam")
"""Quick enough for many images: the first of them that the recipe names is made for the mistakes, too."""


class ExplainConfig(Config):
    """Which explanations of each task's model are made.

    `methods`: files of hilum/explain/methods or dotted modules, each with its options. `cases_per_class`: images
    shown for each label. `mistakes`: of each class, the most confident first, shown with a map. `layer`: the
    convolution whose filters are shown; None: the latest that sees at most half of the image. `filters` x
    `images`: the grid of strongest activations. `scan`: how many images, drawn at random, are searched for
    them; None: all.
    """

    methods: dict[str, dict[str, Any]] = Field(default_factory=lambda: {name: {} for name in METHODS})
    cases_per_class: int = Field(default=1, ge=1)
    mistakes: int = Field(default=5, ge=0)
    occlusion: OcclusionConfig = OcclusionConfig()
    layer: str | None = None
    filters: int = Field(default=5, ge=1)
    images: int = Field(default=10, ge=1)
    scan: int | None = Field(default=None, ge=1)
    synthesis: SynthesisConfig = SynthesisConfig()
    faithfulness: FaithfulnessConfig = FaithfulnessConfig()
    layers: LayersConfig = LayersConfig()
    seed: int = Field(default=0, ge=0)

    @field_validator("methods", mode="before")
    @classmethod
    def _names_alone_will_do(cls, given: Any) -> Any:
        if isinstance(given, list | tuple) and all(isinstance(name, str) for name in given):
            return {name: {} for name in given}
        if isinstance(given, dict):
            return {name: options or {} for name, options in given.items()}
        return given

    def options(self, method: str, size: tuple[int, int]) -> dict[str, Any]:
        """All options of a method on images of `size`: those of the recipe with its mask and its layer.

        >>> ExplainConfig().options("occlusion", (96, 96))
        {'mask': 41, 'fill': 'zero'}
        """
        from hilum.explain.maps import options_of

        return options_of(method, self.methods.get(method, {}), size, self.occlusion, self.layer)


def check(config: ExplainConfig, recipes: Sequence[Any]) -> None:
    """RecipeError for a method or an option that does not exist, or a mask that does not fit the images of one
    of the tasks' recipes.

    >>> check(ExplainConfig(methods=["grad_cma"]), [])
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: attribution method 'grad_cma' is not known; did you mean 'grad_cam'?
    """
    from hilum.explain.attribution import check_options
    from hilum.explain.maps import mask_side

    for name, options in config.methods.items():
        check_options(name, options)
    for recipe in recipes:
        mask_side(config.occlusion, recipe.pixels.size)


def run(context: Context, config: ExplainConfig) -> None:
    """Writes attributions/ of one task.

    RecipeError for a method that does not exist or a mask that does not fit, ModelError for a layer that the
    model does not have; RunError without predictions of these weights.
    """
    from hilum.artifacts.explanations import Explanations as Figures

    job = _job(context, config)
    figures = Figures(
        schema_version=Figures.SCHEMA,
        weights_digest=job.weights_digest,
        task=job.task.name,
        classes=list(job.task.classes),
        images=_images(job, config),
    )
    for name, title, make in PARTS:
        try:
            value = make(job, config, figures)
        except Exception as error:  # whatever a method stumbles over must not cost the others
            job.fail(title, error)
        else:
            setattr(figures, name, value)
    figures.failures = job.failures
    figures.save(job.folder.figures_file)


def _job(context: Context, config: ExplainConfig) -> Job:
    """Opens model, images and predictions."""
    from hilum.data.cache import ImageCache
    from hilum.data.split import used_cases
    from hilum.explain.job import Job
    from hilum.explain.network.convolutions import chosen_layer
    from hilum.explain.parts import FinishedParts
    from hilum.inference.runtimes.torch import choose_device

    model = context.folder.load_model()
    check(config, [model])
    layer = chosen_layer(model, config.layer)
    folder = context.folder.attributions
    base = [STAGE.version, model.weights_digest, context.cases.digest]
    return Job(
        model.to(choose_device()),
        context.this_task,
        context.folder.predictions(),
        context.cases,
        context.split,
        ImageCache.of(used_cases(context.cases, context.split), model.pixels),
        folder,
        layer,
        FinishedParts(folder.parts_file, base, context.force),
    )


def _images(job: Job, config: ExplainConfig) -> list[found.ExplainedImage]:
    """The images to explain, with the model's probabilities."""
    from hilum.artifacts import explanations as found
    from hilum.explain.images import choose_images

    table = choose_images(job.predictions, job.task.classes, config.cases_per_class, config.mistakes)
    kept = ("case_id", "patient", "split", "label", "target", "predicted", "target_class")
    return [
        found.ExplainedImage(
            role=row["role"],
            **{key: str(row[key]) for key in kept},
            probabilities={name: float(row[f"prob_{name}"]) for name in job.task.classes},
        )
        for _, row in table.iterrows()
    ]


def _wanted(part: OcclusionConfig | SynthesisConfig, job: Job) -> bool:
    """Whether a part is made of the job's task."""
    return part.tasks is None or job.task.name in part.tasks


# -- maps ----------------------------------------------------------------------------------------------------


def _occlusion(job: Job, config: ExplainConfig, figures: Figures) -> dict[str, found.OcclusionMap]:
    """Raw occlusion maps of the examples; none where the settings leave this task out."""
    from hilum.explain.maps import probability_map
    from hilum.progress import advancing

    maps = {}
    for row in figures.examples if _wanted(config.occlusion, job) else ():
        image = job.image(row.case_id, row.target_class)
        with advancing(f"{job.task.name}: occlusion of {row.case_id}") as advance:
            maps[row.case_id] = probability_map(
                job.folder, job.parts, job.model, image, config.occlusion, config.seed, advance
            )
    return maps


def _maps(job: Job, config: ExplainConfig, figures: Figures) -> dict[str, found.MethodMaps]:
    """A map per method and example; for the mistakes the quickest method alone."""
    from hilum.progress import advancing

    quick = next((name for name in CAMS if name in config.methods), None)
    maps = {}
    with advancing(f"{job.task.name}: attributions") as advance:
        for done, name in enumerate(config.methods, start=1):
            rows = figures.images if name == quick else figures.examples
            method = _method_maps(job, name, config.options(name, job.model.pixels.size), rows)
            if method.images:
                maps[name] = method
            advance(done, len(config.methods))
    return maps


def _method_maps(
    job: Job, name: str, options: dict[str, Any], rows: Sequence[found.ExplainedImage]
) -> found.MethodMaps:
    """The maps of one method, up to the first image on which it fails."""
    from hilum.artifacts import explanations as found
    from hilum.explain.attribution import load_method
    from hilum.explain.maps import method_map

    module = load_method(name)
    made = found.MethodMaps(title=module.TITLE, source=module.SOURCE, signed=module.SIGNED, images={})
    for row in rows:
        image = job.image(row.case_id, row.target_class)
        try:
            made.images[row.case_id] = method_map(job.folder, job.parts, job.model, image, name, options)
        except Exception as error:
            job.fail(f"{module.TITLE} for {row.case_id}", error)
            break
    return made


# -- faithfulness --------------------------------------------------------------------------------------------


def _faithfulness(job: Job, config: ExplainConfig, figures: Figures) -> found.Faithfulness | None:
    """Every figure for every method, on the examples and on further held-out images."""
    from hilum.artifacts import explanations as found
    from hilum.explain.faithfulness.table import faithfulness_table
    from hilum.progress import advancing

    options, methods = _methods(job, config, figures)
    if not config.faithfulness.images or not methods:
        return None
    images, steps = _sampled(job, config, figures), config.faithfulness.steps

    def make() -> found.Faithfulness:
        with advancing(f"{job.task.name}: faithfulness of the maps") as advance:
            inputs = {image.case_id: (image.x, image.target) for image in images}
            return faithfulness_table(
                job.model, inputs, methods, steps, 2 * steps, config.seed, advance, _patients(job)
            )

    depends = [[image.key for image in images], options, steps, config.seed]
    return job.parts.get("faithfulness", found.Faithfulness, depends, make)


def _truth(job: Job, config: ExplainConfig, figures: Figures) -> found.Truth | None:
    """On phantom images of the binary task: how well each method finds the lesion."""
    from hilum.artifacts import explanations as found
    from hilum.explain.faithfulness.explainers import BASELINES
    from hilum.explain.faithfulness.phantoms import phantom_lesions, truth_table
    from hilum.explain.images import held_out
    from hilum.progress import advancing

    options, methods = _methods(job, config, figures)
    count = config.faithfulness.truth
    if not count or not methods or not job.is_phantom or job.task.name != "binary":
        return None

    def make() -> found.Truth:
        split = held_out(job.predictions)
        images = phantom_lesions(job.cases, job.split, job.model, split, count, config.seed)
        with advancing(f"{job.task.name}: maps beside known lesions") as advance:
            return truth_table(
                job.model, images, {**methods, **BASELINES}, seed=config.seed, progress=advance
            )

    return job.parts.get("truth", found.Truth, [count, options, config.seed], make)


def _lungs(job: Job, config: ExplainConfig, figures: Figures) -> found.Lungs | None:
    """Which share of each map lies inside the lungs, on the images of `_faithfulness`."""
    from hilum.artifacts import explanations as found
    from hilum.data.decode import read_grey
    from hilum.explain.faithfulness.inside_lungs import lung_shares

    options, methods = _methods(job, config, figures)
    if not config.faithfulness.images or not methods:
        return None
    images = _sampled(job, config, figures)
    paths = job.cases.table.set_index("case_id")["path"]

    def make() -> found.Lungs:
        pairs = [(image, read_grey(paths[image.case_id])) for image in images]
        return lung_shares(job.model, pairs, methods, _patients(job))

    return job.parts.get("lungs", found.Lungs, [[image.key for image in images], options], make)


def _patients(job: Job) -> dict[str, str]:
    """The patient of each case."""
    return dict(zip(job.cases.table["case_id"], job.cases.table["patient"], strict=True))


def _methods(
    job: Job, config: ExplainConfig, figures: Figures
) -> tuple[dict[str, dict[str, Any]], dict[str, Explainer]]:
    """The methods whose maps could be made: their options, and as functions."""
    from hilum.explain.faithfulness.explainers import explainers

    options = {name: config.options(name, job.model.pixels.size) for name in figures.maps}
    return options, explainers(options)


def _sampled(job: Job, config: ExplainConfig, figures: Figures) -> list[PreparedImage]:
    """The examples first, then images drawn at random."""
    from hilum.explain.images import sample_images

    count = config.faithfulness.images
    sample = sample_images(job.predictions, count, config.seed)
    classes = {row.case_id: row.target_class for row in figures.examples}
    for case_id, name in zip(sample["case_id"], sample["target_class"], strict=True):
        classes.setdefault(case_id, name)
    return [job.image(case_id, name) for case_id, name in list(classes.items())[:count]]


# -- filters and layers --------------------------------------------------------------------------------------


def _maximal(job: Job, config: ExplainConfig, figures: Figures) -> found.Maximal:
    from hilum.explain.filter_parts import maximal

    return maximal(job, config.filters, config.images, config.scan, config.seed)


def _ablation(job: Job, config: ExplainConfig, figures: Figures) -> found.Ablation | None:
    from hilum.explain.filter_parts import ablation

    count = config.layers.ablation
    return ablation(job, count, config.seed) if count else None


def _probes(job: Job, config: ExplainConfig, figures: Figures) -> found.Probes | None:
    from hilum.explain.filter_parts import probes

    count = config.layers.probes
    return probes(job, count, config.seed) if count else None


def _concepts(job: Job, config: ExplainConfig, figures: Figures) -> found.Concepts | None:
    from hilum.explain.filter_parts import concepts

    count = config.layers.concepts
    return concepts(job, count, config.seed) if count and job.is_phantom else None


def _synthesis(job: Job, config: ExplainConfig, figures: Figures) -> found.Synthesis | None:
    from hilum.explain.filter_parts import synthesis

    if not (config.synthesis.filters and _wanted(config.synthesis, job)):
        return None
    first = figures.maximal.filters if figures.maximal else []  # those with pictures, then others
    return synthesis(job, figures.images[0].case_id, first, config.synthesis, config.seed)


PARTS: tuple[tuple[str, str, Callable[[Job, ExplainConfig, Figures], Any]], ...] = (
    ("occlusion", "occlusion maps", _occlusion),
    ("maps", "attribution maps", _maps),
    ("faithfulness", "faithfulness of the maps", _faithfulness),
    ("truth", "the comparison with known lesions", _truth),
    ("lungs", "the share inside the lungs", _lungs),
    ("maximal", "strongest activations", _maximal),
    ("ablation", "ablation of filters", _ablation),
    ("probes", "probes by layer", _probes),
    ("concepts", "concepts", _concepts),
    ("synthesis", "synthesised inputs", _synthesis),
)
"""Key of figures.json, its name in a sentence, and how it is made; later parts may read earlier ones."""

STAGE = Stage(
    name="explain",
    about="Attribution maps, filters, and the faithfulness of both.",
    config=ExplainConfig,
    run=run,
    needs=("train", "evaluate"),
    artifacts=("attributions/figures.json",),
    check=check,
    version=3,
)
