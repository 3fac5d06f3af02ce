"""The table of a comparison: a row per cell with mean and spread, and paired tests against one of the cells.

Every training has predicted the images of its held-out fold. The folds of one seed together hold each patient
once. Mean and standard deviation run over the trainings (seeds and folds). The paired tests compare one
prediction per image: the mean of the probabilities over the seeds. An image is predicted abnormal when that mean, minus
the mean of the thresholds, is not below 0; with three classes it gets the most probable name.

Scores of several folds come from several networks; an AUROC over all of them assumes that their scales agree.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.comparison.folds import HELD
from hilum.data.tasks import Task
from hilum.evaluation import paired
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.shift import shift_figures

SPREAD = ("accuracy", "balanced_accuracy", "auroc", "brier", "log_loss")


def pooled(tables: Sequence[pd.DataFrame], classes: Sequence[str]) -> pd.DataFrame:
    """One row per held-out image, its probabilities (and threshold) the mean over the trainings that held it
    out. `tables`: predictions of one cell's trainings."""
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[rows["split"] == HELD]
    columns = [*(f"prob_{name}" for name in classes), "threshold"]
    mean = rows.groupby("case_id", sort=True)[columns].mean()
    facts = rows.drop_duplicates("case_id").set_index("case_id")[["patient", "label", "target"]]
    return mean.join(facts).reset_index()


def called_right(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Whether each image of `pooled` gets its own name, bool "cases"."""
    probabilities = table[[f"prob_{name}" for name in classes]].to_numpy()
    index = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    if len(classes) == 2:
        return (probabilities[:, 1] >= table["threshold"].to_numpy()) == (index == 1)
    return probabilities.argmax(1) == index


def cell_figures(
    rows: pd.DataFrame, table: pd.DataFrame | None, task: Task, facts: pd.DataFrame, replicates: int
) -> dict[str, Any]:
    """What stands in the row of one cell. `rows`: its finished trainings in compare.csv; `table`: its pooled
    predictions, None where a training is missing; `facts`: the facts table of all cases."""
    figures: dict[str, Any] = {
        "trainings": len(rows),
        "parameters": int(rows["parameters"].iloc[0]),
        "epochs": float(rows["epochs"].mean()),
        "seconds": float(rows["seconds"].mean()),
        "spread": {name: _spread(rows, name) for name in SPREAD},
    }
    test = rows["test_accuracy"].notna() if "test_accuracy" in rows else pd.Series(dtype=bool)
    if test.any():
        figures["test"] = {name: _spread(rows[test], f"test_{name}") for name in ("accuracy", "auroc")}
    if table is not None:
        shifted = at_half(table, task.classes)
        block = evaluate(shifted, task.classes, None, replicates=replicates)
        figures["pooled"] = {
            "n_cases": block["n_cases"],
            "n_patients": block["n_patients"],
            **{name: block[name] for name in ("accuracy", "auroc")},
        }
        figures["shift"] = camera_figures(shifted, task.classes, facts, replicates)
    return figures


def camera_figures(
    table: pd.DataFrame, classes: Sequence[str], facts: pd.DataFrame, replicates: int
) -> dict[str, Any]:
    """hilum.evaluation.shift of the pooled predictions: matched pairs, worst group, and the others."""
    probabilities = table[[f"prob_{name}" for name in classes]].to_numpy()
    asked = table.assign(split=HELD, predicted=predicted_classes(probabilities, classes))
    return shift_figures(asked, HELD, facts, replicates)


def at_half(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Two classes: probabilities stretched so that each row's own threshold lies at one half. A monotone map
    for equal thresholds, and the calls stay those of `called_right`."""
    if len(classes) != 2:
        return table
    score, cut = (
        table[f"prob_{classes[1]}"].to_numpy(),
        np.clip(table["threshold"].to_numpy(), 1e-6, 1 - 1e-6),
    )
    low = 0.5 * score / cut
    high = 0.5 + 0.5 * (score - cut) / (1 - cut)
    moved = np.clip(np.where(score < cut, low, high), 0, 1)
    return table.assign(**{f"prob_{classes[1]}": moved, f"prob_{classes[0]}": 1 - moved})


def tests(
    tables: Mapping[str, pd.DataFrame], against: str, task: Task, replicates: int, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Each cell but `against` beside it: differences (cell minus `against`) with intervals over patients,
    DeLong's p for the AUROC, McNemar's for the accuracy, and both corrected by Holm."""
    base = tables[against].set_index("case_id")
    found: dict[str, dict[str, Any]] = {}
    for name, table in tables.items():
        if name == against:
            continue
        mine = table.set_index("case_id").loc[base.index]
        target = pd.Index(list(task.classes)).get_indexer(pd.Index(mine["target"]))
        columns = [f"prob_{one}" for one in task.classes]
        scores = _scores(mine[columns].to_numpy()), _scores(base[columns].to_numpy())
        right = called_right(mine, task.classes), called_right(base, task.classes)
        area = paired.delong(*scores, target)
        found[name] = {
            "difference": paired.difference(
                *scores, *right, target, mine["patient"].to_numpy(), replicates, seed
            ),
            "delong": {"z": _finite(area.z), "p": area.p},
            "mcnemar": paired.mcnemar(*right),
        }
    for test in ("delong", "mcnemar"):
        corrected = paired.holm([one[test]["p"] for one in found.values()])
        for one, value in zip(found.values(), corrected, strict=True):
            one[test]["p_holm"] = float(value)
    return found


def choose_against(wish: str, order: Sequence[str], figures: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The cell to compare with: named, the first, or the best by accuracy, of those that are complete."""
    whole = [name for name in order if "pooled" in figures.get(name, {})]
    if not whole:
        return None
    if wish == "best":
        return max(whole, key=lambda name: figures[name]["pooled"]["accuracy"]["value"])
    wanted = order[0] if wish == "first" else wish
    return wanted if wanted in whole else None


def _scores(probabilities: np.ndarray) -> np.ndarray:
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


def _spread(rows: pd.DataFrame, column: str) -> dict[str, float | None]:
    """Mean, sample standard deviation (None for one training), smallest and largest over the trainings."""
    values = rows[column].dropna().to_numpy(np.float64)
    if not len(values):
        return {"mean": None, "sd": None, "min": None, "max": None}
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": sd, "min": float(values.min()), "max": float(values.max())}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
