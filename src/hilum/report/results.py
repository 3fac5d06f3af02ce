"""The results of one task of a run, read and checked once for the sections that print them."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from hilum.artifacts.card import IN_BOTH_LOOKS, IN_OTHER_LOOK, ModelCard
from hilum.artifacts.curves import Curves
from hilum.artifacts.metrics import Metrics, SplitMetrics
from hilum.artifacts.published import Baseline
from hilum.artifacts.run import SplitFacts
from hilum.data.labels import HEALTHY
from hilum.folders import TaskFolder
from hilum.report.stated import stated, value_text
from hilum.report.titles import title_of
from hilum.report.wording import listing, plural, split_name
from hilum.run import Run


@dataclass(frozen=True)
class Results:
    """Card, figures, predictions and history of a task. `split` is the held-out part that is reported first: test
    where there is one, else val. `folder`: where curves and published baseline are."""

    task: str
    card: ModelCard
    metrics: Metrics
    predictions: pd.DataFrame
    history: pd.DataFrame
    division: SplitFacts | None
    split: str
    folder: TaskFolder

    @cached_property
    def curves(self) -> Curves:
        """What is drawn of the held-out split."""
        return Curves.load(self.folder.curves_file, self.card.weights_digest)

    @cached_property
    def baseline(self) -> Baseline | None:
        """The published baseline; None where none fits labels and data."""
        if not self.folder.baseline_file.exists():
            return None
        return Baseline.load(self.folder.baseline_file, self.card.weights_digest)

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes, in its order.

        >>> from pathlib import Path
        >>> card = ModelCard.model_construct(classes=["normal", "pneumonia"])
        >>> Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("binary"))).classes
        ('normal', 'pneumonia')
        """
        return tuple(self.card.classes)

    @property
    def title(self) -> str:
        """The heading of the task, from its classes.

        >>> from pathlib import Path
        >>> card = ModelCard.model_construct(classes=["normal", "pneumonia"])
        >>> Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("binary"))).title
        'Normal vs pneumonia'
        """
        return title_of(self.task, self.classes)

    @property
    def has_normal(self) -> bool:
        """Whether the first class is the healthy one: then the others together are abnormal.

        >>> from pathlib import Path
        >>> card = ModelCard.model_construct(classes=["covid", "pneumonia"])
        >>> Results("multiclass", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("multiclass"))).has_normal
        False
        """
        return self.classes[0] == HEALTHY

    @property
    def block(self) -> SplitMetrics:
        """The figures of the held-out split.

        >>> from pathlib import Path
        >>> block = SplitMetrics.model_construct(n_cases=10)
        >>> rows = pd.DataFrame()
        >>> Results("binary", ModelCard.model_construct(), Metrics({"test": block}), rows, rows, None, "test",
        ...     TaskFolder(Path("binary"))).block.n_cases
        10
        """
        return self.metrics[self.split]

    @property
    def rows(self) -> pd.DataFrame:
        """The predictions of the held-out split.

        >>> from pathlib import Path
        >>> rows = pd.DataFrame({"case_id": ["a", "b"], "split": ["train", "test"]})
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), rows, rows, None, "test",
        ...     TaskFolder(Path("binary")))
        >>> task.rows["case_id"].tolist()
        ['b']
        """
        return self.predictions[self.predictions["split"] == self.split]

    @property
    def size(self) -> str:
        """How much the held-out split holds: '624 images of 390 patients'.

        >>> from pathlib import Path
        >>> rows = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "p"], "split": "test"})
        >>> block = SplitMetrics.model_construct(n_cases=2, n_patients=1)
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({"test": block}), rows, rows, None, "test",
        ...     TaskFolder(Path("binary")))
        >>> print(task.size.replace("\\xa0", " "))
        2 images of 1 patient
        """
        return self.size_of(self.split)

    def size_of(self, split: str) -> str:
        """Images and patients of a split; a source that knows no patients makes each image its own patient, and
        then none are counted.

        >>> from pathlib import Path
        >>> rows = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "p"], "split": "test"})
        >>> block = SplitMetrics.model_construct(n_cases=2, n_patients=1)
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({"test": block}), rows, rows, None, "test",
        ...     TaskFolder(Path("binary")))
        >>> print(task.size_of("test").replace("\\xa0", " "))
        2 images of 1 patient
        """
        return self._size(split, "image")

    @property
    def sample(self) -> str:
        """The held-out split in words: '624 test images of 390 patients'.

        >>> from pathlib import Path
        >>> rows = pd.DataFrame({"case_id": ["a", "b"], "patient": ["p", "p"], "split": "test"})
        >>> block = SplitMetrics.model_construct(n_cases=2, n_patients=1)
        >>> task = Results("binary", ModelCard.model_construct(), Metrics({"test": block}), rows, rows, None, "test",
        ...     TaskFolder(Path("binary")))
        >>> print(task.sample.replace("\\xa0", " "))
        2 test images of 1 patient
        """
        return self._size(self.split, f"{split_name(self.split)} image")

    def _size(self, split: str, noun: str) -> str:
        rows = self.predictions[self.predictions["split"] == split]
        images = plural(self.metrics[split].n_cases, noun)
        if (rows["patient"] == rows["case_id"]).all():
            return images
        return f"{images} of {plural(self.metrics[split].n_patients, 'patient')}"

    @property
    def threshold(self) -> float | None:
        """The operating point of a binary model, a probability of the abnormal class.

        >>> from pathlib import Path
        >>> from hilum.artifacts.card import OperatingPoint
        >>> card = ModelCard.model_construct(threshold=OperatingPoint.model_construct(value=0.3))
        >>> Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("binary"))).threshold
        0.3
        """
        return self.card.threshold_value

    @property
    def chosen_on_val(self) -> list[str]:
        """What the validation images decided.

        >>> from pathlib import Path
        >>> from hilum.artifacts.card import OperatingPoint
        >>> chosen = OperatingPoint.model_construct(chosen_on="val", rule="youden")
        >>> card = ModelCard.model_construct(threshold=chosen)
        >>> Results("binary", card, Metrics({}), *[pd.DataFrame()] * 2, None, "test",
        ...     TaskFolder(Path("a"))).chosen_on_val
        ['the epoch that was kept', 'the threshold']
        """
        return chosen_on_val(self.card)


