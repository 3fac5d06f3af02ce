"""The table of a comparison: a row per cell with mean and spread, and paired tests against one of the cells.

Every training has predicted the images of its held-out fold. The folds of one seed together hold each patient
once. Mean and standard deviation run over the trainings (seeds and folds). The paired tests compare one
prediction per image: the mean of the probabilities over the seeds. With two classes an image is predicted
abnormal when that mean, minus the mean of the thresholds, is not below 0; with more, the most probable class.

Scores of several folds come from several networks; an AUROC over all of them assumes that their scales agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.comparison import (
    AccuracyTest,
    AurocTest,
    CellResult,
    PairedDifference,
    Pooled,
    Spread,
)
from hilum.artifacts.metrics import Shift
from hilum.comparison.folds import HELD
from hilum.data.tasks import Task
from hilum.evaluation import paired
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.scores import key_figures
from hilum.evaluation.shift import shift_figures

SPREAD = ("accuracy", "balanced_accuracy", "auroc", "brier", "log_loss")


def pooled(tables: Sequence[pd.DataFrame], classes: Sequence[str]) -> pd.DataFrame:
    """One row per held-out image, its probabilities (and threshold) the mean over the trainings that held it
    out. `tables`: predictions of one cell's trainings.

    >>> rows = pd.DataFrame({"case_id": ["a"], "split": "held", "prob_x": 0.2, "prob_y": 0.8, "threshold": 0.5,
    ...     "patient": "p", "label": "x", "target": "x"})
    >>> float(pooled([rows, rows.assign(prob_x=0.4)], ["x", "y"])["prob_x"].iloc[0])
    0.3
    """
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[rows["split"] == HELD]
    columns = [*(f"prob_{name}" for name in classes), "threshold"]
    mean = rows.groupby("case_id", sort=True)[columns].mean()
    facts = rows.drop_duplicates("case_id").set_index("case_id")[["patient", "label", "target"]]
    return mean.join(facts).reset_index()


def is_correct(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Whether each image of `pooled` is classified correctly, bool "cases".

    >>> table = pd.DataFrame({"prob_x": [0.4], "prob_y": [0.6], "threshold": [0.7], "target": ["x"]})
    >>> is_correct(table, ["x", "y"]).tolist()
    [True]
    """
    probabilities = table[[f"prob_{name}" for name in classes]].to_numpy()
    index = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    if len(classes) == 2:
        return (probabilities[:, 1] >= table["threshold"].to_numpy()) == (index == 1)
    return probabilities.argmax(1) == index


def cell_result(
    rows: pd.DataFrame, table: pd.DataFrame | None, task: Task, facts: pd.DataFrame, replicates: int
) -> CellResult:
    """What stands in the row of one cell. `rows`: its finished trainings in compare.csv; `table`: its pooled
    predictions, None where a training is missing; `facts`: the facts table of all cases.

    >>> rows = pd.DataFrame({name: [0.9, 0.8] for name in SPREAD}).assign(parameters=100, epochs=3, seconds=1.0)
    >>> from hilum.data.tasks import task
    >>> result = cell_result(rows, None, task("binary", ("normal", "virus")), pd.DataFrame(), replicates=0)
    >>> result.trainings, result.spread["accuracy"].max, result.pooled
    (2, 0.9, None)
    """
    tested = rows["test_accuracy"].notna() if "test_accuracy" in rows else pd.Series(dtype=bool)
    result = CellResult(
        trainings=len(rows),
        parameters=int(rows["parameters"].iloc[0]),
        epochs=float(rows["epochs"].mean()),
        seconds=float(rows["seconds"].mean()),
        spread={name: _spread(rows[name]) for name in SPREAD},
        test={name: _spread(rows.loc[tested, f"test_{name}"]) for name in ("accuracy", "auroc")}
        if tested.any()
        else None,
        counterfactual=_spread(rows["counterfactual_auroc"]) if "counterfactual_auroc" in rows else None,
    )
    if table is not None:
        moved = at_half(table, task.classes)
        result.pooled = pooled_figures(moved, task.classes, replicates)
        result.acquisition = acquisition_figures(moved, task.classes, facts, replicates)
    return result


def pooled_figures(table: pd.DataFrame, classes: Sequence[str], replicates: int) -> Pooled:
    """Accuracy and AUROC of pooled predictions whose thresholds lie at one half.

    >>> table = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "target": ["x", "y"], "label": ["x", "y"],
    ...     "prob_x": [0.9, 0.4], "prob_y": [0.1, 0.6]})
    >>> figures = pooled_figures(table, ["x", "y"], replicates=0)
    >>> figures.n_patients, figures.accuracy.value, figures.auroc.value
    (2, 1.0, 1.0)
    """
    figures = key_figures(table, classes, ("accuracy", "auroc"), replicates=replicates)
    return Pooled(n_cases=len(table), n_patients=int(table["patient"].nunique()), **figures)


