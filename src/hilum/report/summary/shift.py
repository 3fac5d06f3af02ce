"""The first words of the summary: where validation and test differ by more than their intervals; without a test part
where held-out images and the same in the look of the other label's devices do."""

from dataclasses import dataclass

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.artifacts.metrics import SplitMetrics
from hilum.data.labels import HEALTHY
from hilum.report.results import Results
from hilum.report.stated import Unit, value_text
from hilum.report.wording import LEVEL, listing, metric, number, sentence
from hilum.run import Run

NAMED = 3
"""Shortcuts that the sentence names."""


@dataclass(frozen=True)
class Difference:
    """The same figure on two sets of images. `name`: as a sentence holds it; `places`: where the two were measured."""

    name: str
    unit: Unit
    before: Figure
    after: Figure
    places: str = "on test than on validation"

    @property
    def value(self) -> float:
        """The second less the first.

        >>> Difference("accuracy", "%", Figure(value=0.75), Figure(value=0.5)).value
        -0.25
        """
        return (self.after.value or 0.0) - (self.before.value or 0.0)

    @property
    def beyond_intervals(self) -> bool:
        """Whether both figures have an interval and the two do not overlap.

        >>> val, test = Figure(value=0.9, low=0.85, high=0.95), Figure(value=0.8, low=0.7, high=0.84)
        >>> Difference("accuracy", "%", val, test).beyond_intervals
        True
        """
        before, after = self.before, self.after
        if before.low is None or before.high is None or after.low is None or after.high is None:
            return False
        return after.high < before.low or before.high < after.low

    @property
    def text(self) -> str:
        """By how much, and both figures.

        >>> text = Difference("accuracy", "%", Figure(value=0.9), Figure(value=0.8)).text
        >>> print(text.replace("\\xa0", " "))
        accuracy is 10.0 points lower on test than on validation (80.0 % and 90.0 %)
        """
        size = f"{100 * abs(self.value):.1f} points" if self.unit == "%" else number(abs(self.value))
        side = "lower" if self.value < 0 else "higher"
        both = f"{value_text(self.after, self.unit)} and {value_text(self.before, self.unit)}"
        return f"{self.name} is {size} {side} {self.places} ({both})"


def shift_sentences(run: Run, trained: list[Results]) -> list[str]:
    """One for each task whose validation and test, or else plain and counterfactual images, differ by more than their
    intervals.

    >>> shift_sentences(Run.__new__(Run), [])
    []
    """
    return [words for task in trained if (words := _words(run, task))]


def _words(run: Run, task: Results) -> str:
    """By how much, in which class, and the likeliest shortcuts; "" where there is nothing to say."""
    if "val" in task.metrics and "test" in task.metrics:
        changes, sets, question = differences(task), "validation and test", task.task
    else:
        changes, sets, question = (
            _counterfactual(task),
            "held-out images as they are and in the look of the other label’s devices",
            "binary",  # the devices of normal and abnormal images are swapped, whatever the classes
        )
    if not changes:
        return ""
    words = [
        f"{task.title}: {sets} differ by more than their {LEVEL} intervals.",
        *(sentence(difference.text) for difference in changes),
    ]
    fallen = any(difference.value < 0 for difference in changes)
    shortcuts = _shortcuts(run, question) if fallen else []
    if shortcuts:
        words.append(
            f"Likeliest shortcuts, which separate the labels without the lungs: {listing(shortcuts)}."
        )
    return " ".join(words)


def _counterfactual(task: Results) -> list[Difference]:
    """What stands for a test part where there is none: the acquisition counterfactual, if it was measured."""
    if not task.folder.counterfactual_file.exists():
        return []
    figures = task.folder.counterfactual()
    plain, other = figures.plain, figures.all_parts
    place = "in that look than without it"
    whole = [
        Difference("accuracy", "%", plain.accuracy, other.accuracy, place),
        Difference(metric("auroc").name, "", plain.auroc, other.auroc, place),
    ]
    classes = [
        Difference("sensitivity", "%", plain.sensitivity, other.sensitivity, place),
        Difference("specificity", "%", plain.specificity, other.specificity, place),
    ]
    return _beyond(whole, classes)


def differences(task: Results) -> list[Difference]:
    """Accuracy, AUROC, and the share of each class that is classified correctly, where the intervals of validation
    and test do not overlap; the largest change of a class comes alone, after the first two.

    >>> high, low = Figure(value=0.9, low=0.85, high=0.95), Figure(value=0.5, low=0.4, high=0.6)
    >>> from hilum.artifacts.metrics import Metrics
    >>> val, test = (SplitMetrics.model_construct(classes=["normal", "pneumonia"], accuracy=high, auroc=high,
    ...     sensitivity=high, specificity=figure) for figure in (high, low))
    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.folders import TaskFolder
    >>> tables = [pd.DataFrame()] * 2
    >>> both = Metrics({"val": val, "test": test})
    >>> task = Results("binary", ModelCard.model_construct(), both, *tables, None, "test", TaskFolder(Path("binary")))
    >>> [difference.name for difference in differences(task)]
    ['specificity']
    """
    val, test = task.metrics["val"], task.metrics["test"]
    whole = [
        Difference("accuracy", "%", val.accuracy, test.accuracy),
        Difference(metric("auroc").name, "", val.auroc, test.auroc),
    ]
    ours, theirs = _recalls(test), _recalls(val)
    classes = [Difference(name, "%", theirs[name], ours[name]) for name in ours if name in theirs]
    return _beyond(whole, classes)


def _beyond(whole: list[Difference], classes: list[Difference]) -> list[Difference]:
    """Those of the whole whose intervals do not overlap, and the largest such change of a class."""
    of_class = [difference for difference in classes if difference.beyond_intervals]
    largest = sorted(of_class, key=lambda difference: abs(difference.value))[-1:]
    return [*(difference for difference in whole if difference.beyond_intervals), *largest]


def _recalls(block: SplitMetrics) -> dict[str, Figure]:
    """Of each class, the share that is classified correctly."""
    if len(block.classes) == 2:
        first, second = block.classes
        if first == HEALTHY:
            return {"sensitivity": block.sensitivity, "specificity": block.specificity}
        return {f"sensitivity for {second}": block.sensitivity, f"sensitivity for {first}": block.specificity}
    return {
        f"sensitivity for {name}": figure
        for name in block.classes
        if (figure := block.of_class(name, "sensitivity")) is not None
    }


def _shortcuts(run: Run, task: str) -> list[str]:
    """The best single predictors of the audit."""
    if not run.audit_file.exists():
        return []
    return [
        f"{shortcut.short_label} (AUROC {number(shortcut.auroc.value, 2)})"
        for shortcut in Audit.load(run.audit_file).shortcuts_of(task)[:NAMED]
    ]
