"""One training of a comparison: a cell, a seed and a fold. What is finished is not done again."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.comparison import Scores, TrainingResult
from hilum.comparison.counterfactual import held_out_auroc
from hilum.comparison.folds import HELD
from hilum.comparison.grid import Cell
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import Split
from hilum.data.tasks import Task
from hilum.errors import HilumError, RunError
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.scores import key_figures, validation_figures
from hilum.files import digest, read_json, read_table, write_json, write_table
from hilum.folders import PREDICTION_NAMES, TaskFolder
from hilum.inference.forward import logits_of, softmax
from hilum.progress import advancing
from hilum.training.config import TaskRecipe
from hilum.training.task import train_task

METRICS = ("accuracy", "balanced_accuracy", "auroc", "average_precision", "brier", "log_loss")


@dataclass(frozen=True)
class Training:
    """What one training is made of, and where it goes. `name` is for people; `counterfactual`: see Grid."""

    name: str
    folder: Path
    recipe: TaskRecipe
    split: Split
    cases: Cases
    task: Task
    counterfactual: int = 0

    @property
    def digest(self) -> str:
        """Names everything that the result hangs on: recipe, task, data and split, as 32 hexadecimal digits."""
        parts = self.split.of.sort_index()
        return digest(
            self.recipe.model_dump_json(),
            self.task.name,
            self.cases.digest,
            *([f"counterfactual {self.counterfactual}"] if self.counterfactual else []),
            *(f"{case} {part}" for case, part in parts.items()),
        )

    @property
    def figures_file(self) -> Path:
        """figures.json in the folder of the training, written last: where it lies, the training is finished."""
        return self.folder / "figures.json"

    @property
    def predictions_file(self) -> Path:
        """predictions.csv in the folder of the training: a row per held-out case, and per test case where the source
        declares a test part."""
        return self.folder / "predictions.csv"


Job = tuple[int, Training]
"""A training with its number among all of a comparison."""

Look = Callable[[Iterable[Training]], None]
"""Called now and then with the trainings that run, to show how far they are."""


def with_seed(recipe: TaskRecipe, seed: int) -> TaskRecipe:
    """The recipe with another seed of the training.

    >>> from hilum.recipe import load_recipe
    >>> with_seed(load_recipe("quick").tasks["binary"], 7).training.seed
    7
    """
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})


def training_of(
    cell: Cell,
    seed: int,
    fold: int,
    split: Split,
    cases: Cases,
    task: Task,
    out: Path,
    counterfactual: int = 0,
) -> Training:
    """The training of one cell, seed and fold, with the cell's recipe at that seed. Its folder is named after them:
    seed 1, fold 0 of the cell vgg lie in out/cells/vgg/seed1-fold0.
    """
    folder = out / "cells" / cell.folder / f"seed{seed}-fold{fold}"
    name = f"{cell.name}, seed {seed}, fold {fold}"
    return Training(name, folder, with_seed(cell.recipe, seed), split, cases, task, counterfactual)


def finished(training: Training) -> TrainingResult | None:
    """figures.json of a training that is done and was made of the very same things; else None: where a file of the
    training is missing, damaged or of another version, or where its recipe, task, data or split were others.
    """
    if not (training.figures_file.exists() and training.predictions_file.exists()):
        return None
    try:
        result = TrainingResult.load(training.figures_file)
    except RunError:  # damaged, or of another version: trained again
        return None
    return result if result.digest == training.digest else None


def predictions(training: Training) -> pd.DataFrame:
    """What `run` wrote: case_id, patient, split ("held" or "test"), label, target, predicted, prob_<class>,
    threshold."""
    return read_table(training.predictions_file, **dict.fromkeys(PREDICTION_NAMES, str))


def run(training: Training) -> TrainingResult:
    """Trains unless it is done, scores the held-out fold, and gives the figures back.

    A training that was cut off goes on after its last epoch; one that was made of other things is thrown
    away. Weights and checkpoints are removed at the end.
    """
    known = finished(training)
    if known is not None:
        return known
    _clear_foreign(training)
    cache = cache_of(training.cases, training.recipe)
    folder = TaskFolder(training.folder)
    train_task(
        folder,
        training.cases,
        training.split,
        training.task,
        training.recipe,
        training.name,
        validation_figures,
        cache,
    )
    table = _predict(training, folder, cache)
    write_table(training.predictions_file, table)
    result = _result(training, folder, table)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    shutil.rmtree(folder.model_folder, ignore_errors=True)
    result.save(training.figures_file)
    return result


def cache_of(cases: Cases, recipe: TaskRecipe) -> ImageCache:
    """uint8 images "cases rows cols" at the recipe's size, decoded at most once for all cells, seeds, folds and
    later commands. UnreadableFiles when some can't be decoded."""
    with advancing("decoding") as advance:
        return ImageCache.of(cases, recipe.pixels.contract(0.5, 0.25), advance)


