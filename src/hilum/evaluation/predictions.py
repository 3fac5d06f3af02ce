"""From logits to predictions.csv and the figures of each split."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hilum.artifacts.card import OperatingPoint
from hilum.artifacts.metrics import HELD_OUT, Metrics, SplitMetrics
from hilum.data.cases import SPLITS, Cases
from hilum.data.tasks import Task
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.shift import shift_figures
from hilum.evaluation.subgroups import subgroups
from hilum.inference.calibrate import softmax


def predictions_table(
    logits: np.ndarray, cases: Cases, split: pd.Series, task: Task, threshold: float | None
) -> pd.DataFrame:
    """The rows of predictions.csv, in the order of `cases` (see run.TaskFolder.predictions)."""
    probabilities = softmax(logits)
    table = cases.table[["case_id", "patient"]].copy()
    table["split"] = split.loc[table["case_id"]].to_numpy()
    table["label"] = cases.table["label"]
    table["target"] = cases.table["label"].map(dict(task.class_of))
    table["predicted"] = predicted_classes(probabilities, task.classes, threshold)
    for column, name in enumerate(task.classes):
        table[f"logit_{name}"] = logits[:, column]
    for column, name in enumerate(task.classes):
        table[f"prob_{name}"] = probabilities[:, column]
    return table


def threshold_entry(
    table: pd.DataFrame, task: Task, rule: str, chosen_on: str = "val"
) -> OperatingPoint | None:
    """The card's threshold of a binary task, chosen on val and on val only; 0.5 without a val split. None for
    more classes. `table`: with the columns split, target and prob_<class>; `chosen_on`: what its images of val are."""
    if len(task.classes) != 2:
        return None
    abnormal = task.classes[1]
    val = table[table["split"] == "val"]
    if val.empty:
        return OperatingPoint(positive=abnormal, value=0.5, chosen_on="nothing", rule="half")
    value = choose_threshold(val[f"prob_{abnormal}"].to_numpy(), (val["target"] == abnormal).to_numpy(), rule)
    return OperatingPoint(positive=abnormal, value=float(value), chosen_on=chosen_on, rule=rule)


def metrics_of(
    table: pd.DataFrame,
    classes: Sequence[str],
    threshold: float | None,
    weights_digest: str,
    replicates: int,
    seed: int = 0,
    facts: pd.DataFrame | None = None,
    images_of_patient: Mapping[str, int] | None = None,
    people: pd.DataFrame | None = None,
) -> Metrics:
    """The figures of every split that has cases; of val and test by subgroup and acquisition group as well.

    `table`: rows of predictions.csv. `facts`: what the audit has measured on each image; without it, or without
    the number of images of each patient, there are no groups. `people`: as `subgroups` takes them.

    >>> table = pd.DataFrame({"case_id": [*"abcd"], "patient": [*"abcd"], "split": "val",
    ...     "target": ["normal", "normal", "abnormal", "abnormal"],
    ...     "prob_normal": [0.9, 0.6, 0.65, 0.2], "prob_abnormal": [0.1, 0.4, 0.35, 0.8]})
    >>> metrics_of(table, ["normal", "abnormal"], 0.5, "digest", replicates=0).splits["val"].auroc.value
    0.75
    """
    splits = {}
    for name in SPLITS:
        rows = table[table["split"] == name]
        if rows.empty:
            continue
        block = evaluate(rows, classes, threshold, replicates=replicates, seed=seed)
        if name in HELD_OUT and facts is not None:
            if images_of_patient is not None:
                block["subgroups"] = subgroups(
                    rows, facts, images_of_patient, classes, threshold, replicates, seed, people
                )
            block["shift"] = shift_figures(table, name, facts, with_ends=replicates > 0)
        splits[name] = SplitMetrics.model_validate({**block, "weights_digest": weights_digest})
    return Metrics(splits)
