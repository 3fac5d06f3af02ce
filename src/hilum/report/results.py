"""The results of one task of a run, read and checked once for the sections that print them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from hilum.artifacts.curves import Curves
from hilum.artifacts.metrics import Metrics, SplitMetrics
from hilum.artifacts.published import Baseline
from hilum.folders import TaskFolder
from hilum.report.wording import LEVEL, Entry, figure, interval, of, part, plural, split_name
from hilum.run import Run


@dataclass(frozen=True)
class Results:
    """Card, figures, predictions and history of a task. `split` is the held-out part that is reported first: test
    where there is one, else val. `folder`: where curves and published baseline are."""

    task: str
    card: dict[str, Any]
    metrics: dict[str, SplitMetrics]
    predictions: pd.DataFrame
    history: pd.DataFrame
    division: dict[str, Any]
    split: str
    folder: TaskFolder

    @cached_property
    def curves(self) -> Curves:
        """What is drawn of the held-out split."""
        return Curves.load(self.folder.curves_file, self.card["weights_digest"])

    @cached_property
    def baseline(self) -> Baseline:
        """The published baseline."""
        return Baseline.load(self.folder.baseline_file, self.card["weights_digest"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes, in its order."""
        return tuple(self.card["classes"])

    @property
    def block(self) -> SplitMetrics:
        """The figures of the held-out split."""
        return self.metrics[self.split]

    @property
    def rows(self) -> pd.DataFrame:
        """The predictions of the held-out split."""
        return self.predictions[self.predictions["split"] == self.split]

    @property
    def size(self) -> str:
        """How much the held-out split holds: '624 images of 390 patients'."""
        return self.size_of(self.split)

    def size_of(self, split: str) -> str:
        """Images and patients of a split; a source that knows no patients makes each image its own patient, and
        then none are counted."""
        return self._size(split, "image")

    @property
    def sample(self) -> str:
        """The held-out split in words: '624 test images of 390 patients'."""
        return self._size(self.split, f"{split_name(self.split)} image")

    def _size(self, split: str, noun: str) -> str:
        rows = self.predictions[self.predictions["split"] == split]
        images = plural(self.metrics[split].n_cases, noun)
        if (rows["patient"] == rows["case_id"]).all():
            return images
        return f"{images} of {plural(self.metrics[split].n_patients, 'patient')}"

    @property
    def threshold(self) -> float | None:
        """The operating point of a binary model, a probability of the abnormal class."""
        return (self.card.get("threshold") or {}).get("value")

    @property
    def chosen_on_val(self) -> list[str]:
        """What the validation images decided."""
        threshold = self.card.get("threshold") or {}
        decided = threshold.get("chosen_on") == "val" and threshold.get("rule") != "half"
        return ["the epoch that was kept", *(["the threshold"] if decided else [])]


def results(run: Run, task: str) -> Results | None:
    """The task's results, or None when it was not trained and evaluated to the end.

    RunError when the figures were made with other weights than those that lie beside them.
    """
    folder = run.task(task)
    if not (folder.card_file.exists() and folder.metrics_file.exists() and folder.predictions_file.exists()):
        return None
    card = folder.card()
    metrics = Metrics.load(folder.metrics_file, card["weights_digest"])
    return Results(
        task,
        card,
        dict(metrics.splits),
        folder.predictions(),
        folder.history(),
        run.facts().get("split", {}).get(task, {}),
        metrics.reported,
        folder,
    )


def with_interval(key: str, entry: Entry) -> str:
    """A figure with its counts and interval, as a sentence holds it.

    >>> with_interval("accuracy", {"value": 0.5, "low": 0.4, "high": 0.6, "k": 5, "n": 10}).replace("\\xa0", " ")
    '50.0 % (5/10; 95 % CI 40.0 to 60.0 %)'
    """
    without = part(entry, "reason") or ""
    ends = f"{LEVEL} CI {interval(key, entry)}" if part(entry, "low") is not None else without
    inside = "; ".join(words for words in (of(entry), ends) if words)
    return f"{figure(key, entry)} ({inside})" if inside else figure(key, entry)


def headline(task: Results) -> str:
    """The accuracy, and where the errors lie.

    Two classes: "Accuracy 98.7 % (304/308; 95 % CI 97.3 to 99.7 %) on 308 test images of 190 patients.
    Sensitivity 98.4 % (189/192), specificity 99.1 % (115/116)."
    """
    block = task.block
    accuracy = f"Accuracy {with_interval('accuracy', block.accuracy)} on {task.sample}."
    if len(task.classes) > 2:
        return f"{accuracy} {_most_frequent_error(task)}"
    sensitivity, specificity = (
        f"{figure(key, entry)} ({of(entry)})"
        for key, entry in (("sensitivity", block.sensitivity), ("specificity", block.specificity))
    )
    return f"{accuracy} Sensitivity {sensitivity}, specificity {specificity}."


def _most_frequent_error(task: Results) -> str:
    """The largest cell off the diagonal, as a sentence."""
    cells = [
        (n, label, predicted)
        for row, label in zip(task.block.confusion, task.classes, strict=True)
        for n, predicted in zip(row, task.classes, strict=True)
        if label != predicted
    ]
    n, label, predicted = max(cells, key=lambda cell: cell[0])
    if not n:
        return "There is no error among them."
    total = sum(task.block.confusion[task.classes.index(label)])
    return f"Most frequent error: {label} classified as {predicted} ({n} of {total} images labelled {label})."
