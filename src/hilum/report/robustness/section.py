"""Robustness and missing data: accuracy and calibration on corrupted images, with one curve and one sentence
each, and what the further measurements have left."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.robustness import CorruptedPoint, Point, Robustness
from hilum.data.corruptions import CORRUPTIONS, corrupt
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.errors import DataError
from hilum.folders import TaskFolder
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.pictures import Image, data_uri
from hilum.report.results import chosen_note
from hilum.report.robustness.plots import ACCURACY, ERROR, Curve, panel
from hilum.report.robustness.trained import (
    LabelView,
    TrainingView,
    UnseenView,
    label_values,
    training_values,
    unseen_values,
)
from hilum.report.section import Section
from hilum.report.stated import interval_text, stated, value_text
from hilum.report.titles import title_of
from hilum.report.wording import plural, split_name
from hilum.run import Run

ANCHOR, TITLE = "robustness", "Robustness and missing data"

ALPHA = 0.05
"""The p-value from which chance explains a change."""


def make(run: Run) -> Section | None:
    """The section; the reason and the command where the stage has left nothing.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})).values["sentence"]
    'This stage has not run yet.'
    """
    folders = [run.task(name) for name in run.tasks if run.task(name).robustness_file.exists()]
    if not folders:
        return absent(run, "robustness", ANCHOR, TITLE)
    measured = [(folder, folder.robustness()) for folder in folders]
    command = commands.stage(run, "robustness")
    return Section(
        ANCHOR,
        TITLE,
        "robustness/template.html",
        {
            "lead": " ".join(_lead(folder.name, robustness) for folder, robustness in measured),
            "tasks": [_task(folder, robustness) for folder, robustness in measured],
            "images": _images(run, *measured[0]),
            "few_classes": len(measured[-1][1].classes) < 3,
            **_further(run),
            "make": {option: f"{command} --{option}" for option in ("labels", "classes", "training")},
            "commands": [command, commands.report(run)],
        },
    )


def _further(run: Run) -> dict[str, LabelView | UnseenView | TrainingView | None]:
    """The measurements that were asked for, of the task with the most classes; None for the others."""
    last = run.task(run.class_tasks[-1])
    labels = last.label_efficiency() if last.label_efficiency_file.exists() else None
    return {
        "labels": label_values(labels) if labels and labels.curve else None,
        "unseen": unseen_values(last.unseen_class()) if last.unseen_class_file.exists() else None,
        "training": training_values(last.corruption_training())
        if last.corruption_training_file.exists()
        else None,
    }


# -- words -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class End:
    """The highest severity of a corruption that was measured."""

    severity: int
    point: CorruptedPoint
    change: Figure


def _ends(robustness: Robustness) -> dict[str, End]:
    ends = {}
    for name, points in robustness.corruptions.items():
        if points:
            severity = max(points)
            ends[name] = End(severity, points[severity], points[severity].change)
    return ends


def _lead(task: str, robustness: Robustness) -> str:
    """The largest and the smallest loss, at the highest severity that was measured."""
    title = title_of(task, robustness.classes)
    clean = f"{title}: accuracy {stated(robustness.clean.accuracy)} on {_size(robustness)}."
    ends = _ends(robustness)
    if not ends:
        return clean
    order = sorted(ends, key=lambda name: ends[name].point.accuracy.value or 0.0)
    worst = f"Lowest with {_strength(order[0], ends[order[0]])}: {stated(ends[order[0]].point.accuracy)}."
    if len(order) == 1:
        return f"{clean} {worst}"
    best = f"Highest with {_strength(order[-1], ends[order[-1]])}: {stated(ends[order[-1]].point.accuracy)}."
    return f"{clean} {worst} {best}"


def _sentence(robustness: Robustness, name: str) -> str:
    """One corruption: accuracy before and after, and the calibration error."""
    clean, end = robustness.clean, _ends(robustness)[name]
    strength = _strength(name, end)
    return (
        f"{strength[0].upper()}{strength[1:]}: accuracy {value_text(clean.accuracy)} → {stated(end.point.accuracy)},"
        f" {_verdict(end.change, end.point.p)}. Calibration error {value_text(clean.ece)} →"
        f" {value_text(end.point.ece)}."
    )


def _verdict(change: Figure, p: float) -> str:
    """Only a change that the permutation test by patient shows is a fall or a rise."""
    if p >= ALPHA:
        return "no measurable change"
    return "a rise" if (change.value or 0) > 0 else "a fall"


def _strength(name: str, end: End) -> str:
    return CORRUPTIONS[name].strength(end.severity)


def _size(robustness: Robustness) -> str:
    images = plural(robustness.images, f"{split_name(robustness.split)} image")
    if robustness.patients == robustness.images:
        return images
    return f"{images} of {plural(robustness.patients, 'patient')}"


# -- figures and tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One point as text; `source`: where its severity comes from."""

    name: str
    source: str
    accuracy: str
    counts: str
    accuracy_interval: str
    auroc: str
    auroc_interval: str
    error: str
    error_interval: str


