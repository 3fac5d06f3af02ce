"""What a network says of a disease that it never saw: one label is left out of training, and its images are
asked.

The network is the small one of the curve of labels. It can only answer with the classes it knows; the
question is whether its confidence (the highest probability) is lower for the unknown label, the baseline of
Hendrycks & Gimpel (ICLR 2017). Where the run has anomaly scores, they are measured on the same images beside
it."""

import json
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.data.tasks import Task
from hilum.errors import DataError, nearest
from hilum.evaluation.intervals import bootstrap, percentile_interval
from hilum.evaluation.metrics import auroc
from hilum.evaluation.missing_labels import Bench
from hilum.evaluation.missing_pixels import held_out
from hilum.files import digest, read_json, write_json
from hilum.progress import advancing
from hilum.robustness.config import MissingConfig
from hilum.run import AnomalyFolder, TaskFolder

FORMAT = 1
MEASURED = ("measure", "test", "unused")
"""Roles of the anomaly stage that neither fitted nor set a threshold; unused are the abnormal images of its train
part, which no detector looks at."""


def missing_classes(
    folder: TaskFolder,
    anomaly: AnomalyFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: MissingConfig,
    force: bool = False,
) -> dict[str, Any]:
    """Writes classes.json of a task and gives it back.

    DataError when fewer than two classes would be left, or when the class is none of the task's.
    """
    without = left_out(task, config.classes.without)
    test, part = held_out(cases, split, task, config)
    scores = anomaly.scores() if anomaly.scores_file.exists() else None
    asked = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    seen = "" if scores is None else scores.to_csv(index=False)
    made_from = digest(cases.digest, asked, task.name, without, seen, *split.to_csv().splitlines())
    if not force and folder.classes_file.exists():
        known = read_json(folder.classes_file)
        if known.get("made_from") == made_from and known.get("format") == FORMAT:
            return known
    classes = tuple(name for name in task.classes if name != without)
    bench = Bench.of(cases, split, task, test, config.labels)
    rows = np.flatnonzero((bench.train["target"] != without).to_numpy())
    with advancing(f"{task.name}: training without {without}") as advance:
        model = bench.fitted(classes, rows, config.classes.steps, config.classes.seed, None, advance)
    probabilities = bench.answers(model)
    unknown = (test["target"] == without).to_numpy()
    confidence = probabilities.max(1)
    answers = np.array(classes)[probabilities.argmax(1)]
    measure = _Measure(test, unknown, config)
    right = answers == test["target"].to_numpy()
    facts = {
        "format": FORMAT,
        "made_from": made_from,
        "without": without,
        "classes": list(classes),
        "split": part,
        "images": {name: int((test["target"] == name).sum()) for name in task.classes},
        "patients": int(test["patient"].nunique()),
        "trained_on": len(rows),
        "replicates": config.replicates,
        "accuracy_of_known": measure.share(right, ~unknown),
        "answers": {name: measure.share(answers == name, unknown) for name in classes},
        "confidence": {
            name: np.round(np.sort(confidence[(test["target"] == name).to_numpy()]), 4).tolist()
            for name in task.classes
        },
        "unknown_by_confidence": measure.area(-confidence, np.ones(len(test), bool)),
        "anomaly": None if scores is None else _anomaly(scores, anomaly, test, -confidence, measure),
    }
    write_json(folder.classes_file, facts)
    return facts


def left_out(task: Task, asked: str | None) -> str:
    """The class to leave out: the one asked for, else the last. DataError when two are not left."""
    if len(task.classes) < 3:
        raise DataError(
            f"task {task.name!r} has {len(task.classes)} classes: too few to leave one out",
            "use a task with three classes",
        )
    if asked is not None and asked not in task.classes:
        raise DataError(
            f"missing.classes.without: {asked!r} is no class of {task.name!r}", nearest(asked, task.classes)
        )
    return asked or task.classes[-1]


class _Measure:
    """Figures over the held-out images, each with its interval over patients."""

    def __init__(self, test: pd.DataFrame, unknown: np.ndarray, config: MissingConfig) -> None:
        self.test, self.unknown, self.config = test, unknown, config

    def share(self, hits: np.ndarray, among: np.ndarray) -> dict[str, Any]:
        """Share of `among` that are hits."""
        k, n = int((hits & among).sum()), int(among.sum())
        entry = {"value": k / n if n else None, "k": k, "n": n}
        hit = (hits & among).astype(np.float64)
        return entry | self._interval(
            lambda weights: (weights @ hit) / np.maximum(weights @ among.astype(np.float64), 1), among
        )

    def area(self, score: np.ndarray, among: np.ndarray) -> dict[str, Any]:
        """AUROC of the unknown label against the others, higher scores for the unknown; over `among`."""
        value = auroc(score[among], self.unknown[among])
        entry = {"value": None if np.isnan(value) else float(value), "n": int(among.sum())}
        return entry | self._interval(
            lambda weights: np.asarray(auroc(score[among], self.unknown[among], weights[:, among])), among
        )

    def _interval(self, metric: Any, among: np.ndarray) -> dict[str, float]:
        if not self.config.replicates or not among.any():
            return {}
        drawn, _ = bootstrap(
            lambda weights: {"value": metric(weights)},
            self.test["patient"].to_numpy(),
            self.unknown,
            self.config.replicates,
            self.config.seed,
        )
        low, high = percentile_interval(drawn["value"])
        return {} if np.isnan(low) else {"low": low, "high": high}


def _anomaly(
    scores: pd.DataFrame, anomaly: AnomalyFolder, test: pd.DataFrame, doubt: np.ndarray, measure: _Measure
) -> dict[str, Any] | None:
    """AUROC of the unknown label by the run's best detector, and by doubt on the very same images."""
    best = anomaly.figures().best
    free = scores[scores["role"].isin(MEASURED)].set_index("case_id")[best]
    score = test["case_id"].map(free).to_numpy(np.float64)
    among = ~np.isnan(score)
    unknown, healthy = measure.unknown, (test["target"] == HEALTHY).to_numpy()
    if not (among & unknown).any() or not (among & ~unknown).any():
        return None
    score = np.nan_to_num(score)
    return {
        "detector": best,
        "images": int(among.sum()),
        "unknown": int((among & unknown).sum()),
        "by_score": measure.area(score, among),
        "by_confidence": measure.area(doubt, among),
        "by_score_against_healthy": measure.area(score, among & (unknown | healthy)),
        "by_score_against_abnormal": measure.area(score, among & (unknown | ~healthy)),
    }
