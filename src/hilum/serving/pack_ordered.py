"""What the card of a packed model says of images in the look of other devices, and of images held out by order."""

from pathlib import Path
from typing import Any

from hilum.artifacts.card import ModelCard, PackedCounterfactual, PackedOrdered
from hilum.errors import RunError
from hilum.folders import TaskFolder
from hilum.run import Run
from hilum.training.config import TaskRecipe

SCHEME = "ordered"


def trained(run: Run, task: str) -> TaskFolder:
    """The folder of a task that the run has trained; RunError for another.

    >>> import tempfile
    >>> from hilum.artifacts.run import RunFacts
    >>> with tempfile.TemporaryDirectory() as place:
    ...     trained(Run.create(place, RunFacts(), {"tasks": {}}), "binary")
    Traceback (most recent call last):
    hilum.errors.RunError: ... has no trained task 'binary'; name another run or --task
    """
    if task not in run.tasks:
        raise RunError(f"{run.path} has no trained task {task!r}", "name another run or --task")
    return run.task(task)


def in_the_other_look(folder: TaskFolder) -> PackedCounterfactual | None:
    """Figures in the look of the other label's devices; None where the stage has not run.

    >>> in_the_other_look(TaskFolder(Path("nowhere"))) is None
    True
    """
    return PackedCounterfactual(**_swapped(folder)) if folder.counterfactual_file.exists() else None


def add_ordered(run: Run, task: str, out: Path) -> ModelCard:
    """Adds to the card of the model packed in `out` what the same recipe reaches on the split `ordered`, which holds
    out the patients with the lowest case numbers of each series of names; gives the card back.

    RunError where the run has another split or another recipe than the packed model, or no figures.

    >>> import tempfile
    >>> from hilum.artifacts.run import RunFacts
    >>> with tempfile.TemporaryDirectory() as place:
    ...     add_ordered(Run.create(place, RunFacts(), {"tasks": {}}), "binary", Path("out"))
    Traceback (most recent call last):
    hilum.errors.RunError: ... has no trained task 'binary'; name another run or --task
    """
    folder, file = trained(run, task), out / "model.json"
    card, recipe = ModelCard.load(file), run.recipe()["tasks"][task]
    if recipe["split"]["scheme"] != SCHEME:
        raise RunError(
            f"{run.path} has the split {recipe['split']['scheme']!r}",
            f"train with --set {task}.split.scheme={SCHEME}",
        )
    known = card.recipe_in_full
    if known is None or _without_split(recipe) != _without_split(known):
        raise RunError(
            f"{run.path} has another recipe than {file}", "train with the recipe_in_full of that card"
        )
    if not folder.counterfactual_file.exists():
        raise RunError(f"{folder.counterfactual_file} is missing", f"hilum counterfactual {run.path}")
    figures = _swapped(folder)
    accuracy = folder.metrics()[figures["split"]].accuracy
    card = card.model_copy(update={"ordered": PackedOrdered(**figures, accuracy=accuracy)})
    card.save(file)
    return card


def _without_split(recipe: dict[str, Any]) -> TaskRecipe:
    """Settings that a card of before did not have yet are as they are by default."""
    return TaskRecipe.model_validate({**recipe, "split": {}})


def _swapped(folder: TaskFolder) -> dict[str, Any]:
    figures = folder.counterfactual()
    return {
        "images": figures.images,
        "patients": figures.patients,
        "split": figures.split,
        "fixed": figures.fixed,
        "auroc": figures.plain.auroc,
        "auroc_swapped": figures.all_parts.auroc,
        "specificity": figures.plain.specificity_at_fixed,
        "specificity_swapped": figures.all_parts.specificity_at_fixed,
    }