def attempt(training: Training) -> str | None:
    """`run`, and why it failed, in a sentence; None where it did not.

    >>> from unittest.mock import patch
    >>> with patch("hilum.comparison.train.run", side_effect=RuntimeError("out of memory")):
    ...     attempt(object.__new__(Training))
    'RuntimeError: out of memory'
    """
    try:
        run(training)
    except Exception as error:  # whatever it is, the other trainings go on
        return failure(error)
    return None


def failure(error: Exception) -> str:
    """One sentence about why a training failed; hilum's own errors are one already.

    >>> failure(RuntimeError("out of memory"))
    'RuntimeError: out of memory'
    """
    if isinstance(error, HilumError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _clear_foreign(training: Training) -> None:
    """An unfinished training of other things must not be gone on with."""
    mark = training.folder / "training.json"
    try:
        same = mark.exists() and read_json(mark).get("digest") == training.digest
    except RunError:
        same = False
    if not same:
        shutil.rmtree(training.folder, ignore_errors=True)
        write_json(mark, {"digest": training.digest, "name": training.name})


def _predict(training: Training, folder: TaskFolder, cache: ImageCache) -> pd.DataFrame:
    """Probabilities of the held-out images and of the declared test images; the threshold comes from val."""
    table, task = training.cases.table, training.task
    part = table["case_id"].map(training.split.of)
    part = part.mask((table["split"] == "test") & (part == "unused"), "test")
    inside = part.isin(["val", HELD, "test"])
    rows = table.loc[inside, ["case_id", "patient", "label"]].reset_index(drop=True)
    rows.insert(2, "split", part[inside].to_numpy())
    rows["target"] = rows["label"].map(dict(task.class_of))
    model, positions = folder.load_model(), cache.rows(rows["case_id"].tolist())
    probabilities = softmax(logits_of(model, cache.images, positions, f"{task.name}: predicting"))
    threshold = _threshold(probabilities, rows, training)
    rows["predicted"] = predicted_classes(probabilities, task.classes, threshold)
    for column, name in enumerate(task.classes):
        rows[f"prob_{name}"] = probabilities[:, column]
    rows["threshold"] = threshold
    return rows[rows["split"] != "val"].reset_index(drop=True)


def _threshold(probabilities: np.ndarray, rows: pd.DataFrame, training: Training) -> float | None:
    """The operating point of two classes, chosen on val."""
    if len(training.task.classes) != 2:
        return None
    val = (rows["split"] == "val").to_numpy()
    abnormal = (rows["target"] == training.task.classes[1]).to_numpy()
    return float(choose_threshold(probabilities[val, 1], abnormal[val], training.recipe.threshold))


def _result(training: Training, folder: TaskFolder, table: pd.DataFrame) -> TrainingResult:
    card = folder.card()
    facts = card.training
    assert facts is not None and facts.seconds is not None  # fit_task writes them
    assert card.parameters is not None and facts.best_metric is not None
    held = _scores(table[table["split"] == HELD], training.task)
    if held is None:
        raise RunError(f"{training.name}: no image is held out", "choose other folds")
    return TrainingResult(
        digest=training.digest,
        parameters=card.parameters,
        seconds=facts.seconds,
        epochs=facts.epochs,
        best_epoch=facts.best_epoch,
        val=facts.best_metric,
        device=facts.device,
        held=held,
        test=_scores(table[table["split"] == "test"], training.task),
        counterfactual_auroc=_counterfactual(training, folder),
    )


def _counterfactual(training: Training, folder: TaskFolder) -> Figure | None:
    if not training.counterfactual:
        return None
    model = folder.load_model()
    return held_out_auroc(model, training.cases, training.split.of, training.task, training.counterfactual)


def _scores(table: pd.DataFrame, task: Task) -> Scores | None:
    """The figures of one part; None where it has no images."""
    if table.empty:
        return None
    threshold = table["threshold"].iloc[0] if len(task.classes) == 2 else None
    return Scores(n=len(table), **key_figures(table, task.classes, METRICS, threshold))
