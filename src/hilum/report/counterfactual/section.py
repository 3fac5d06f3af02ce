"""Acquisition counterfactual: the same images in the look of the other label's devices, as sentences, table and
contact sheet."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.counterfactual import Counterfactual, CounterfactualCase, CounterfactualPoint
from hilum.data.counterfactual.image import Look, in_the_look_of
from hilum.data.decode import read_grey
from hilum.data.place import scaled
from hilum.errors import DataError
from hilum.folders import TaskFolder
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.pictures import Picture, data_uri
from hilum.report.results import chosen_note
from hilum.report.section import Section
from hilum.report.stated import interval_text, signed, stated, value_text
from hilum.report.titles import title_of
from hilum.report.wording import NOTHING, number, plural, split_name
from hilum.run import Run

ANCHOR, TITLE = "counterfactual", "Acquisition counterfactual"
LARGE_LOSS = 0.05
"""Loss of AUROC from which the network is said to rely on the device."""

LONGEST = 200
"""Pixels of the longer side of a picture on the contact sheet."""

PARTS = {
    "tone": "Tone curve",
    "aspect": "Aspect",
    "crop": "Crop",
    "sharpness": "Sharpness and noise",
    "markers": "Markers and text",
    "frame": "Frame",
}


@dataclass(frozen=True)
class Swap:
    """One image of the contact sheet, its donor, and itself in the donor's look, with the words below each."""

    image: Picture
    donor: Picture
    swapped: Picture
    image_words: str
    donor_words: str
    swapped_words: str
    is_flipped: bool


def make(run: Run) -> Section | None:
    """The section; the reason and the command where the stage has left nothing."""
    folders = [run.task(name) for name in run.tasks if run.task(name).counterfactual_file.exists()]
    if not folders:
        return absent(run, "counterfactual", ANCHOR, TITLE)
    measured = [(folder, folder.counterfactual()) for folder in folders]
    paths = run.cases().table.set_index("case_id")["path"]
    return Section(
        ANCHOR,
        TITLE,
        "counterfactual/template.html",
        {
            "lead": " ".join(lead(folder.name, figures) for folder, figures in measured),
            "verdict": verdict([figures for _, figures in measured]),
            "tasks": [_task(folder, figures, paths) for folder, figures in measured],
            "squeezed": any(figures.squeezed for _, figures in measured),
            "commands": [commands.stage(run, "counterfactual"), commands.report(run)],
        },
    )


# -- words ---------------------------------------------------------------------------------------------------


def lead(task: str, figures: Counterfactual) -> str:
    """What changes in one task, in sentences."""
    plain, swapped = figures.plain, figures.all_parts
    return (
        f"{title_of(task, figures.classes)}: in the look of the other label’s devices the AUROC of normal against"
        f" abnormal goes from {value_text(plain.auroc, '')} to {stated(swapped.auroc, '')}, specificity from"
        f" {value_text(plain.specificity)} to {stated(swapped.specificity)}."
        f" {_capital(stated(swapped.flipped))} of the predictions change."
    )


def _has_fallen(figures: Counterfactual) -> bool:
    """Whether the AUROC falls by more than LARGE_LOSS, interval included. Where every replicate says the same, the
    difference has no interval, and the two AUROCs are compared end to end."""
    plain, swapped = figures.plain.auroc, figures.all_parts
    change = swapped.auroc_change
    if change is not None and change.high is not None:
        return change.high < -LARGE_LOSS
    ends = plain.low, swapped.auroc.high
    return ends[0] is not None and ends[1] is not None and ends[1] < ends[0] - LARGE_LOSS


def verdict(measured: list[Counterfactual]) -> str:
    """What the loss of AUROC says about images from elsewhere: one sentence for the worst task."""
    worst = min(measured, key=lambda figures: _value(figures.all_parts.auroc_change))
    change = worst.all_parts.auroc_change
    loss = f"The AUROC changes by {signed(_value(change), 3)}{_interval(change)}"
    if _has_fallen(worst):
        return (
            f"{loss}: the network relies on how images were taken. Its figures on held-out images of the same devices"
            " do not hold for another hospital."
        )
    if change is not None and change.low is not None and change.low > -LARGE_LOSS:
        return (
            f"{loss}: no large reliance on the device was found. A shortcut that this test cannot swap, such as"
            " posture or tubes over the lungs, stays unseen."
        )
    return f"{loss}: the images are too few to say whether the network relies on the device."