@dataclass(frozen=True)
class TaskView:
    """One task: a drawing and a sentence per corruption, and the table."""

    title: str
    panels: list[tuple[Markup, str]]
    caption: str
    rows: list[Row]


def _task(folder: TaskFolder, robustness: Robustness) -> TaskView:
    predictions = folder.predictions()
    targets = predictions.loc[predictions["split"] == robustness.split, "target"]
    majority = float(targets.value_counts(normalize=True).max())
    names = [name for name in CORRUPTIONS if robustness.corruptions.get(name)]
    return TaskView(
        title=title_of(folder.name, robustness.classes),
        panels=[
            (_panel(folder.name, robustness, name, majority), _sentence(robustness, name)) for name in names
        ],
        caption=(
            f"{_size(robustness)}, of {robustness.of_images} that are held out. Blue with circles: accuracy, at the"
            " threshold chosen on clean images. Orange, dashed, with squares: calibration error of the most"
            f" probable class (10 bins of equal mass). Bands: 95 % intervals over"
            " patients. A change is a fall or a rise where an exact permutation test by patient"
            " gives p < 0.05, each corruption for itself. Dotted: share of the most frequent class."
            f"{chosen_note(folder, robustness.split)}"
        ),
        rows=[
            _row("clean", "", robustness.clean),
            *(row for name in names for row in _rows(robustness, name)),
        ],
    )


def _panel(task: str, robustness: Robustness, name: str, majority: float) -> Markup:
    severities = sorted(robustness.corruptions[name])
    points: list[Point] = [robustness.clean, *(robustness.corruptions[name][each] for each in severities)]
    curves = [
        Curve("accuracy", ACCURACY, [point.accuracy for point in points]),
        Curve("calibration error", ERROR, [point.ece for point in points]),
    ]
    return panel(curves, [0, *severities], CORRUPTIONS[name].title, majority, f"{task}-robustness-{name}")


def _rows(robustness: Robustness, name: str) -> list[Row]:
    corruption = CORRUPTIONS[name]
    return [
        _row(f"{severity}: {corruption.strength(severity)}", corruption.source, point)
        for severity, point in sorted(robustness.corruptions[name].items())
    ]


def _row(name: str, source: str, point: Point) -> Row:
    return Row(
        name=name,
        source=source,
        accuracy=value_text(point.accuracy),
        counts=point.accuracy.counts,
        accuracy_interval=interval_text(point.accuracy),
        auroc=value_text(point.auroc, ""),
        auroc_interval=interval_text(point.auroc, ""),
        error=value_text(point.ece),
        error_interval=interval_text(point.ece),
    )


def _images(run: Run, folder: TaskFolder, robustness: Robustness) -> list[tuple[Image, str]]:
    """The first held-out image in the model's size: clean, and corrupted at the highest severity measured."""
    predictions = folder.predictions()
    case = str(predictions.loc[predictions["split"] == robustness.split, "case_id"].iloc[0])
    path = run.cases().table.set_index("case_id")["path"][case]
    try:
        image = Pixels.of(folder.card().pixels).prepare(read_grey(path))
    except (DataError, OSError):
        return []
    shown = [(image, "clean")]
    for name, end in _ends(robustness).items():
        corrupted = corrupt(image, name, end.severity, robustness.seed, case)
        shown.append((corrupted, f"{end.severity}: {_strength(name, end)}"))
    return [(Image(case, data_uri(picture), *picture.shape), words) for picture, words in shown]