def chosen_on_val(card: ModelCard) -> list[str]:
    """What the validation images decided about a model.

    >>> chosen_on_val(ModelCard.model_construct(threshold=None))
    ['the epoch that was kept']
    """
    threshold = card.threshold
    decided = (
        threshold
        and threshold.chosen_on in ("val", IN_BOTH_LOOKS, IN_OTHER_LOOK)
        and threshold.rule != "half"
    )
    return ["the epoch that was kept", *(["the threshold"] if decided else [])]


def chosen_note(folder: TaskFolder, split: str) -> str:
    """What a caption says where the task's model is measured on images that chose it; nothing for other images.

    >>> from pathlib import Path
    >>> chosen_note(TaskFolder(Path("binary")), "test")
    ''
    """
    if split != "val":
        return ""
    return f" The same images chose {listing(chosen_on_val(folder.card()))}, so the figures are slightly optimistic."


def results(run: Run, task: str) -> Results | None:
    """The task's results, or None when it was not trained and evaluated to the end.

    RunError when the figures were made with other weights than those that lie beside them.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     results(Run.create(place, RunFacts(), {"tasks": {}}), "binary") is None
    True
    """
    folder = run.task(task)
    if not (folder.card_file.exists() and folder.metrics_file.exists() and folder.predictions_file.exists()):
        return None
    metrics = folder.metrics()
    return Results(
        task,
        folder.card(),
        metrics,
        folder.predictions(),
        folder.history(),
        run.facts().split.get(task),
        metrics.reported,
        folder,
    )


def headline(task: Results) -> str:
    """The accuracy, and where the errors lie.

    Two classes: "Accuracy 98.7 % (304/308; 95 % CI 97.3 to 99.7) on 308 test images of 190 patients.
    Sensitivity 98.4 % (189/192), specificity 99.1 % (115/116)."

    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> block = SplitMetrics.model_construct(n_cases=10, n_patients=10, accuracy=Figure(value=0.9, k=9, n=10),
    ...     sensitivity=Figure(value=0.8, k=4, n=5), specificity=Figure(value=1.0, k=5, n=5))
    >>> rows = pd.DataFrame({"case_id": ["a"], "patient": ["a"], "split": ["test"]})
    >>> card = ModelCard.model_construct(classes=["normal", "pneumonia"])
    >>> task = Results("binary", card, Metrics({"test": block}), rows, rows, None, "test", TaskFolder(Path("binary")))
    >>> print(headline(task).replace("\\xa0", " "))
    Accuracy 90.0 % (9/10) on 10 test images. Sensitivity 80.0 % (4/5), specificity 100.0 % (5/5).
    """
    block = task.block
    accuracy = f"Accuracy {stated(block.accuracy)} on {task.sample}."
    if len(task.classes) > 2:
        return f"{accuracy} {_most_frequent_error(task)}"
    sensitivity, specificity = (
        f"{value_text(figure)} ({figure.counts})" for figure in (block.sensitivity, block.specificity)
    )
    if task.has_normal:
        return f"{accuracy} Sensitivity {sensitivity}, specificity {specificity}."
    negative, positive = list(task.classes)
    return f"{accuracy} Sensitivity for {positive}: {sensitivity}; for {negative}: {specificity}."


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