def _value(figure: Figure | None) -> float:
    return figure.value if figure is not None and figure.value is not None else 0.0


def _interval(figure: Figure | None) -> str:
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f" (95\u00a0% CI {signed(figure.low, 3)} to {signed(figure.high, 3)})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# -- table ---------------------------------------------------------------------------------------------------


def _task(folder: TaskFolder, figures: Counterfactual, paths: pd.Series) -> dict[str, Any]:
    of = "" if figures.images == figures.of_images else f", of {figures.of_images} that are held out"
    images = plural(figures.images, f"{split_name(figures.split)} image")
    point = "0.5" if figures.threshold is None else number(figures.threshold)
    return {
        "title": title_of(folder.name, figures.classes),
        "rows": _rows(figures),
        "parts": [_part(name, point) for name, point in figures.parts.items()],
        "caption": (
            f"{images} of {plural(figures.patients, 'patient')}{of}; 95\u00a0% intervals over patients. AUROC,"
            " sensitivity and specificity: normal against abnormal, at the"
            f" operating point (probability of abnormal from {point} on). At a fixed sensitivity or specificity the"
            " threshold is chosen on the same column’s images. Changed: predictions that differ from those on the plain"
            f" images.{chosen_note(folder, figures.split)}"
        ),
        "swaps": [swap for case in figures.cases if (swap := _swap(case, figures, paths)) is not None],
    }


def _rows(figures: Counterfactual) -> list[tuple[str, tuple[str, str], tuple[str, str]]]:
    """Name of each figure, on plain and on counterfactual images."""
    fixed = f"{100 * figures.fixed:g}\u00a0%"
    names = {
        "auroc": "AUROC",
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "specificity_at_half": "Specificity at probability 0.5",
        "specificity_at_fixed": f"Specificity at sensitivity {fixed}",
        "sensitivity_at_fixed": f"Sensitivity at specificity {fixed}",
        "accuracy": "Accuracy of the classes",
        "flipped": "Changed predictions",
    }
    return [
        (
            title,
            _cell(getattr(figures.plain, name), name != "auroc"),
            _cell(getattr(figures.all_parts, name), name != "auroc"),
        )
        for name, title in names.items()
    ]


def _part(name: str, point: CounterfactualPoint) -> tuple[str, list[tuple[str, str]]]:
    shares = (point.sensitivity, point.specificity, point.flipped)
    return PARTS[name], [_cell(point.auroc, False), *map(_cell, shares)]


def _cell(figure: Figure | None, share: bool = True) -> tuple[str, str]:
    """Value, and counts and interval beside it."""
    if figure is None:
        return NOTHING, ""
    unit = "%" if share else ""
    ends = interval_text(figure, unit) or figure.reason
    return value_text(figure, unit), "; ".join(words for words in (figure.counts, ends) if words)


# -- contact sheet -------------------------------------------------------------------------------------------


def _swap(case: CounterfactualCase, figures: Counterfactual, paths: pd.Series) -> Swap | None:
    """The three pictures of a case; None where a file is gone."""
    try:
        own, other = (Look.of(read_grey(paths[name])) for name in (case.case_id, case.donor))
    except (DataError, OSError, KeyError):
        return None
    swapped = in_the_look_of(own, other, squeezed=figures.squeezed)
    return Swap(
        image=_picture(case.case_id, own.image),
        donor=_picture(case.donor, other.image),
        swapped=_picture(case.case_id, swapped),
        image_words=f"{case.label}: classified as {case.plain}, P(abnormal) = {number(case.abnormal_plain, 2)}",
        donor_words=f"Donor: {case.donor_label}",
        swapped_words=(
            f"In the donor’s look: {case.counterfactual}, P(abnormal) = {number(case.abnormal_counterfactual, 2)}"
        ),
        is_flipped=case.plain != case.counterfactual,
    )


def _picture(name: str, image: np.ndarray) -> Picture:
    scale = min(1.0, LONGEST / max(image.shape))
    small = scaled(image, (round(scale * image.shape[0]), round(scale * image.shape[1])))
    return Picture(name, data_uri(small), *small.shape)
