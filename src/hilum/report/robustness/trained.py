"""Label efficiency, corruption training and unseen class: the values that the template prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.robustness import (
    CorruptionTraining,
    CurvePoint,
    HeldOut,
    LabelEfficiency,
    PairedPoint,
    UnseenAnomaly,
    UnseenClass,
)
from hilum.data.corruptions import CORRUPTIONS
from hilum.report.robustness.plots import (
    CLEAN,
    CORRUPTED,
    WAYS,
    Curve,
    confidence_histogram,
    learning_curve,
    panel,
)
from hilum.report.stated import interval_text, points_text, stated, value_text
from hilum.report.wording import count, listing, percent, plural, split_name

ALPHA = 0.05
"""The p-value from which chance explains a gain."""


@dataclass(frozen=True)
class LabelCell:
    """An accuracy with its interval, and the range over the draws."""

    value: str
    interval: str
    seeds: str


@dataclass(frozen=True)
class LabelRow:
    """One number of labelled patients, a cell per way to use them."""

    share: str
    patients: str
    images: str
    cells: list[LabelCell]


@dataclass(frozen=True)
class LabelView:
    """Label efficiency."""

    drawing: Markup
    lead: str
    caption: str
    ways: list[str]
    rows: list[LabelRow]


@dataclass(frozen=True)
class TrainingRow:
    """One severity: without and with corrupted images in training."""

    name: str
    clean: str
    clean_interval: str
    clean_error: str
    corrupted: str
    corrupted_interval: str
    corrupted_error: str
    gain: str


@dataclass(frozen=True)
class TrainingView:
    """Training on corrupted images: a drawing and a sentence per corruption, and the table."""

    lead: str
    panels: list[tuple[Markup, str]]
    caption: str
    rows: list[TrainingRow]


@dataclass(frozen=True)
class UnseenView:
    """A class that the network was never trained on. `rows`: class, share, counts, interval."""

    drawing: Markup
    unseen: str
    lead: str
    anomaly: str
    caption: str
    rows: list[tuple[str, str, str, str]]


def _sample(result: HeldOut) -> str:
    """On what a figure was measured."""
    images = plural(result.images, f"{split_name(result.split)} image")
    return f"{images} of {plural(result.patients, 'patient')}"


# -- label efficiency --------------------------------------------------------------------------------------


def label_values(result: LabelEfficiency) -> LabelView:
    """The drawing, its sentences and its table."""
    lead = _label_lead(result)
    rows = zip(*(result.curve[way] for way in WAYS), strict=True)
    return LabelView(
        drawing=learning_curve(result, lead),
        lead=lead,
        caption=(
            f"{_sample(result)}. Mean over {plural(result.n_seeds, 'draw')} of the labelled patients, with 95 %"
            f" intervals over the held-out patients. A small network"
            f" at {result.size[0]} px, the same number of steps for every point. Dotted: share of the most"
            " frequent class."
        ),
        ways=[title for title, _ in WAYS.values()],
        rows=[_label_row(points) for points in rows],
    )


def _label_lead(result: LabelEfficiency) -> str:
    """Accuracy with the fewest labels and with all, and whether the pre-training helped with the fewest."""
    few, every = result.curve["scratch"][0], result.curve["scratch"][-1]
    pretrained = result.curve["pretrained"][0]
    gain = f" Difference {points_text(pretrained.gain)}." if pretrained.gain else ""
    return (
        f"Labels of {plural(few.patients, 'patient')} ({percent(few.fraction, 0)}): accuracy"
        f" {stated(few.accuracy)}. Labels of {plural(every.patients, 'patient')}: accuracy"
        f" {stated(every.accuracy)}. With pre-training on all images without labels and labels of"
        f" {plural(pretrained.patients, 'patient')}: accuracy {stated(pretrained.accuracy)}.{gain}"
    )


def _label_row(points: Sequence[CurvePoint]) -> LabelRow:
    return LabelRow(
        share=percent(points[0].fraction, 0),
        patients=count(points[0].patients),
        images=count(points[0].images),
        cells=[
            LabelCell(
                value=value_text(point.accuracy),
                interval=interval_text(point.accuracy),
                seeds=f"{percent(min(point.seeds))} to {percent(max(point.seeds))}",
            )
            for point in points
        ],
    )


# -- corruption training -----------------------------------------------------------------------------------


def training_values(result: CorruptionTraining) -> TrainingView:
    """A panel with its sentence per corruption, the lead and the table."""
    return TrainingView(
        lead=_training_lead(result),
        panels=[
            (_training_panel(result, name), _training_sentence(result, name)) for name in result.corruptions
        ],
        caption=(
            f"{_sample(result)}. Blue with circles: a small network at {result.size[0]} px trained on clean images."
            f" Green, dashed, with triangles: the same with {percent(result.share, 0)} of its training images"
            f" corrupted, in any of these ways. Mean over {plural(result.n_seeds, 'training')} of"
            f" {count(result.steps)} steps. Bands: 95 % intervals over"
            " patients. Dotted: share of the most frequent class."
        ),
        rows=[_training_row("clean", result.clean)]
        + [
            _training_row(f"{severity}: {CORRUPTIONS[name].strength(severity)}", point)
            for name, points in result.corruptions.items()
            for severity, point in sorted(points.items())
        ],
    )


def _training_panel(result: CorruptionTraining, name: str) -> Markup:
    severities = sorted(result.corruptions[name])
    points = [result.clean, *(result.corruptions[name][severity] for severity in severities)]
    curves = [
        Curve("trained on clean images", CLEAN, [point.clean.accuracy for point in points]),
        Curve(
            "trained on partly corrupted images", CORRUPTED, [point.corrupted.accuracy for point in points]
        ),
    ]
    return panel(curves, [0, *severities], CORRUPTIONS[name].title, result.majority, f"training-{name}")


def _training_lead(result: CorruptionTraining) -> str:
    ends = [points[max(points)] for points in result.corruptions.values() if points]
    raised = sum(end.p < ALPHA and (end.gain.value or 0) > 0 for end in ends)
    return (
        f"At the highest severity, training on corrupted images raises the accuracy for {raised} of"
        f" {plural(len(ends), 'corruption')} (permutation test by patient, p < 0.05 each). On clean images the accuracy"
        " is"
        f" {value_text(result.clean.clean.accuracy)} without and {value_text(result.clean.corrupted.accuracy)} with"
        f" such training, a difference of {points_text(result.clean.gain)}."
    )


def _training_sentence(result: CorruptionTraining, name: str) -> str:
    severity = max(result.corruptions[name])
    point = result.corruptions[name][severity]
    strength = CORRUPTIONS[name].strength(severity)
    return (
        f"{strength[0].upper()}{strength[1:]}: accuracy {value_text(point.clean.accuracy)} without such training,"
        f" {value_text(point.corrupted.accuracy)} with it, {points_text(point.gain)}. Calibration error"
        f" {stated(point.clean.ece)} and {stated(point.corrupted.ece)}."
    )


def _training_row(name: str, point: PairedPoint) -> TrainingRow:
    return TrainingRow(
        name=name,
        clean=value_text(point.clean.accuracy),
        clean_interval=interval_text(point.clean.accuracy),
        clean_error=stated(point.clean.ece),
        corrupted=value_text(point.corrupted.accuracy),
        corrupted_interval=interval_text(point.corrupted.accuracy),
        corrupted_error=stated(point.corrupted.ece),
        gain=points_text(point.gain),
    )


# -- unseen class ------------------------------------------------------------------------------------------


def unseen_values(result: UnseenClass) -> UnseenView:
    """The drawing, its sentences and its rows."""
    return UnseenView(
        drawing=confidence_histogram(result),
        unseen=result.unseen,
        lead=_unseen_lead(result),
        anomaly=_anomaly(result.anomaly, result.unseen) if result.anomaly else "",
        caption=(
            f"{_sample(result)}. A small network trained on {count(result.train_images)} images of"
            f" {listing(result.classes)}. Intervals: 95 %, over patients."
        ),
        rows=[
            (name, value_text(share), share.counts, interval_text(share))
            for name, share in result.predicted.items()
        ],
    )


def _unseen_lead(result: UnseenClass) -> str:
    frequent = max(result.predicted, key=lambda name: result.predicted[name].k or 0)
    return (
        f"A network that was never trained on {result.unseen} classifies {stated(result.predicted[frequent])} of"
        f" the {result.unseen} images as {frequent}. Low confidence separates {result.unseen} from the known"
        f" classes with AUROC {stated(result.auroc_by_confidence, '')}; 0.5 is guessing."
    )


def _anomaly(anomaly: UnseenAnomaly, unseen: str) -> str:
    text = (
        f"On {plural(anomaly.images, 'image')} that no detector was fitted on, the anomaly score of"
        f" {anomaly.detector.replace('_', ' ')} has AUROC {stated(anomaly.by_score, '')}, low confidence"
        f" {stated(anomaly.by_confidence, '')}."
    )
    if anomaly.against_normal.value is None or anomaly.against_abnormal.value is None:
        return text
    return (
        f"{text} The score separates {unseen} from normal images with AUROC {stated(anomaly.against_normal, '')}, from"
        f" the other abnormal images with {stated(anomaly.against_abnormal, '')}."
    )
