"""What a network predicts for a disease that it was never trained on: one class is left out of training, and its
held-out images are predicted.

The small network can only answer with the classes it knows; the question is whether its confidence (the maximum
probability) is lower for the unseen class, the baseline of Hendrycks & Gimpel (ICLR 2017). Where the run has
anomaly scores, the best detector is measured on the same images."""

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.robustness import UnseenAnomaly, UnseenClass
from hilum.data.cases import HEALTHY, Cases
from hilum.data.tasks import Task
from hilum.errors import DataError, nearest
from hilum.evaluation.areas import area_figure
from hilum.evaluation.shares import share_figure
from hilum.folders import AnomalyFolder, TaskFolder
from hilum.progress import advancing
from hilum.robustness.config import UnseenClassConfig
from hilum.robustness.held_out import held_out
from hilum.robustness.small_network import SmallNetworks

MEASURED = ("measure", "test", "unused")
"""Roles of the anomaly stage that neither fitted nor set a threshold; unused are the abnormal images of its train
part, on which no detector is fitted."""

SEED = 0


def measure_unseen_class(
    folder: TaskFolder,
    anomaly: AnomalyFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: UnseenClassConfig,
) -> UnseenClass:
    """Writes unseen_class.json of a task and gives it back.

    DataError when fewer than two classes would be left, or when the class is none of the task's.
    """
    unseen = unseen_class(task, config.unseen)
    test, part = held_out(cases, split, task, config)
    classes = tuple(name for name in task.classes if name != unseen)
    networks = SmallNetworks(cases, split, task, test, config)
    rows = np.flatnonzero((networks.train["target"] != unseen).to_numpy())
    with advancing(f"{task.name}: training without {unseen}") as advance:
        model = networks.fitted(classes, rows, config.steps, SEED, None, advance)
    probabilities = networks.probabilities(model)
    confidence = probabilities.max(1)
    predicted = np.array(classes)[probabilities.argmax(1)]
    measure = _Measure(test, (test["target"] == unseen).to_numpy(), config)
    result = UnseenClass(
        split=part,
        images=len(test),
        patients=int(test["patient"].nunique()),
        replicates=config.replicates,
        unseen=unseen,
        classes=list(classes),
        train_images=len(rows),
        accuracy_known=measure.share(predicted == test["target"].to_numpy(), ~measure.unseen, confidence),
        predicted={
            name: measure.share(predicted == name, measure.unseen, probabilities[:, column])
            for column, name in enumerate(classes)
        },
        confidence={
            name: np.round(np.sort(confidence[(test["target"] == name).to_numpy()]), 4).tolist()
            for name in task.classes
        },
        auroc_by_confidence=measure.auroc(-confidence, np.ones(len(test), bool)),
        anomaly=_anomaly(anomaly, test, -confidence, measure) if anomaly.scores_file.exists() else None,
    )
    result.save(folder.unseen_class_file)
    return result


def unseen_class(task: Task, wanted: str | None) -> str:
    """The class to leave out: the wanted one, else the last. DataError when two are not left.

    >>> from hilum.data.tasks import task
    >>> unseen_class(task("multiclass", ["normal", "bacteria", "virus"]), None)
    'virus'
    """
    if len(task.classes) < 3:
        raise DataError(
            f"task {task.name!r} has {len(task.classes)} classes: too few to leave one out",
            "use a task with three classes",
        )
    if wanted is not None and wanted not in task.classes:
        raise DataError(f"unseen: {wanted!r} is no class of {task.name!r}", nearest(wanted, task.classes))
    return wanted or task.classes[-1]


class _Measure:
    """Figures over the held-out images, each with its interval over patients. `unseen`: bool "images"."""

    def __init__(self, test: pd.DataFrame, unseen: np.ndarray, config: UnseenClassConfig) -> None:
        self.patients, self.unseen, self.config = test["patient"].to_numpy(), unseen, config

    def share(self, hits: np.ndarray, among: np.ndarray, scores: np.ndarray) -> Figure:
        """Share of `among` that are hits; `scores`: what decides on a hit, "images"."""
        return self._shown(share_figure(hits[among], self.patients[among], scores[among]))

    def auroc(self, score: np.ndarray, among: np.ndarray) -> Figure:
        """AUROC of the unseen class against the others, higher scores for the unseen; over `among`."""
        figure = area_figure(score[among], self.unseen[among], self.patients[among])
        return self._shown(figure).model_copy(update={"n": int(among.sum())})

    def _shown(self, figure: Figure) -> Figure:
        """Without its interval where no replicates are wanted."""
        hidden = {"low": None, "high": None} if not self.config.replicates else {}
        return figure.model_copy(update=hidden)


def _anomaly(
    anomaly: AnomalyFolder, test: pd.DataFrame, doubt: np.ndarray, measure: _Measure
) -> UnseenAnomaly | None:
    """AUROC of the unseen class by the run's best detector, and by low confidence on the very same images."""
    scores, detector = anomaly.scores(), anomaly.figures().best
    measured = scores[scores["role"].isin(MEASURED)].set_index("case_id")[detector]
    score = test["case_id"].map(measured).to_numpy(np.float64)
    among = ~np.isnan(score)
    unseen, normal = measure.unseen, (test["target"] == HEALTHY).to_numpy()
    if not (among & unseen).any() or not (among & ~unseen).any():
        return None
    score = np.nan_to_num(score)
    return UnseenAnomaly(
        detector=detector,
        images=int(among.sum()),
        unseen=int((among & unseen).sum()),
        by_score=measure.auroc(score, among),
        by_confidence=measure.auroc(doubt, among),
        against_normal=measure.auroc(score, among & (unseen | normal)),
        against_abnormal=measure.auroc(score, among & (unseen | ~normal)),
    )
