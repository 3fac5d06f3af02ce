"""The seed report's figures 1 to 6, each beside this run's; for runs of the recipe `seed` alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from markupsafe import Markup

from hilum.report.embedding.classifiers import Confusion, confusions
from hilum.report.embedding.explorer import on_the_map
from hilum.report.embedding.plots import stills
from hilum.report.embedding.projections import map_names
from hilum.report.embedding.task import TaskEmbedding, task_embedding
from hilum.report.explanations.filters import MaximalView, SynthesisView, maximal, synthesised
from hilum.report.explanations.positions import RawMaps, raw_maps
from hilum.report.explanations.reading import TaskExplanations, raw_colours, read_explanations
from hilum.report.performance.plots import training_curve
from hilum.report.performance.tables import card
from hilum.report.published import Comparison, comparison
from hilum.report.results import Results, results
from hilum.report.section import Section
from hilum.run import Run

View = TypeVar("View")

ANCHOR, TITLE, RECIPE = "seed-report", "The seed report, figure by figure", "seed"

CLASSIFIERS = ("head", "knn_seed")
"""What the seed report has confusion matrices of."""

NETWORK_ROWS = ("Network", "Parameters", "Pixels", "Trained on", "Epochs", "Time", "Device, precision")

PUBLISHED_NETWORKS = {
    "binary": (
        "Figure 1",
        "A network of the VGG family with layer sizes of its own, Adam at 0.0001 that falls on a plateau, classes"
        " balanced by leaving images out, about 30 minutes on a P100. No accuracy is given.",
    ),
    "multiclass": (
        "Figure 2",
        "ResNet34 with GELU and an embedding of 1,000 dimensions, AdamW at 0.001 with warm-up and cosine, 20 epochs,"
        " 4,816 training and 416 validation images, about 9 minutes on a P100.",
    ),
}


@dataclass(frozen=True)
class Network:
    """One network of the seed report, `figure` there, and this run's: rows of a table."""

    figure: str
    title: str
    theirs: str
    ours: Sequence[tuple[str, str]]
    comparison: Comparison | None


@dataclass(frozen=True)
class Pictures:
    """Figures 3 to 6 of this run; None or empty where the stage has not run."""

    curves: list[Markup]
    matrices: list[Confusion]
    maps: list[Markup]
    positions: RawMaps | None
    maximal: MaximalView | None
    synthesised: SynthesisView | None


def make(run: Run) -> Section | None:
    """The section; None for a run of another recipe, or of data that the seed report has no figures for.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    tasks = [task for name in PUBLISHED_NETWORKS if (task := results(run, name)) is not None]
    tasks = [task for task in tasks if task.card.recipe == RECIPE and task.baseline is not None]
    if not tasks:
        return None
    values = {
        "networks": [_network(task) for task in tasks],
        "pictures": _pictures(run, tasks),
        "missing": [name for name in PUBLISHED_NETWORKS if name not in {task.task for task in tasks}],
        "raw_bar": raw_colours(),
    }
    return Section(ANCHOR, TITLE, "seed_report/template.html", values)


def _network(task: Results) -> Network:
    figure, theirs = PUBLISHED_NETWORKS[task.task]
    rows = [(name, value) for name, value in card(task) if name in NETWORK_ROWS]
    return Network(figure, task.title, theirs, rows, comparison(task))


def _pictures(run: Run, tasks: Sequence[Results]) -> Pictures:
    three = next((task for task in tasks if task.task == "multiclass"), None)
    embedding = task_embedding(run, "multiclass") if three else None
    explained = read_explanations(run, "binary") if any(task.task == "binary" for task in tasks) else None
    return Pictures(
        curves=_curves(three) if three else [],
        matrices=confusions(embedding, CLASSIFIERS) if embedding else [],
        maps=_maps(embedding) if embedding else [],
        positions=_of(explained, raw_maps),
        maximal=_of(explained, maximal),
        synthesised=_of(explained, synthesised),
    )


def _of(explained: TaskExplanations | None, view: Callable[[TaskExplanations], View | None]) -> View | None:
    return view(explained) if explained else None


def _curves(task: Results) -> list[Markup]:
    best = task.card.training.best_epoch if task.card.training else None
    return [
        training_curve(task.history, key, best, f"seed-report-{key}")
        for key in ("loss", "accuracy")
        if f"val_{key}" in task.history
    ]


def _maps(embedding: TaskEmbedding) -> list[Markup]:
    """t-SNE as in the seed report; no other projection stands for it."""
    if "tsne" not in map_names(embedding):
        return []
    title = embedding.figures.projections["tsne"].title
    return stills(on_the_map(embedding.images), "tsne", title, embedding.figures.classes)
