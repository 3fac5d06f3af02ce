"""The data: who is in which part, what the images look like, and what the audit found."""

from typing import Any

import pandas as pd

from hilum.data.cases import SPLITS
from hilum.files import digest
from hilum.report import commands
from hilum.report.figures import Bar, auroc_bars, look
from hilum.report.pictures import picture_of
from hilum.report.results import TITLES
from hilum.report.sections import Section
from hilum.report.wording import LEVEL, count, listing, number, plural, sentence, split_name
from hilum.run import Run

SHEET = 8
"""Images per label on the contact sheet."""

LISTED = 12
"""Rows per folded list; audit.json holds more."""


def data(run: Run) -> Section:
    """Counts, contact sheet, audit."""
    cases = run.cases()
    table = cases.table
    facts = run.facts()
    return Section(
        "data",
        "The data",
        "data.html",
        {
            "lead": _lead(table, cases.labels),
            "notes": [sentence(note) for note in facts.get("data", {}).get("notes", ())],
            "divisions": _divisions(run, table, cases.labels),
            "sheet": _sheet(table, cases.labels),
            "audit": _audit(run),
            "command": commands.audit(run),
        },
    )


def _lead(table: pd.DataFrame, labels: tuple[str, ...]) -> str:
    patients = table["patient"].nunique()
    of_patients = f" of {plural(patients, 'patient')}" if patients < len(table) else ""
    shares = listing([f"{count(int((table['label'] == label).sum()))} {label}" for label in labels])
    return f"{plural(len(table), 'image')}{of_patients}: {shares}."


# -- counts ------------------------------------------------------------------------------------------------


