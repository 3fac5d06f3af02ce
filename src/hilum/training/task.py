"""train_task: one task of a recipe, from cases and split to a model folder."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from hilum.artifacts.card import ModelFacts, TrainingData
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.multilabel import targets
from hilum.data.split import Split, used_cases
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.folders import TaskFolder
from hilum.progress import advancing
from hilum.training.config import TaskRecipe
from hilum.training.counterfactual import Counterfactuals, is_monitored
from hilum.training.fit import fit_task
from hilum.training.loader import ImageSet
from hilum.training.module import Scorer
from hilum.training.processes import current

INTENDED_USE = "Research and teaching only. Not a medical device; not for diagnosis or treatment of people."

Score = Callable[[pd.DataFrame, tuple[str, ...]], dict[str, float]]
"""Predictions (case_id, patient, target, prob_<class>) and classes -> figures by name, for example
hilum.evaluation.scores.validation_figures."""


def train_task(
    folder: TaskFolder,
    cases: Cases,
    split: Split,
    task: Task,
    recipe: TaskRecipe,
    name: str,
    score: Score,
    cache: ImageCache | None = None,
) -> None:
    """Writes model/ and history.csv of a task unless its model is already there.

    `name`: of the recipe, for the model's card; `score`: figures of the validation images after each epoch;
    `cache`: all cases at the recipe's size, where they are decoded already. DataError when a class is missing
    in train or val.
    """
    if folder.card_file.exists():
        return
    used = used_cases(cases, split.of)  # test images too: one cache serves training and evaluation
    if cache is None:
        with current().first_goes_ahead(), advancing(f"{task.name}: decoding") as advance:
            cache = ImageCache.of(used, recipe.pixels.contract(0.5, 0.25), advance)
    rows = {part: used.table[used.table["case_id"].map(split.of) == part] for part in ("train", "val")}
    sets = _image_sets(cache, rows, task, recipe)
    _check_classes(sets, task)
    data = TrainingData(
        source=cases.source,
        digest=cases.digest,
        notes=list(cases.notes),
        patients={part: int(table["patient"].nunique()) for part, table in rows.items()},
    )
    facts = ModelFacts(recipe=name, data=data, split=split.facts(), intended_use=INTENDED_USE, threshold=None)
    if task.kind == "multi":
        facts = facts.model_copy(update={"kind": task.kind})
    scorer = _scorer(rows["val"].reset_index(drop=True), task, score)
    swapped = None
    if is_monitored(recipe.training.monitor):
        swapped = Counterfactuals.of(used, split.of, task, sets["val"].pixels, score)
    fit_task(folder, recipe, task, sets["train"], sets["val"], scorer, facts, counterfactuals=swapped)


def _image_sets(
    cache: ImageCache, rows: Mapping[str, pd.DataFrame], task: Task, recipe: TaskRecipe
) -> dict[str, ImageSet]:
    """Images of train and val with the mean and sd of train."""
    pixels = recipe.pixels.contract(*cache.mean_sd(rows["train"]["case_id"].tolist()))
    return {
        part: ImageSet(
            cache,
            table["case_id"].tolist(),
            _targets(table, task, recipe, part),
            pixels,
        )
        for part, table in rows.items()
    }


def _targets(table: pd.DataFrame, task: Task, recipe: TaskRecipe, part: str) -> np.ndarray:
    """int64 "cases", the index of the class; or float32 "cases findings", where only training has a rule for what is
    uncertain."""
    if task.kind == "single":
        return table["label"].map(task.index).to_numpy(np.int64)
    return targets(table, task.classes, recipe.uncertain if part == "train" else "not_stated")


def _scorer(val: pd.DataFrame, task: Task, score: Score) -> Scorer:
    """`score` for probabilities at positions in `val`."""

    def scored(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
        table = val.iloc[positions][["case_id", "patient"]].reset_index(drop=True)
        if task.kind == "multi":
            table[[f"target_{name}" for name in task.classes]] = targets(val.iloc[positions], task.classes)
        else:
            table["target"] = val["label"].iloc[positions].map(dict(task.class_of)).to_numpy()
        for column, name in enumerate(task.classes):
            table[f"prob_{name}"] = probabilities[:, column]
        return score(table, task.classes)

    return scored


def _check_classes(sets: Mapping[str, ImageSet], task: Task) -> None:
    if task.kind == "multi":
        return  # the stage prepare has looked at them
    for part, images in sets.items():
        for index, name in enumerate(task.classes):
            if not (images.targets == index).any():
                raise DataError(
                    f"split {part} of task {task.name!r} has no case of class {name!r}",
                    "choose another split",
                )
