"""The audit as the section prints it: findings, bars of shortcuts, folded lists, sizes."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.audit import Across, Audit, Quantiles
from hilum.artifacts.card import PixelContract
from hilum.report.data.plots import shortcut_bars
from hilum.report.titles import title_in
from hilum.report.wording import LEVEL, count, listing, number, plural, sentence, split_name
from hilum.run import Run

LISTED = 12
"""Rows per folded list; audit.json holds more."""


@dataclass(frozen=True)
class FoldedList:
    """A table behind a title; `more`: rows that audit.json holds beyond these."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    more: int


@dataclass(frozen=True)
class AuditView:
    """`bars`: a drawing per task; `measures`: what the models' pixel contracts do about shortcuts."""

    findings: list[str]
    bars: list[Markup]
    caption: str
    measures: list[str]
    lists: list[FoldedList]
    sizes: list[tuple[str, str]]


def view_of(audit: Audit, run: Run, skipped_files: list[str]) -> AuditView:
    """The audit of a run in words and drawings: findings as sentences, the bars of shortcuts per task, folded lists
    of unreadable files, duplicates and patients across splits. `skipped_files`: those that the user chose to
    leave out."""
    lists = [_unreadable(audit, skipped_files), _duplicates(audit), _patients_across(audit, run)]
    return AuditView(
        findings=[sentence(finding) for finding in audit.findings],
        bars=[shortcut_bars(audit, task) for task in audit.joint],
        caption=_caption(audit),
        measures=_measures(run),
        lists=[folded for folded in lists if folded.rows],
        sizes=_sizes(audit),
    )


def _caption(audit: Audit) -> str:
    on = audit.shortcuts_on
    splits = listing([split_name(name) for name in on.splits])
    where = f" of the declared {splits} split" if splits else ""
    return (
        "AUROC with which simple numbers about file and picture separate the groups, on"
        f" {plural(on.n_images, 'image')} of {plural(on.n_patients, 'patient')}{where}; test images are never"
        " used. Black: a small classifier on all numbers, cross-validated by patient. Red:"
        f" {LEVEL} interval over patients."
    )


def _measures(run: Run) -> list[str]:
    """What the pixel contract leaves visible of the shortcuts; models with the same contract share one line."""
    models: dict[str, list[str]] = {}
    for name in run.tasks:
        words = _visible(run.task(name).card().pixels)
        models.setdefault(words, []).append(f"“{title_in(run, name)}”")
    return [f"Input of the model for {listing(names)}: {words}." for words, names in models.items()]


def _visible(pixels: PixelContract) -> str:
    """What of the acquisition a network still sees.

    >>> _visible(PixelContract(size=(8, 8), fit="lungs", standardize="image")).split("; ")[1]
    'only the part around the lungs is seen, squeezed to one size, which hides framing and most markers'
    """
    exposure = (
        "each image is standardised by its own mean and standard deviation, which hides brightness and contrast"
        if pixels.standardize == "image"
        else "brightness and contrast stay visible"
    )
    shape = {
        "squeeze": "images are squeezed to one size, so the original aspect ratio stays visible as texture",
        "pad": "images keep their aspect ratio, which the reflection beside them shows",
        "lungs": "only the part around the lungs is seen, squeezed to one size, which hides framing and most markers",
    }[pixels.fit]
    return f"{exposure}; {shape}"


def _unreadable(audit: Audit, skipped_files: list[str]) -> FoldedList:
    rows = [[file.case_id, file.reason] for file in audit.unreadable]
    rows += [[name, "left out"] for name in skipped_files]
    return _folded("Files that can’t be read", len(rows), ["File", "Reason"], rows)


def _duplicates(audit: Audit) -> FoldedList:
    exact, near = audit.exact_duplicates, audit.near_duplicates
    rows = [[", ".join(group.case_ids), "identical", _differ_in(group)] for group in exact.groups]
    rows += [
        [
            ", ".join(pair.case_ids),
            f"near-identical, correlation {number(pair.correlation, 2)}",
            _differ_in(pair),
        ]
        for pair in near.pairs
    ]
    total = exact.n_groups + near.n_pairs
    return _folded("Duplicate images", total, ["Images", "Similarity", "Differ in"], rows)


def _differ_in(group: Across) -> str:
    names = (
        ("split", group.across_splits),
        ("label", group.across_labels),
        ("patient", group.across_patients),
    )
    return ", ".join(name for name, differs in names if differs) or "nothing"


def _patients_across(audit: Audit, run: Run) -> FoldedList:
    rows, total = [], 0
    for name, across in audit.patients_across_splits.items():
        total += across.n_patients
        where = "as the source declares" if name == "declared" else title_in(run, name)
        for example in across.examples:
            images = ", ".join(f"{split_name(split)} {n}" for split, n in example.images.items())
            rows.append([example.patient, where, images])
    return _folded("Patients in more than one split", total, ["Patient", "Split", "Images"], rows)


def _folded(title: str, total: int, columns: list[str], rows: list[list[str]]) -> FoldedList:
    return FoldedList(f"{title}: {count(total)}", columns, rows[:LISTED], total - LISTED)


def _sizes(audit: Audit) -> list[tuple[str, str]]:
    """Sizes, kinds and shapes of the files."""
    sizes = audit.sizes
    measured = (
        ("Width", sizes.width, "px"),
        ("Height", sizes.height, "px"),
        ("File size", sizes.bytes, "bytes"),
    )
    rows = [(name, f"{_range(quantiles)} {unit}") for name, quantiles, unit in measured if quantiles]
    rows += [
        (f"Width / height, {label}", _range(quantiles, 2))
        for label, quantiles in audit.aspect_by_label.items()
        if quantiles
    ]
    modes = ", ".join(f"{mode}: {count(n)}" for mode, n in audit.modes.items())
    return [*rows, ("Pixel format", modes)] if modes else rows


def _range(quantiles: Quantiles, digits: int = 0) -> str:
    low, middle, high = (f"{value:,.{digits}f}" for value in (quantiles.min, quantiles.median, quantiles.max))
    return low if low == high else f"median {middle}, from {low} to {high}"
