"""The threshold of a packed model of three classes or more: first healthy or not, then which."""

import numpy as np
import pandas as pd

from hilum.artifacts.card import IN_BOTH_LOOKS, TwoSteps
from hilum.data.cases import HEALTHY
from hilum.errors import RunError
from hilum.evaluation.counterfactual.measure import ALL, in_harder_look
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.shares import share_figure
from hilum.files import read_table
from hilum.folders import PREDICTION_NAMES
from hilum.inference.rules import classes_in_two_steps
from hilum.run import Run


def two_steps(run: Run, task: str, split: str) -> TwoSteps | None:
    """A threshold between healthy and any abnormal class by the rule of the recipe, on val as the recipe wants it, and
    the accuracy of deciding that first and then the most probable abnormal class. None where val does not hold both
    sides. RunError where the recipe wants images in both looks and they have not been measured.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     two_steps(Run.create(place, RunFacts(), {"tasks": {}}), "multiclass", "val")
    Traceback (most recent call last):
    hilum.errors.RunError: ...
    """
    table, classes = run.task(task).predictions(), run.task(task).card().classes
    columns = [f"prob_{name}" for name in classes]
    val, chosen_on = _val(run, task, table)
    abnormal = (val["target"] != classes[0]).to_numpy()
    if classes[0] != HEALTHY or abnormal.all() or not abnormal.any():
        return None
    rule = str(run.recipe()["tasks"][task]["threshold"])
    value = choose_threshold(np.clip(1 - val[columns[0]].to_numpy(float), 0, 1), abnormal, rule)
    rows = table[table["split"] == split]
    correct = classes_in_two_steps(rows[columns].to_numpy(float), classes, value) == rows["target"].to_numpy()
    target = pd.Index(classes).get_indexer(pd.Index(rows["target"]))
    of_truth = rows[columns].to_numpy(float)[np.arange(len(rows)), target]
    accuracy = share_figure(correct, rows["patient"].to_numpy(), of_truth)
    return TwoSteps(threshold=value, rule=rule, chosen_on=chosen_on, split=split, accuracy=accuracy)


def _val(run: Run, task: str, table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Predictions of the val images, and what they are: each in the look in which it is harder where the recipe
    chooses its threshold so."""
    val = table[table["split"] == "val"]
    if run.recipe()["tasks"][task].get("threshold_on") != "counterfactual":
        return val, "val"
    file = run.task(task).counterfactual_predictions_file
    if not file.exists():
        raise RunError(f"{file} is missing", "run: hilum counterfactual RUN --set images=null")
    swapped = read_table(file, **dict.fromkeys(PREDICTION_NAMES, str))
    swapped = swapped[(swapped["images"] == ALL) & swapped["case_id"].isin(val["case_id"])]
    if sorted(swapped["case_id"]) != sorted(val["case_id"]):
        raise RunError(
            f"{file} does not hold each of the {len(val)} validation images once",
            "run: hilum counterfactual RUN --set images=null",
        )
    return in_harder_look(val, swapped, HEALTHY), IN_BOTH_LOOKS