def acquisition_figures(
    table: pd.DataFrame, classes: Sequence[str], facts: pd.DataFrame, replicates: int
) -> Shift:
    """hilum.evaluation.shift of the pooled predictions: shortcut-matched pairs, worst group, and the others."""
    probabilities = table[[f"prob_{name}" for name in classes]].to_numpy()
    predictions = table.assign(split=HELD, predicted=predicted_classes(probabilities, classes))
    return Shift.model_validate(shift_figures(predictions, HELD, facts, with_ends=replicates > 0))


def at_half(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Two classes: probabilities stretched so that each row's own threshold lies at one half. A monotone map
    for equal thresholds, and the predictions stay those of `is_correct`.

    >>> table = pd.DataFrame({"prob_x": [0.2], "prob_y": [0.8], "threshold": [0.8]})
    >>> float(at_half(table, ["x", "y"])["prob_y"].iloc[0])
    0.5
    """
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


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, classes: Sequence[str], replicates: int
) -> PairedDifference:
    """First minus second on the same images, with intervals over patients and the tests by patient of the AUROC
    (clustered DeLong) and of the accuracy (permutation). Both tables as `pooled` gives them; the rows may
    stand in any order.

    >>> first = pd.DataFrame({"case_id": list("abcd"), "patient": list("abcd"), "target": list("xxyy"),
    ...     "prob_x": [0.9, 0.8, 0.1, 0.2], "prob_y": [0.1, 0.2, 0.9, 0.8], "threshold": 0.5})
    >>> second = first.assign(prob_x=[0.9, 0.4, 0.1, 0.6], prob_y=[0.1, 0.6, 0.9, 0.4])
    >>> gap = paired_difference(first, second, ["x", "y"], replicates=0)
    >>> gap.accuracy.value, gap.accuracy_test.only_first, gap.accuracy_test.only_second
    (0.5, 2, 0)
    """
    first = first.set_index("case_id").loc[second["case_id"]].reset_index()
    target = pd.Index(list(classes)).get_indexer(pd.Index(second["target"]))
    columns = [f"prob_{name}" for name in classes]
    scores = first[columns].to_numpy(), second[columns].to_numpy()
    correct = is_correct(first, classes), is_correct(second, classes)
    patients = second["patient"].to_numpy()
    gap = paired.difference(*scores, *correct, target, patients, replicates, 0)
    area = paired.delong(*scores, target, patients)
    return PairedDifference(
        accuracy=Figure.model_validate(gap["accuracy"]),
        auroc=Figure.model_validate(gap["auroc"]),
        accuracy_test=AccuracyTest(**asdict(paired.permutation(*correct, patients))),
        auroc_test=AurocTest(z=area.z if np.isfinite(area.z) else None, p=area.p),
    )


def paired_differences(
    tables: Mapping[str, pd.DataFrame], against: str, task: Task, replicates: int
) -> dict[str, PairedDifference]:
    """Each cell minus `against`, the p-values corrected by Holm for the number of cells.

    >>> from hilum.data.tasks import task
    >>> rows = pd.DataFrame({"case_id": list("abcd"), "patient": list("abcd"),
    ...     "target": ["normal", "normal", "pneumonia", "pneumonia"], "threshold": 0.5,
    ...     "prob_normal": [0.9, 0.8, 0.1, 0.2], "prob_pneumonia": [0.1, 0.2, 0.9, 0.8]})
    >>> binary = task("binary", ("normal", "virus"))
    >>> list(paired_differences({"vgg": rows, "resnet": rows}, "vgg", binary, replicates=0))
    ['resnet']
    """
    differences = {
        name: paired_difference(table, tables[against], task.classes, replicates)
        for name, table in tables.items()
        if name != against
    }
    for tests in (
        [each.auroc_test for each in differences.values()],
        [each.accuracy_test for each in differences.values()],
    ):
        for test, corrected in zip(tests, paired.holm([test.p for test in tests]), strict=True):
            test.p_holm = float(corrected)
    return differences


def choose_against(wanted: str, order: Sequence[str], results: Mapping[str, CellResult]) -> str | None:
    """The cell to compare with: named, the first, or the best by accuracy, of those that are complete.

    >>> pooled = Pooled(n_cases=10, n_patients=10, accuracy=Figure(value=0.9), auroc=Figure(value=0.9))
    >>> done = CellResult(trainings=1, parameters=9, epochs=1, seconds=1, spread={}, pooled=pooled)
    >>> choose_against("best", ["vgg", "resnet"], {"resnet": done})
    'resnet'
    """
    accuracies = {
        name: results[name].pooled.accuracy.value  # type: ignore[union-attr]
        for name in order
        if name in results and results[name].pooled is not None
    }
    if not accuracies:
        return None
    if wanted == "best":
        return max(accuracies, key=lambda name: accuracies[name] or 0.0)
    name = order[0] if wanted == "first" else wanted
    return name if name in accuracies else None


def _spread(column: pd.Series) -> Spread:
    values = column.dropna().to_numpy(np.float64)
    if not len(values):
        return Spread(mean=None, sd=None, min=None, max=None)
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(values.mean()), sd=sd, min=float(values.min()), max=float(values.max()))
