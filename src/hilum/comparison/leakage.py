"""The leakage: how much of a figure is bought by patients that stand on both sides of a split.

One recipe is trained and scored in up to three ways:

    patient    folds that keep patients apart
    image      folds drawn by image, so that images of one patient, and copies of one image, come to both sides
    official   the networks of the first way, scored on the declared test part; where the source declares one

Both kinds of folds hold out every image once, so the first two ways are scored on the very same images, and
their difference is paired: an interval over patients in which what the two have in common cancels. The
official part holds other patients; its difference is that of two independent samples. It is scored by each
network alone, never by their mean, which would be better than any of them.

What a difference says: with this network, this many epochs and this many images per patient, leakage is worth
so much. A larger network that is trained for longer remembers patients better. An interval around zero says
that leakage was not seen, not that a split by image would be sound.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.comparison import table as t
from hilum.comparison import train
from hilum.comparison.folds import HELD, held_out, held_out_by_image
from hilum.data.cases import Cases
from hilum.data.split import Split
from hilum.data.tasks import Task
from hilum.errors import DataError
from hilum.evaluation import paired
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.intervals import bootstrap_weights, percentile_interval
from hilum.files import digest, write_json
from hilum.progress import say
from hilum.run import LeakageFolder
from hilum.training.config import TaskRecipe


def leakage(
    folder: LeakageFolder,
    cases: Cases,
    task: Task,
    recipe: TaskRecipe,
    folds: int = 2,
    val_fraction: float = 0.15,
    replicates: int = 2000,
    seeds: Sequence[int] = (0,),
) -> dict[str, Any]:
    """Trains what is missing, writes figures.json and gives it back.

    {"ways": {way: {accuracy, auroc, n_cases, n_patients, trained_on}}, "difference": image minus patient,
    "official": {accuracy, difference: patient minus official}, "shared": what stood on both sides, "recipe",
    "folds", "digest"}.

    DataError when the source knows no patient with two images, because then nothing can leak, or too few
    patients for the folds.
    """
    outside = cases.table[cases.table["split"] != "test"]
    if not outside["patient"].duplicated().any():
        raise DataError(
            "no patient has two images outside the test part, so that a split by image leaks nothing",
            "a source that names patients is needed, e.g. a table with a column 'patient'",
        )
    splits = _splits(cases, folds, val_fraction)
    trainings = {
        way: [
            train.Training(
                f"leakage, {way}, seed {seed}, part {fold + 1} of {len(parts)}",
                folder.way(way) / f"seed{seed}-fold{fold}",
                train.with_seed(recipe, seed),
                split,
                cases,
                task,
            )
            for seed in seeds
            for fold, split in enumerate(parts)
        ]
        for way, parts in splits.items()
    }
    made_of = digest(str(replicates), *(one.digest for ones in trainings.values() for one in ones))
    if folder.figures_file.exists() and (known := folder.figures()).get("digest") == made_of:
        return known
    say(f"  {sum(map(len, trainings.values()))} short trainings for the leakage")
    for ones in trainings.values():
        for one in ones:
            train.run(one)
    tables = {
        way: t.pooled([train.predictions(one) for one in ones], task.classes)
        for way, ones in trainings.items()
    }
    result = {
        "task": task.name,
        "classes": list(task.classes),
        "ways": {way: _way(table, splits[way], task, replicates) for way, table in tables.items()},
        "difference": compare_ways(tables["image"], tables["patient"], task, replicates),
        "official": _official(trainings["patient"], tables["patient"], task, replicates),
        "shared": _shared(cases, splits["image"], tables, task),
        "folds": folds,
        "seeds": list(seeds),
        "replicates": replicates,
        "recipe": recipe.model_dump(mode="json"),
        "digest": made_of,
    }
    write_json(folder.figures_file, result)
    return result


def compare_ways(
    leaky: pd.DataFrame, clean: pd.DataFrame, task: Task, replicates: int, seed: int = 0
) -> dict[str, Any]:
    """Leaky minus clean on the same images: accuracy and AUROC with intervals over patients, and McNemar's and
    DeLong's tests. `leaky`, `clean`: as `table.pooled` gives them."""
    ids = clean["case_id"]
    leaky = leaky.set_index("case_id").loc[ids].reset_index()
    target = pd.Index(list(task.classes)).get_indexer(pd.Index(clean["target"]))
    columns = [f"prob_{name}" for name in task.classes]
    scores = leaky[columns].to_numpy(), clean[columns].to_numpy()
    right = t.called_right(leaky, task.classes), t.called_right(clean, task.classes)
    gap = paired.difference(*scores, *right, target, clean["patient"].to_numpy(), replicates, seed)
    return {**gap, "mcnemar": paired.mcnemar(*right), "delong": {"p": paired.delong(*scores, target).p}}


