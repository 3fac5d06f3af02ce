"""The most confident errors, and the most confident correct predictions, as pictures."""

from dataclasses import dataclass

import pandas as pd

from hilum.report.explanations.reading import TaskExplanations, mistake_map
from hilum.report.figures import look
from hilum.report.pictures import Image, picture_of
from hilum.report.results import Results
from hilum.report.wording import count, number

ERRORS, CORRECT = 5, 2
"""Pictures per label: of the most confident errors, and of the most confident correct predictions."""


@dataclass(frozen=True)
class Share:
    """The probability of one class as a bar: `width` in per cent."""

    width: str
    colour: str


@dataclass(frozen=True)
class CasePicture:
    """One radiograph with its label and its prediction. `map`: the attribution map and its words, if there is
    one."""

    picture: Image
    map: tuple[Image, str] | None
    case: str
    label: str
    predicted: str
    is_correct: bool
    probability: str
    shares: list[Share]


@dataclass(frozen=True)
class ErrorGroup:
    """The most confident errors among the images of one label; `more`: how many are not shown."""

    title: str
    images: list[CasePicture]
    more: int


def most_confident_errors(task: Results, paths: pd.Series, maps: TaskExplanations | None) -> list[ErrorGroup]:
    """For each label, the misclassified images, most confident first, with their attribution maps.

    >>> from pathlib import Path
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> rows = pd.DataFrame({"case_id": ["a"], "label": "normal", "target": "normal", "predicted": "virus",
    ...     "prob_normal": 0.4, "prob_virus": 0.6, "split": "test"})
    >>> card = ModelCard.model_construct(classes=["normal", "virus"])
    >>> task = Results("binary", card, Metrics({}), rows, rows, None, "test", TaskFolder(Path("binary")))
    >>> [group.title for group in most_confident_errors(task, pd.Series({"a": "a.png"}), None)]
    ['Labelled normal, misclassified: 1 of 1 images', 'Labelled virus, misclassified: 0 of 0 images']
    """
    rows = by_confidence(task)
    wrong = rows[rows["target"] != rows["predicted"]]
    groups = []
    for label in task.classes:
        of_label = wrong[wrong["target"] == label]
        total = count(int((rows["target"] == label).sum()))
        groups.append(
            ErrorGroup(
                f"Labelled {label}, misclassified: {len(of_label)} of {total} images",
                _pictures(task, of_label.head(ERRORS), paths, maps),
                max(0, len(of_label) - ERRORS),
            )
        )
    return groups


def most_confident_correct(task: Results, paths: pd.Series) -> list[CasePicture]:
    """The images of each class that were classified correctly with the highest confidence.

    >>> from pathlib import Path
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> rows = pd.DataFrame({"case_id": ["a"], "label": "normal", "target": "normal", "predicted": "normal",
    ...     "prob_normal": 0.9, "prob_virus": 0.1, "split": "test"})
    >>> card = ModelCard.model_construct(classes=["normal", "virus"])
    >>> task = Results("binary", card, Metrics({}), rows, rows, None, "test", TaskFolder(Path("binary")))
    >>> [(each.case, each.probability) for each in most_confident_correct(task, pd.Series({"a": "a.png"}))]
    [('a', 'P(virus) = 0.10')]
    """
    rows = by_confidence(task)
    right = rows[rows["target"] == rows["predicted"]]
    best = pd.concat([right[right["target"] == label].head(CORRECT) for label in task.classes])
    return _pictures(task, best, paths)


def by_confidence(task: Results) -> pd.DataFrame:
    """The held-out rows by falling probability of the predicted class; equals in order of case_id.

    >>> from pathlib import Path
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> rows = pd.DataFrame({"case_id": ["a", "b"], "predicted": ["virus", "normal"],
    ...     "prob_normal": [0.4, 0.9], "prob_virus": [0.6, 0.1], "split": "test"})
    >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), rows, rows, None, "test",
    ...     TaskFolder(Path("binary")))
    >>> by_confidence(task)[["case_id", "confidence"]].values.tolist()
    [['b', 0.9], ['a', 0.6]]
    """
    rows = task.rows.copy()
    rows["confidence"] = [row[f"prob_{row['predicted']}"] for _, row in rows.iterrows()]
    return rows.sort_values(["confidence", "case_id"], ascending=[False, True], kind="stable")


def _pictures(
    task: Results, rows: pd.DataFrame, paths: pd.Series, maps: TaskExplanations | None = None
) -> list[CasePicture]:
    return [
        CasePicture(
            picture=picture_of(str(paths.get(row["case_id"], row["case_id"]))),
            map=mistake_map(maps, row["case_id"]),
            case=row["case_id"],
            label=row["label"],
            predicted=row["predicted"],
            is_correct=bool(row["target"] == row["predicted"]),
            probability=_probability(task, row),
            shares=[
                Share(f"{100 * float(row[f'prob_{name}']):.2f}", look(name, task.classes).colour)
                for name in task.classes
            ],
        )
        for _, row in rows.iterrows()
    ]


def _probability(task: Results, row: pd.Series) -> str:
    """Two classes: the probability of the abnormal one, whatever the prediction, because the threshold applies
    to it. More classes: the probability of the predicted class."""
    name = task.classes[1] if len(task.classes) == 2 else row["predicted"]
    return f"P({name}) = {number(row[f'prob_{name}'], 2)}"
