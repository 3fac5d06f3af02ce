"""One training of a comparison: a cell, a seed and a fold. What is finished is not done again."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.comparison.folds import HELD
from hilum.comparison.grid import Cell
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import Split
from hilum.data.tasks import Task
from hilum.errors import HilumError, RunError
from hilum.evaluation.evaluate import evaluate
from hilum.files import digest, read_json, read_table, write_json, write_table
from hilum.run import TaskFolder
from hilum.training.config import TaskRecipe

METRICS = ("accuracy", "balanced_accuracy", "auroc", "average_precision", "brier", "log_loss")


@dataclass(frozen=True)
class Training:
    """What one training is made of, and where it goes. `name` is for people."""

    name: str
    folder: Path
    recipe: TaskRecipe
    split: Split
    cases: Cases
    task: Task
    keep_model: bool = False

    @property
    def digest(self) -> str:
        """Names everything that the result hangs on."""
        parts = self.split.of.sort_index()
        return digest(
            self.recipe.model_dump_json(),
            self.task.name,
            self.cases.digest,
            *(f"{case} {part}" for case, part in parts.items()),
        )

    @property
    def figures_file(self) -> Path:
        """Written last."""
        return self.folder / "figures.json"

    @property
    def predictions_file(self) -> Path:
        """A row per held-out case, and per test case where the source declares a test part."""
        return self.folder / "predictions.csv"


def with_seed(recipe: TaskRecipe, seed: int) -> TaskRecipe:
    """The recipe with another seed of the training."""
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"seed": seed})})


def training_of(
    cell: Cell, seed: int, fold: int, split: Split, cases: Cases, task: Task, out: Path, keep: bool
) -> Training:
    """The training of one cell, seed and fold, in its folder."""
    folder = out / "cells" / cell.folder / f"seed{seed}-fold{fold}"
    name = f"{cell.name}, seed {seed}, fold {fold}"
    return Training(name, folder, with_seed(cell.recipe, seed), split, cases, task, keep)


def finished(training: Training) -> dict[str, Any] | None:
    """figures.json of a training that is done and was made of the very same things; else None."""
    if not (training.figures_file.exists() and training.predictions_file.exists()):
        return None
    figures = read_json(training.figures_file)
    return figures if figures.get("digest") == training.digest else None


def predictions(training: Training) -> pd.DataFrame:
    """What `run` wrote: case_id, patient, split ("held" or "test"), target, predicted, prob_<class>."""
    return read_table(training.predictions_file, case_id=str, patient=str, split=str)


def run(training: Training) -> dict[str, Any]:
    """Trains unless it is done, scores the held-out fold, and gives the figures back.

    A training that was cut off goes on after its last epoch; one that was made of other things is thrown
    away. The checkpoints are removed at the end, and the weights too unless they are to be kept.
    """
    known = finished(training)
    if known is not None:
        return known
    _clear_foreign(training)
    from hilum.study import train_task

    cache = cache_of(training.cases, training.recipe)
    folder = TaskFolder(training.folder)
    train_task(folder, training.cases, training.split, training.task, training.recipe, training.name, cache)
    table = _predict(training, folder, cache)
    write_table(training.predictions_file, table)
    card = folder.card()
    figures = {
        "digest": training.digest,
        "parameters": card["parameters"],
        "seconds": card["training"]["seconds"],
        "epochs": card["training"]["epochs"],
        "best_epoch": card["training"]["best_epoch"],
        "val": card["training"]["best_metric"],
        "device": card["training"]["device"],
        "pretrained": card.get("pretrained"),
        **{part: _figures(table[table["split"] == part], training.task) for part in (HELD, "test")},
    }
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    if not training.keep_model:
        shutil.rmtree(folder.model_folder, ignore_errors=True)
    write_json(training.figures_file, figures)
    return figures


def cache_of(cases: Cases, recipe: TaskRecipe) -> ImageCache:
    """All images at the recipe's size, decoded at most once for all cells, seeds, folds and later commands."""
    from hilum.progress import advancing

    with advancing("decoding") as advance:
        return ImageCache.of(cases, recipe.pixels.contract(0.5, 0.25), advance)


def failure(error: Exception) -> str:
    """One sentence about why a training failed; hilum's own errors are one already."""
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
    from hilum.evaluation.decision import choose_threshold
    from hilum.evaluation.predictions import predictions_table
    from hilum.inference.forward import logits_of, softmax

    table, task = training.cases.table, training.task
    part = table["case_id"].map(training.split.of)
    part = part.mask((table["split"] == "test") & (part == "unused"), "test")
    used = training.cases.where(part.isin(["val", HELD, "test"]))
    part = pd.Series(part.to_numpy(), index=table["case_id"])
    model = folder.load_model()
    logits = logits_of(
        model, cache.images, cache.rows(used.table["case_id"].tolist()), f"{task.name}: predicting"
    )
    threshold = None
    if len(task.classes) == 2:
        val = (part.loc[used.table["case_id"]] == "val").to_numpy()
        abnormal = used.table["label"].map(dict(task.class_of)).to_numpy() == task.classes[1]
        scores = softmax(logits)[:, 1]
        threshold = float(choose_threshold(scores[val], abnormal[val], training.recipe.threshold))
    predicted = predictions_table(logits, used, part, task, threshold)
    predicted = predicted.drop(columns=[name for name in predicted if name.startswith("logit_")])
    predicted["threshold"] = threshold
    return predicted[predicted["split"] != "val"].reset_index(drop=True)


def _figures(table: pd.DataFrame, task: Task) -> dict[str, float] | None:
    """The bare figures of one part; None where it has no images."""
    if table.empty:
        return None
    threshold = table["threshold"].iloc[0] if len(task.classes) == 2 else None
    block = evaluate(table, task.classes, threshold, replicates=0)
    return {"n": len(table), **{name: block[name]["value"] for name in METRICS}}
