"""The leakage as a section: of a study's report, and of the page of `hilum compare --leakage`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hilum.files import write_text
from hilum.report.build_page import print_page
from hilum.report.sections import Section
from hilum.report.wording import (
    LEVEL,
    SPACE,
    count,
    figure,
    interval,
    number,
    of,
    percent,
    plural,
)
from hilum.run import LeakageFolder

TITLE = "How much would leakage have bought?"


def build_leakage_page(folder: LeakageFolder, command: str) -> Path:
    """Writes index.html of a leakage that stands alone; needs no torch."""
    write_text(folder.page_file, print_page(TITLE, [leakage_section(folder, None, command)]))
    return folder.page_file


def leakage_section(folder: LeakageFolder, audit: Mapping[str, Any] | None, command: str) -> Section:
    """The three ways to score one recipe, their differences, and what the audit says beside them."""
    found = folder.figures()
    return Section(
        "leakage",
        TITLE,
        "leakage.html",
        {
            "lead": lead(found),
            "rows": _rows(found),
            "shared": _shared(found),
            "audit": _audit(audit, found["task"]) if audit else [],
            "recipe": _recipe(found),
            "level": LEVEL,
            "command": command,
        },
    )


def lead(found: Mapping[str, Any]) -> str:
    """What leakage was worth, and whether that can be told from nothing.

    >>> gap = {"value": 0.1, "low": 0.05, "high": 0.15}
    >>> lead({"difference": {"accuracy": gap}}).replace(SPACE, " ")
    'Letting images of one patient stand on both sides buys +10.0 points of accuracy (95 % interval +5.0 to
    +15.0) for the same network on the same images.'
    """
    gap = found["difference"]["accuracy"]
    said = (
        "Letting images of one patient stand on both sides buys"
        f" {points(gap)} for the same network on the same images."
    )
    if gap.get("low") is not None and gap["low"] <= 0 <= gap["high"]:
        said += (
            " The interval holds zero: this short training of a small network shows no gain, which does not"
            " prove that a larger one has none."
        )
    return said


def points(gap: Mapping[str, Any]) -> str:
    """A difference of two accuracies in percentage points."""
    said = f"{_signed(gap['value'])} points of accuracy"
    if gap.get("low") is None:
        return said
    return f"{said} ({LEVEL} interval {_signed(gap['low'])} to {_signed(gap['high'])})"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


def _rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row per way to score."""
    names = {
        "patient": ("Patients apart", "no patient is on both sides"),
        "image": ("Drawn by image", "images of one patient come to both sides"),
    }
    rows = []
    for way, (name, what) in names.items():
        one = found["ways"][way]
        rows.append(
            {
                "name": name,
                "what": f"{what}; trained on {plural(one['trained_on'], 'image')}",
                "images": _images(one),
                "accuracy": f"{figure('accuracy', one['accuracy'])} ({of(one['accuracy'])})",
                "accuracy_interval": interval("accuracy", one["accuracy"]),
                "auroc": figure("auroc", one["auroc"]),
                "auroc_interval": interval("auroc", one["auroc"]),
                "beside": "reference" if way == "patient" else points(found["difference"]["accuracy"]),
            }
        )
    official = found.get("official")
    if official:
        minus = {"value": -official["difference"]["value"]}
        if official["difference"].get("low") is not None:
            minus |= {"low": -official["difference"]["high"], "high": -official["difference"]["low"]}
        rows.append(
            {
                "name": "Declared test part",
                "what": "the networks of the first row, on images that the source sets apart",
                "images": _images(official),
                "accuracy": percent(official["accuracy"]["value"]),
                "accuracy_interval": interval("accuracy", official["accuracy"]),
                "auroc": "",
                "auroc_interval": "",
                "beside": points(minus),
            }
        )
    return rows


def _images(one: Mapping[str, Any]) -> str:
    return f"{plural(one['n_cases'], 'image')} of {plural(one['n_patients'], 'patient')}"


def _shared(found: Mapping[str, Any]) -> str:
    """How many images could leak, and how these fare."""
    shared = found["shared"]
    known = shared["accuracy"]
    met, apart = (known[way]["with_patient_in_training"] for way in ("image", "patient"))
    if not met["n"]:
        return "No image that was drawn by image had an image of its patient in training."
    return (
        f"Of {plural(shared['n_held'], 'image')}, {count(shared['n_images'])} had another image of their patient"
        f" in training when drawn by image; {percent(met['k'] / met['n'])} of these were named correctly"
        f" then, and {percent(apart['k'] / apart['n'])} with patients apart."
    )


def _audit(audit: Mapping[str, Any], task: str) -> list[tuple[str, str]]:
    """What else can make a figure too good: copies, patients on both sides, shortcuts."""
    rows = []
    copies = audit.get("exact_duplicates")
    if copies:
        rows.append(
            (
                "Byte-identical images",
                f"{plural(copies['n_groups'], 'group')} ({plural(copies['n_images'], 'image')}),"
                f" {count(copies['n_across_splits'])} of them across the declared parts",
            )
        )
    near = audit.get("near_duplicates")
    if near:
        rows.append(
            (
                "Nearly identical images",
                f"{plural(near['n_pairs'], 'pair')},"
                f" {count(near['n_across_splits'])} across the declared parts",
            )
        )
    declared = (audit.get("patients_across_splits") or {}).get("declared")
    if declared:
        rows.append(("Patients in more than one declared part", count(declared["n_patients"])))
    joint = (audit.get("joint") or {}).get(task)
    if joint:
        rows.append(
            (
                f"Shortcuts together, {joint['positive']} against {joint['negative']}",
                f"AUROC {number(joint['auroc']['value'])} ({LEVEL} interval"
                f" {number(joint['auroc']['low'])} to {number(joint['auroc']['high'])}) without the lungs:"
                " no split by patient guards against these",
            )
        )
    return rows


def _recipe(found: Mapping[str, Any]) -> str:
    """What was trained, in a sentence."""
    recipe, training = found["recipe"], found["recipe"]["training"]
    rows, columns = recipe["pixels"]["size"]
    return (
        f"Task {found['task']}; network {recipe['model']['name']}, {rows}{SPACE}×{SPACE}{columns} pixels,"
        f" {plural(training['epochs'], 'epoch')}, {plural(found['folds'], 'fold')} per way,"
        f" {plural(len(found['seeds']), 'seed')}; epoch and threshold chosen on other images of the training"
        " part"
    )
