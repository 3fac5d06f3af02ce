"""The data: who is in which part, what the films look like, and what the audit found."""

from typing import Any

import pandas as pd

from hilum.data.cases import SPLITS
from hilum.files import digest
from hilum.report import commands
from hilum.report.figures import look
from hilum.report.pictures import film
from hilum.report.sections import Section
from hilum.report.sections.task import TITLES
from hilum.report.wording import count, listing, plural, sentence, split_name
from hilum.run import Run

SHEET = 8
"""Films per label on the contact sheet."""


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
            "command": commands.audit(run),
        },
    )


def _lead(table: pd.DataFrame, labels: tuple[str, ...]) -> str:
    patients = table["patient"].nunique()
    of_patients = f" of {plural(patients, 'patient')}" if patients < len(table) else ""
    shares = listing([f"{count(int((table['label'] == label).sum()))} {label}" for label in labels])
    return f"{plural(len(table), 'film')}{of_patients}: {shares}."


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
        divisions.append({"of": of_case, "tasks": [TITLES.get(task, task)], **_counted(table, of_case, labels, about)})
    return divisions


def _counted(table: pd.DataFrame, of_case: pd.Series, labels: tuple[str, ...], about: dict[str, Any]) -> dict[str, Any]:
    parts = [name for name in (*SPLITS, "unused") if (of_case == name).any()]
    return {
        "parts": [split_name(name).capitalize() for name in parts],
        "rows": [
            {"label": label, "cells": [_cell(table[(of_case == part) & (table["label"] == label)]) for part in parts]}
            for label in labels
        ],
        "total": [_cell(table[of_case == part]) for part in parts],
        "note": sentence(about.get("note") or ""),
        "scheme": f"split “{about.get('scheme', '')}”, seed {about.get('seed', '')}",
        "leak": _leak(about),
    }


def _leak(about: dict[str, Any]) -> str:
    """A sentence when patients or films stand on both sides."""
    if not about.get("leaky"):
        return ""
    shared = [
        plural(about[key], one)
        for key, one in (("shared_patients", "patient"), ("shared_images", "identical film"))
        if about.get(key)
    ]
    who = listing(shared) or "Some films"
    return f"This split leaks: {who} stand in more than one part, so held-out figures come out too good."


def _cell(rows: pd.DataFrame) -> dict[str, str]:
    patients = rows["patient"].nunique()
    return {"films": count(len(rows)), "patients": plural(patients, "patient") if patients != len(rows) else ""}


# -- contact sheet -----------------------------------------------------------------------------------------


def _sheet(table: pd.DataFrame, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """A few films per label, one per patient, drawn by a digest of their names: at random, yet always the same."""
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
                "films": [
                    {"case": row.case_id, "picture": film(str(row.path), 240)} for row in drawn.itertuples()
                ],
            }
        )
    return rows