def _divisions(run: Run, table: pd.DataFrame, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """One table of counts per way of dividing the cases; tasks that divide alike share one."""
    facts = run.facts().get("split", {})
    if not run.split_file.exists():
        return []
    divisions: list[dict[str, Any]] = []
    for task, about in facts.items():
        of_case = table["case_id"].map(run.split(task)).fillna("unused")
        same = next((one for one in divisions if one["of"].equals(of_case)), None)
        if same is not None:
            same["tasks"].append(TITLES.get(task, task))
            continue
        divisions.append(
            {"of": of_case, "tasks": [TITLES.get(task, task)], **_counted(table, of_case, labels, about)}
        )
    return divisions


def _counted(
    table: pd.DataFrame, of_case: pd.Series, labels: tuple[str, ...], about: dict[str, Any]
) -> dict[str, Any]:
    parts = [name for name in (*SPLITS, "unused") if (of_case == name).any()]
    return {
        "parts": [split_name(name).capitalize() for name in parts],
        "rows": [
            {
                "label": label,
                "cells": [_cell(table[(of_case == part) & (table["label"] == label)]) for part in parts],
            }
            for label in labels
        ],
        "total": [_cell(table[of_case == part]) for part in parts],
        "leaky": bool(about.get("leaky")),
        "note": sentence(
            about.get("note") or f"Scheme “{about.get('scheme', '')}”, seed {about.get('seed', '')}"
        ),
    }


def _cell(rows: pd.DataFrame) -> dict[str, str]:
    """Images and patients; a source that knows no patients makes each image its own, and none are printed."""
    unknown = (rows["patient"] == rows["case_id"]).all()
    return {
        "images": plural(len(rows), "image"),
        "patients": "" if unknown else plural(rows["patient"].nunique(), "patient"),
    }


# -- contact sheet -----------------------------------------------------------------------------------------


def _sheet(table: pd.DataFrame, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """A few images per label, one per patient, in the order of a digest of their names."""
    rows = []
    for label in labels:
        of_label = table[table["label"] == label]
        drawn = of_label.assign(order=[digest("contact sheet", name) for name in of_label["case_id"]])
        drawn = drawn.sort_values("order").drop_duplicates("patient").head(SHEET)
        rows.append(
            {
                "label": label,
                "colour": look(label, labels).colour,
                "total": count(len(of_label)),
                "images": [
                    {"case": row.case_id, "picture": picture_of(str(row.path), 240)}
                    for row in drawn.itertuples()
                ],
            }
        )
    return rows


# -- audit -------------------------------------------------------------------------------------------------


def _audit(run: Run) -> dict[str, Any] | None:
    """What the audit found, from audit.json (its keys: see hilum.data.audit); None where none was made."""
    found = run.audit()
    if found is None:
        return None
    return {
        "findings": [sentence(one) for one in found.get("findings", ())],
        "bars": [_bars(task, joint, found["shortcuts"]) for task, joint in found.get("joint", {}).items()],
        "caption": _bars_caption(found),
        "measures": _measures(run),
        "lists": [one for one in (_unreadable(run, found), _duplicates(found), _torn(found)) if one["rows"]],
        "sizes": _sizes(found),
    }


def _bars(task: str, joint: dict[str, Any], shortcuts: list[dict[str, Any]]) -> Any:
    """The bars of one question, all numbers together first."""
    together = Bar(
        f"all {len(joint['features'])} together", joint["auroc"], joint["low"], joint["high"], strong=True
    )
    alone = [
        Bar(_short(one["label"]), one["auroc"], one["low"], one["high"])
        for one in shortcuts
        if one["task"] == task
    ]
    return auroc_bars(
        [together, *alone], f"{joint['positive']} against {joint['negative']}", f"shortcuts-{task}"
    )


def _short(label: str) -> str:
    """Without the explanation in brackets: 'contrast (standard deviation)' -> 'contrast'."""
    return label.split(" (")[0]


def _bars_caption(found: dict[str, Any]) -> str:
    on = found.get("shortcuts_on", {})
    parts = listing([split_name(one) for one in on.get("splits", ())])
    where = f" of the source’s {parts} part" if parts else ""
    return (
        "How well simple numbers about file and picture tell the groups apart, on"
        f" {plural(on['n_images'], 'image')} of"
        f" {plural(on['n_patients'], 'patient')}{where}; test images are never used. Black: a small classifier"
        " on all"
        " numbers, asked about patients that it was not fitted on. Red:"
        f" {LEVEL} interval over patients."
    )


def _measures(run: Run) -> list[str]:
    """What the pixel contract leaves visible of the shortcuts; models that do alike share one line."""
    models: dict[str, list[str]] = {}
    for name in run.tasks:
        pixels = run.task(name).card().get("pixels") or {}
        exposure = (
            "each image is centred and scaled by itself, which hides brightness and contrast"
            if pixels.get("standardize") == "image"
            else "brightness and contrast stay visible"
        )
        if pixels.get("clahe"):
            exposure = f"contrast is levelled tile by tile, and {exposure}"
        shape = (
            "images are squeezed to one size, so an image’s shape stays visible as texture"
            if pixels.get("fit") == "squeeze"
            else "images keep their shape, which the black border shows"
        )
        models.setdefault(f"{exposure}; {shape}", []).append(f"“{TITLES[name]}”")
    return [f"What the model of {listing(names)} is given: {said}." for said, names in models.items()]


def _unreadable(run: Run, found: dict[str, Any]) -> dict[str, Any]:
    rows = [[one["case_id"], one["reason"]] for one in found.get("unreadable", ())]
    rows += [[str(one), "left out"] for one in run.facts().get("skipped_files", ())]
    return _list("Files that can’t be read", len(rows), ["File", "Reason"], rows)


def _duplicates(found: dict[str, Any]) -> dict[str, Any]:
    exact, near = found.get("exact_duplicates", {}), found.get("near_duplicates", {})
    rows = [[", ".join(one["case_ids"]), "identical", _across(one)] for one in exact.get("groups", ())]
    rows += [
        [", ".join(one["case_ids"]), f"nearly, correlation {number(one['correlation'], 2)}", _across(one)]
        for one in near.get("pairs", ())
    ]
    total = exact.get("n_groups", 0) + near.get("n_pairs", 0)
    return _list("Images that are the same picture", total, ["Images", "How alike", "Differ in"], rows)


def _across(one: dict[str, Any]) -> str:
    return (
        ", ".join(name for name in ("split", "label", "patient") if one.get(f"across_{name}s")) or "nothing"
    )


def _torn(found: dict[str, Any]) -> dict[str, Any]:
    rows, total = [], 0
    for name, leak in found.get("patients_across_splits", {}).items():
        total += leak["n_patients"]
        where = "as the source declares" if name == "declared" else TITLES.get(name, name)
        for one in leak["examples"]:
            parts = ", ".join(f"{split_name(part)} {n}" for part, n in one["images"].items())
            rows.append([one["patient"], where, parts])
    return _list("Patients in more than one part", total, ["Patient", "Split", "Images"], rows)


def _list(title: str, total: int, columns: list[str], rows: list[list[str]]) -> dict[str, Any]:
    return {
        "title": f"{title}: {count(total)}",
        "columns": columns,
        "rows": rows[:LISTED],
        "more": total - LISTED,
    }


def _sizes(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Sizes, kinds and shapes of the files."""
    sizes = found.get("sizes", {})
    rows = [
        (name.capitalize(), f"{_range(sizes[name])} {unit}")
        for name, unit in (("width", "px"), ("height", "px"), ("bytes", "bytes"))
        if sizes.get(name)
    ]
    modes = ", ".join(f"{mode}: {count(n)}" for mode, n in found.get("modes", {}).items())
    shapes = [
        (f"Width / height, {label}", _range(shape, 2))
        for label, shape in found.get("aspect_by_label", {}).items()
        if shape
    ]
    return [*rows, *shapes, *([("Kind", modes)] if modes else [])]


def _range(quantiles: dict[str, float], digits: int = 0) -> str:
    low, middle, high = (f"{quantiles[name]:,.{digits}f}" for name in ("min", "median", "max"))
    return low if low == high else f"median {middle}, from {low} to {high}"