def _splits(cases: Cases, folds: int, val_fraction: float) -> dict[str, list[Split]]:
    return {
        "patient": [held_out(cases, 0, fold, folds, val_fraction) for fold in range(folds)],
        "image": [held_out_by_image(cases, 0, fold, folds, val_fraction) for fold in range(folds)],
    }


def _way(table: pd.DataFrame, splits: list[Split], task: Task, replicates: int) -> dict[str, Any]:
    """Figures of one way, with the size of what it was trained on (mean over the folds)."""
    block = evaluate(t.at_half(table, task.classes), task.classes, None, replicates=replicates)
    return {
        **{name: block[name] for name in ("accuracy", "auroc", "n_cases", "n_patients")},
        "trained_on": round(float(np.mean([(split.of == "train").sum() for split in splits]))),
    }


def _official(
    trainings: list[train.Training], clean: pd.DataFrame, task: Task, replicates: int
) -> dict[str, Any] | None:
    """Accuracy on the declared test part (mean over the networks), and that with patients apart minus it:
    other images, so no pairs. None where no test part is declared."""
    tables = [train.predictions(one) for one in trainings]
    tests = [one[one["split"] == "test"].sort_values("case_id", ignore_index=True) for one in tables]
    if tests[0].empty:
        return None
    patients = tests[0]["patient"].to_numpy()
    right = np.mean([t.called_right(one, task.classes) for one in tests], axis=0)
    there, drawn_there = _mean_over_patients(right, patients, replicates, 1)
    here = t.called_right(clean, task.classes).astype(float)
    value, drawn_here = _mean_over_patients(here, clean["patient"].to_numpy(), replicates, 2)
    found: dict[str, Any] = {
        "accuracy": {"value": there},
        "difference": {"value": value - there},
        "n_cases": len(right),
        "n_patients": len(np.unique(patients)),
    }
    if replicates:
        for name, drawn in (("accuracy", drawn_there), ("difference", drawn_here - drawn_there)):
            found[name]["low"], found[name]["high"] = percentile_interval(drawn)
    return found


def _mean_over_patients(
    right: np.ndarray, patients: np.ndarray, replicates: int, seed: int
) -> tuple[float, np.ndarray]:
    """The mean and its bootstrap replicates."""
    drawn = [weights @ right / weights.sum(1) for weights in bootstrap_weights(patients, replicates, seed)]
    return float(right.mean()), np.concatenate(drawn) if drawn else np.zeros(0)


def _shared(cases: Cases, splits: list[Split], tables: dict[str, pd.DataFrame], task: Task) -> dict[str, Any]:
    """Of the images held out by image: how many had an image of their patient in training, and how the two ways
    do on these and on the others."""
    known = cases.table.set_index("case_id")["patient"]
    leaked: set[str] = set()
    for split in splits:
        taught = set(known[split.of.index[split.of == "train"]])
        held = split.of.index[split.of == HELD]
        leaked |= set(held[known[held].isin(taught)])
    inside = tables["patient"]["case_id"].isin(leaked).to_numpy()
    image = tables["image"].set_index("case_id").loc[tables["patient"]["case_id"]].reset_index()
    right = {
        "patient": t.called_right(tables["patient"], task.classes),
        "image": t.called_right(image, task.classes),
    }
    return {
        "n_images": int(inside.sum()),
        "n_held": len(inside),
        "accuracy": {
            way: {
                "with_patient_in_training": {"k": int(one[inside].sum()), "n": int(inside.sum())},
                "without": {"k": int(one[~inside].sum()), "n": int((~inside).sum())},
            }
            for way, one in right.items()
        },
    }
