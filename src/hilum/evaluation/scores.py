"""The few figures that training, comparisons and robustness need of `evaluate`."""

from collections.abc import Sequence

import pandas as pd

from hilum.artifacts.base import Figure
from hilum.evaluation.evaluate import evaluate


def key_figures(
    predictions: pd.DataFrame,
    classes: Sequence[str],
    names: Sequence[str],
    threshold: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, Figure]:
    """The named metrics of `evaluate`, each with its interval; arguments as there.

    >>> table = pd.DataFrame({"case_id": list("abcd"), "patient": list("abcd"),
    ...     "target": ["normal", "normal", "abnormal", "abnormal"],
    ...     "prob_normal": [0.9, 0.6, 0.65, 0.2], "prob_abnormal": [0.1, 0.4, 0.35, 0.8]})
    >>> figures = key_figures(table, ["normal", "abnormal"], ["accuracy", "auroc"], replicates=0)
    >>> figures["accuracy"].counts, figures["auroc"].value
    ('3/4', 0.75)
    """
    block = evaluate(predictions, classes, threshold, replicates=replicates, seed=seed)
    return {name: Figure(**block[name]) for name in names}


def validation_figures(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """The bare numbers of `evaluate`, for the history of a training.

    >>> table = pd.DataFrame({"case_id": list("ab"), "patient": list("ab"), "target": ["normal", "abnormal"],
    ...     "prob_normal": [0.9, 0.2], "prob_abnormal": [0.1, 0.8]})
    >>> validation_figures(table, ["normal", "abnormal"])["accuracy"]
    1.0
    """
    block = evaluate(predictions, classes, replicates=0)
    return {
        name: entry["value"]
        for name, entry in block.items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), float | int) and "class" not in entry
    }
