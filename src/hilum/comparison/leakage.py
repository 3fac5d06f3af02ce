"""Leakage: how much a figure changes when images of one patient are on both sides of a split.

One recipe is trained and scored in up to three ways:

    patient    folds that keep patients apart
    image      folds split by image, so that images of one patient, and copies of one image, are on both sides
    official   the networks of the first way, scored on the declared test part; where the source declares one

Both kinds of folds hold out every image once, so the first two ways are scored on the very same images, and
their difference is paired: an interval over patients in which what the two have in common cancels. The
official part holds other patients; its difference is that of two independent samples. It is scored by each
network alone, never by their mean, which would be better than any of them.

What a difference says: with this network, this many epochs and this many images per patient, leakage changes the
figure by so much. A larger network that is trained for longer remembers patients better. An interval around zero
says that leakage was not seen, not that a split by image would be sound.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.leakage import Leakage, Official, Shared, Way
from hilum.comparison import train
from hilum.comparison.folds import HELD, held_out, held_out_by_image
from hilum.comparison.table import at_half, is_correct, paired_difference, pooled, pooled_figures
from hilum.data.cases import Cases
from hilum.data.split import Split
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.evaluation.shares import minus, share_figure, share_interval
from hilum.folders import LeakageFolder
from hilum.progress import say
from hilum.training.config import TaskRecipe


def measure_leakage(
    folder: LeakageFolder,
    cases: Cases,
    task: Task,
    recipe: TaskRecipe,
    folds: int = 2,
    replicates: int = 2000,
    seeds: Sequence[int] = (0,),
) -> Leakage:
    """Trains what is missing, writes figures.json and gives it back.

    DataError when the source knows no patient with two images, because then nothing can leak, or too few
    patients for the folds.

    >>> from pathlib import Path
    >>> from hilum.data.tasks import task
    >>> from hilum.recipe import load_recipe
    >>> cases = Cases.checked(
    ...     pd.DataFrame({"case_id": ["a", "b"], "path": "x.png", "label": ["normal", "virus"],
    ...                   "patient": ["p", "q"], "split": "", "digest": "0"}), "table", Path("."))
    >>> recipe = load_recipe("quick").tasks["binary"]
    >>> measure_leakage(LeakageFolder(Path("new")), cases, task("binary", cases.labels), recipe)
    Traceback (most recent call last):
    hilum.errors.DataError: no patient has two images outside the test part, so that a split by image leaks
    nothing; a source that names patients is needed, e.g. a table with a column 'patient'
    """
    outside = cases.table[cases.table["split"] != "test"]
    if not outside["patient"].duplicated().any():
        raise DataError(
            "no patient has two images outside the test part, so that a split by image leaks nothing",
            "a source that names patients is needed, e.g. a table with a column 'patient'",
        )
    splits = {
        "patient": [held_out(cases, 0, fold, folds) for fold in range(folds)],
        "image": [held_out_by_image(cases, 0, fold, folds) for fold in range(folds)],
    }
    trainings = {
        way: _trainings(folder, way, parts, cases, task, recipe, seeds) for way, parts in splits.items()
    }
    say(f"  leakage: {sum(map(len, trainings.values()))} short trainings")
    tables = {}
    for way, each in trainings.items():
        for training in each:
            train.run(training)
        tables[way] = pooled([train.predictions(training) for training in each], task.classes)
    leakage = Leakage(
        task=task.name,
        classes=list(task.classes),
        patient=_way(tables["patient"], splits["patient"], task, replicates),
        image=_way(tables["image"], splits["image"], task, replicates),
        difference=paired_difference(tables["image"], tables["patient"], task.classes, replicates),
        official=_official(trainings["patient"], tables["patient"], task, replicates),
        shared=_shared(cases, splits["image"], tables, task),
        folds=folds,
        seeds=list(seeds),
        replicates=replicates,
        model=recipe.model.name,
        size=recipe.pixels.size,
        epochs=recipe.training.epochs,
        recipe=recipe.model_dump(mode="json"),
    )
    leakage.save(folder.figures_file)
    return leakage


def _trainings(
    folder: LeakageFolder,
    way: str,
    splits: Sequence[Split],
    cases: Cases,
    task: Task,
    recipe: TaskRecipe,
    seeds: Sequence[int],
) -> list[train.Training]:
    """One per seed and fold."""
    return [
        train.Training(
            f"leakage, {way}, seed {seed}, part {fold + 1} of {len(splits)}",
            folder.way(way) / f"seed{seed}-fold{fold}",
            train.with_seed(recipe, seed),
            split,
            cases,
            task,
        )
        for seed in seeds
        for fold, split in enumerate(splits)
    ]


def _way(table: pd.DataFrame, splits: Sequence[Split], task: Task, replicates: int) -> Way:
    figures = pooled_figures(at_half(table, task.classes), task.classes, replicates)
    trained_on = round(float(np.mean([(split.of == "train").sum() for split in splits])))
    return Way(**dict(figures), trained_on=trained_on)


def _official(
    trainings: Sequence[train.Training], clean: pd.DataFrame, task: Task, replicates: int
) -> Official | None:
    """Accuracy on the declared test part (mean over the networks), and that with patients apart minus it:
    other images, so no pairs. None where no test part is declared."""
    tables = [train.predictions(training) for training in trainings]
    tests = [table[table["split"] == "test"].sort_values("case_id", ignore_index=True) for table in tables]
    if tests[0].empty:
        return None
    patients = tests[0]["patient"].to_numpy()
    correct = np.mean([is_correct(table, task.classes) for table in tests], axis=0)
    own = is_correct(clean, task.classes).astype(float)
    there = _accuracy(correct, patients, replicates)
    here = _accuracy(own, clean["patient"].to_numpy(), replicates)
    return Official(
        accuracy=there,
        difference=minus(here, there),
        n_cases=len(correct),
        n_patients=len(np.unique(patients)),
    )


def _accuracy(correct: np.ndarray, patients: np.ndarray, replicates: int) -> Figure:
    """The mean of what is correct, 0 to 1 "cases"; without an interval for 0 replicates."""
    low, high = share_interval(correct, patients) if replicates else (None, None)
    return Figure(value=float(correct.mean()), low=low, high=high)


def _shared(cases: Cases, splits: Sequence[Split], tables: Mapping[str, pd.DataFrame], task: Task) -> Shared:
    """Of the images held out by image: how many had an image of their patient in training, and the accuracy of
    the two ways on these."""
    patient = cases.table.set_index("case_id")["patient"]
    with_patient_in_training: set[str] = set()
    for split in splits:
        trained = set(patient[split.of.index[split.of == "train"]])
        held = split.of.index[split.of == HELD]
        with_patient_in_training |= set(held[patient[held].isin(trained)])
    case_ids = tables["patient"]["case_id"]
    inside = case_ids.isin(with_patient_in_training).to_numpy()
    by_image = tables["image"].set_index("case_id").loc[case_ids].reset_index()
    return Shared(
        n_images=int(inside.sum()),
        n_held=len(inside),
        by_image=_share(by_image[inside], task),
        by_patient=_share(tables["patient"][inside], task),
    )


def _share(table: pd.DataFrame, task: Task) -> Figure:
    """Of the images classified correctly."""
    truth = pd.Index(list(task.classes)).get_indexer(pd.Index(table["target"]))
    probabilities = table[[f"prob_{name}" for name in task.classes]].to_numpy(np.float64)
    scores = probabilities[np.arange(len(table)), truth]
    return share_figure(is_correct(table, task.classes), table["patient"], scores)
