"""From a task's curves and history to the panels of its section, each row with its caption."""

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hilum.artifacts.curves import ClassCurves
from hilum.report.figures import look
from hilum.report.performance import plots
from hilum.report.results import Results
from hilum.report.wording import LEVEL, number, plural, split_name


@dataclass(frozen=True)
class PanelRow:
    """Panels side by side, the caption below them, and what they show in one sentence."""

    drawings: tuple[Markup, ...]
    caption: str
    sentence: str = ""


def training_panels(task: Results) -> PanelRow:
    """Loss, accuracy and learning rate over epochs.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> history = pd.DataFrame({"epoch": [1, 2], "train_loss": [0.7, 0.5], "val_loss": [0.8, 0.6]})
    >>> images = pd.DataFrame({"split": ["train", "train", "val"]})
    >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), images, history, None, "test",
    ...     TaskFolder(Path("binary")))
    >>> print(training_panels(task).caption.partition(".")[0].replace("\\xa0", " "))
    2 epochs; 2 training images and 1 validation image
    """
    best = task.card.training.best_epoch if task.card.training else None
    drawings = [
        plots.training_curve(task.history, key, best, f"{task.task}-{key}")
        for key in ("loss", "accuracy")
        if {f"train_{key}", f"val_{key}"} & set(task.history.columns)
    ]
    if "learning_rate" in task.history:
        drawings.append(plots.learning_rate_curve(task.history, best, f"{task.task}-rate"))
    kept = f" The weights after epoch {best} were kept." if best else ""
    images = " and ".join(
        plural(int((task.predictions["split"] == part).sum()), f"{split_name(part)} image")
        for part in ("train", "val")
    )
    return PanelRow(
        tuple(drawings),
        f"{plural(len(task.history), 'epoch')}; {images}.{kept} Training figures are means over each epoch while the"
        " network was learning, on augmented images where the recipe augments them, so they may be worse than"
        " those of validation.",
    )


def operating_panels(task: Results) -> list[PanelRow]:
    """ROC and precision-recall: one row with both for two classes; for more, a row of ROC curves and a row of
    precision-recall curves, one panel per class. Empty where no class has curves.
    """
    if not task.curves.classes:
        return []
    about = (
        f"{task.size}, {split_name(task.split)} split. Bands, and lines at the marker: {LEVEL} intervals over"
        " patients, point by point."
    )
    if len(task.classes) == 2:
        return [_two_class_panels(task, task.curves.classes[0], about)]
    against = " One class against the rest; the marker is the model’s choice of the most probable class."
    return [
        PanelRow(
            tuple(_roc(task, name) for name in task.curves.classes), f"{about}{against} Dotted: guessing."
        ),
        PanelRow(
            tuple(_precision_recall(task, name) for name in task.curves.classes),
            f"{about} Dotted: the share of the class, which is guessing.",
        ),
    ]


def _two_class_panels(task: Results, curves: ClassCurves, about: str) -> PanelRow:
    corner = (task.block.auroc.value or 0) >= 0.9
    drawings = [
        _roc(task, curves),
        *([_roc(task, curves, corner=True)] if corner else []),
        _precision_recall(task, curves),
    ]
    marked = " The marker is the threshold in use." if task.threshold is not None else ""
    enlarged = " Middle: the upper left corner of the ROC curve, enlarged." if corner else ""
    return PanelRow(tuple(drawings), f"{about}{marked}{enlarged} Dotted: guessing.")


def calibration_panels(task: Results) -> PanelRow:
    """Reliability diagrams: of two classes the abnormal one, beside its histogram; of more, each.

    The sentence names the largest gap: "The largest gap: in a group of 100 images the mean stated probability of
    virus is 0.80 and the observed share 0.50; the stated probability is too high."
    """
    drawings = [
        plots.reliability_diagram(
            curves.bins,
            look(curves.name, task.classes),
            curves.name,
            f"{task.task}-reliability-{curves.name}",
        )
        for curves in task.curves.classes
    ]
    most = max((len(curves.bins) for curves in task.curves.classes), default=0)
    about = (
        f"{task.size}, {split_name(task.split)} split, in up to {most} groups of equal size by stated"
        f" probability. On the dotted line, stated probability and observed share agree. Bars: Wilson’s {LEVEL}"
        " interval, images taken as independent."
    )
    if len(task.classes) == 2 and task.curves.classes:
        drawings.append(_histogram(task, task.classes[1]))
        about += (
            " Right: distribution of the probabilities, counts on a logarithmic axis; dashed: the threshold."
        )
    return PanelRow(tuple(drawings), about, _largest_gap(task.curves.classes))


def _largest_gap(classes: list[ClassCurves]) -> str:
    """The group with the largest gap, of those that chance does not explain in a calibrated model."""
    gaps = [
        (abs(group.probability - group.observed), curves.name, group)
        for curves in classes
        for group in curves.bins
        if group.by_chance and not group.by_chance[0] <= group.observed <= group.by_chance[1]
    ]
    if not classes:
        return ""
    if not gaps:
        return "In no group is the gap of stated probability and observed share larger than chance explains."
    _, name, worst = max(gaps, key=lambda gap: gap[0])
    direction = "too low" if worst.observed > worst.probability else "too high"
    return (
        f"The largest gap that chance does not explain: in a group of {worst.n} images the mean stated probability of"
        f" {name} is"
        f" {number(worst.probability, 2)} and the observed share {number(worst.observed, 2)}; the stated"
        f" probability is {direction}."
    )


# -- single panels -----------------------------------------------------------------------------------------


def _roc(task: Results, curves: ClassCurves, corner: bool = False) -> Markup:
    point = (curves.false_positive_rate, curves.sensitivity)
    title = "the same, enlarged" if corner else _title(task, curves.name)
    ids = f"{task.task}-roc-{curves.name}{'-corner' if corner else ''}"
    area = _area(task, curves.name, "auroc")
    return plots.roc(curves.roc, look(curves.name, task.classes), title, area, point, ids, corner)


def _precision_recall(task: Results, curves: ClassCurves) -> Markup:
    point = None if curves.precision.value is None else (curves.sensitivity, curves.precision)
    return plots.precision_recall(
        curves.precision_recall,
        look(curves.name, task.classes),
        _title(task, curves.name),
        _area(task, curves.name, "average_precision"),
        curves.share,
        point,
        f"{task.task}-pr-{curves.name}",
    )


def _histogram(task: Results, abnormal: str) -> Markup:
    rows = task.rows
    scores = {
        name: rows.loc[rows["target"] == name, f"prob_{abnormal}"].to_numpy(np.float64)
        for name in task.classes
    }
    return plots.score_histogram(scores, task.classes, abnormal, task.threshold, f"{task.task}-scores")


def _area(task: Results, name: str, key: str) -> str:
    """The area under the curve as metrics.json has it, so that figure and table agree."""
    figure = task.block.of_class(name, key)
    return number(figure.value if figure else None)


def _title(task: Results, name: str) -> str:
    return f"{name} against {task.classes[0]}" if len(task.classes) == 2 else f"{name} against the rest"
