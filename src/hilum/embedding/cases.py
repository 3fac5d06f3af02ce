"""TaskCases: labels, patients and splits of the cases that have a vector, in the order of the vectors."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.data.cases import Cases
from hilum.data.tasks import Task
from hilum.embedding.vectors import REMEDY, Vectors
from hilum.errors import DataError


@dataclass(frozen=True)
class TaskCases:
    """`table`: case_id, patient, split, label, target; `targets`: int64 "cases", positions in `classes`;
    `patients`: text "cases"."""

    table: pd.DataFrame
    targets: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]

    def rows(self, split: str) -> np.ndarray:
        """Where the cases of a split stand, int64.

        >>> table = pd.DataFrame({"split": ["train", "val", "train"]})
        >>> TaskCases(table, np.zeros(3), np.zeros(3), ("normal", "virus")).rows("train").tolist()
        [0, 2]
        """
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    @property
    def train(self) -> np.ndarray:
        """Where the training cases stand.

        >>> table = pd.DataFrame({"split": ["train", "val", "train"]})
        >>> TaskCases(table, np.zeros(3), np.zeros(3), ("normal", "virus")).train.tolist()
        [0, 2]
        """
        return self.rows("train")

    @property
    def held_out(self) -> list[str]:
        """The splits to be measured on: val and test, as far as they have cases.

        >>> table = pd.DataFrame({"split": ["train", "val", "train"]})
        >>> TaskCases(table, np.zeros(3), np.zeros(3), ("normal", "virus")).held_out
        ['val']
        """
        return [name for name in ("val", "test") if len(self.rows(name))]


def task_cases(cases: Cases, vectors: Vectors, task: Task) -> TaskCases:
    """The cases of `vectors`. DataError names a case that cases.csv lacks, or a class that train lacks.

    >>> from pathlib import Path
    >>> from hilum.data.tasks import task
    >>> table = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "q"], "label": ["normal", "virus"]})
    >>> ids, classes = np.array(["b", "a"]), ("normal", "pneumonia")
    >>> vectors = Vectors(ids, np.array(["train", "train"]), {}, np.eye(2), classes, "", "")
    >>> task_cases(Cases(table, "table", Path("cases.csv")), vectors, task("binary", ["normal", "virus"])).targets
    array([1, 0])
    """
    table = cases.table.set_index("case_id")
    unknown = [case for case in vectors.case_id.tolist() if case not in table.index]
    if unknown:
        raise DataError(f"case {unknown[0]!r} has a vector but is not in cases.csv", REMEDY)
    table = table.loc[vectors.case_id, ["patient", "label"]].reset_index(names="case_id")
    table["split"] = vectors.split
    table["target"] = table["label"].map(dict(task.class_of))
    targets = table["label"].map(task.index).to_numpy(np.int64)
    data = TaskCases(table, targets, table["patient"].to_numpy(str), task.classes)
    check_classes(targets[data.train], task.classes)
    return data


def check_classes(train_targets: np.ndarray, classes: tuple[str, ...]) -> None:
    """DataError names a class that train lacks: neighbours could never vote for it.

    >>> check_classes(np.array([0, 0]), ("normal", "virus"))
    Traceback (most recent call last):
    hilum.errors.DataError: train holds no case of class 'virus'; choose another split
    """
    for index, name in enumerate(classes):
        if not (train_targets == index).any():
            raise DataError(f"train holds no case of class {name!r}", "choose another split")


def neighbors_table(data: TaskCases, rows: np.ndarray, distances: np.ndarray) -> pd.DataFrame:
    """neighbors.csv: case_id, rank (1 is the nearest), neighbor, distance, same_class; k rows per case.

    `rows`: int "cases k", positions in `data`, nearest first; `distances`: float "cases k".

    >>> table = pd.DataFrame({"case_id": ["a", "b"]})
    >>> pair = TaskCases(table, np.array([0, 1]), np.array(["p", "q"]), ("normal", "virus"))
    >>> neighbors_table(pair, np.array([[1], [0]]), np.array([[0.5], [0.5]])).astype(str).iloc[0].tolist()
    ['a', '1', 'b', '0.5', '0']
    """
    k = rows.shape[1]
    ids = data.table["case_id"].to_numpy(str)
    return pd.DataFrame(
        {
            "case_id": np.repeat(ids, k),
            "rank": np.tile(np.arange(1, k + 1), len(ids)),
            "neighbor": ids[rows.ravel()],
            "distance": distances.ravel(),
            "same_class": (data.targets[rows] == data.targets[:, None]).ravel().astype(int),
        }
    )
