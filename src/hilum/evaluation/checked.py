"""The predictions that `evaluate` takes, checked and as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.errors import DataError
from hilum.inference.rules import checked_threshold, predicted_indices

TOLERANCE = 1e-4
"""How far probabilities may leave 0..1, and their sum 1; float32 and nine printed digits stay well inside."""


@dataclass(frozen=True)
class EvaluatedCases:
    """Checked predictions as arrays, sorted by case id so that the order of the rows changes nothing."""

    classes: tuple[str, ...]
    threshold: float | None
    target: np.ndarray  # "cases", class indices
    predicted: np.ndarray  # "cases", class indices
    probabilities: np.ndarray  # "cases classes"
    patients: np.ndarray  # "cases", whole numbers


def checked(predictions: pd.DataFrame, classes: Sequence[str], threshold: float | None) -> EvaluatedCases:
    """DataError for the first thing that is missing or impossible, naming the case."""
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(
            f"classes {list(classes)} are not two or more different names", "name each class once"
        )
    threshold = checked_threshold(classes, threshold)
    table = _checked_table(predictions, ["patient", "target", *(f"prob_{name}" for name in classes)])
    probabilities = _probabilities(table, [f"prob_{name}" for name in classes])
    target = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    row = _first(target < 0)
    if row is not None:
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has target {table['target'][row]!r}, "
            f"which is not one of {', '.join(classes)}",
            "use the model that was trained for these classes",
        )
    return EvaluatedCases(
        classes=tuple(classes),
        threshold=threshold,
        target=target,
        predicted=predicted_indices(probabilities, threshold),
        probabilities=probabilities,
        patients=pd.factorize(table["patient"], sort=True)[0],
    )


def _checked_table(predictions: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The rows in the order of their ids: each id once, no column missing, no patient empty."""
    for name in ("case_id", *columns):
        if name not in predictions.columns:
            raise DataError(f"predictions lack the column {name!r}", "make them again: hilum evaluate RUN")
    if predictions.empty:
        raise DataError("predictions hold no cases", "evaluate a split that has cases")
    row = _first(predictions["case_id"].isna().to_numpy())
    if row is not None:
        raise DataError(f"predictions row {row + 2}: case_id is empty", "give each image one id")
    table = predictions.sort_values("case_id", ignore_index=True)
    row = _first(table["case_id"].duplicated().to_numpy())
    if row is not None:
        raise DataError(f"predictions: case {table['case_id'][row]!r} occurs twice", "keep one row per case")
    row = _first(table["patient"].isna().to_numpy())
    if row is not None:
        raise DataError(f"predictions: case {table['case_id'][row]!r} has no patient", "fill in the cell")
    return table


def _probabilities(table: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """float64 "cases classes", each value in 0..1, each row with sum 1."""
    try:
        values = table[columns].to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"predictions hold a probability that is no number ({error})", "correct the value"
        ) from None
    impossible = ~((values >= -TOLERANCE) & (values <= 1 + TOLERANCE))  # also true for NaN
    row = _first(impossible.any(axis=1))
    if row is not None:
        column = int(impossible[row].argmax())
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has {columns[column]} {values[row, column]:g}, "
            "which is no number in 0..1",
            "pass probabilities (softmax of the logits)",
        )
    row = _first(np.abs(values.sum(axis=1) - 1) > TOLERANCE)
    if row is not None:
        raise DataError(
            f"predictions: case {table['case_id'][row]!r} has probabilities that sum to "
            f"{values[row].sum():.6g}, not 1",
            "pass the probabilities of all classes (softmax of the logits)",
        )
    return values


def _first(wrong: Any) -> int | None:
    """The first row of a mask, None when there is none."""
    return int(np.argmax(wrong)) if np.any(wrong) else None
