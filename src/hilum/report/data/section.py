"""Data and audit: how the images are divided, what they look like, and what the audit found."""

from dataclasses import dataclass

import pandas as pd

from hilum.artifacts.run import RunFacts, SplitFacts
from hilum.data.cases import SPLITS
from hilum.data.show import reading_rows
from hilum.files import digest
from hilum.report import commands
from hilum.report.data.findings import AuditView, view_of
from hilum.report.figures import look
from hilum.report.pictures import Picture, picture_of
from hilum.report.section import Section
from hilum.report.titles import title_in
from hilum.report.wording import count, listing, plural, sentence, split_name
from hilum.run import Run

PER_LABEL = 8
"""Images per label on the contact sheet."""


@dataclass(frozen=True)
class Cell:
    """Images of one label in one split; `patients` is empty where the source knows none."""

    images: str
    patients: str


@dataclass(frozen=True)
class Division:
    """Counts of one way of dividing the cases, and the tasks that are divided so."""

    of_case: pd.Series
    tasks: list[str]
    splits: list[str]
    rows: list[tuple[str, list[Cell]]]
    total: list[Cell]
    leaky: bool
    note: str


@dataclass(frozen=True)
class SheetRow:
    """Images of one label on the contact sheet: (case_id, picture) each."""

    label: str
    colour: str
    total: str
    images: list[tuple[str, Picture]]


def make(run: Run) -> Section:
    """Counts, contact sheet, audit.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from pathlib import Path
    >>> from hilum.data.cases import Cases
    >>> image = {"case_id": "a", "path": "a.png", "label": "normal", "patient": "p", "split": "", "digest": "0"}
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     Cases.checked(pd.DataFrame([image]), "table", Path()).write(run.cases_file)
    ...     print(make(run).values["lead"].replace("\\xa0", " "))
    1 image: 1 normal.
    """
    cases = run.cases()
    facts = run.facts()
    return Section(
        "data",
        "Data and audit",
        "data/template.html",
        {
            "lead": _lead(cases.table, cases.labels),
            "reading": _reading(facts),
            "notes": [sentence(note) for note in facts.data.notes],
            "divisions": _divisions(run, cases.table, cases.labels, facts),
            "sheet": _sheet(cases.table, cases.labels),
            "audit": _audit(run, facts),
            "command": commands.audit(run),
        },
    )


def _lead(table: pd.DataFrame, labels: tuple[str, ...]) -> str:
    patients = table["patient"].nunique()
    of_patients = f" of {plural(patients, 'patient')}" if patients < len(table) else ""
    numbers = any(label[:1].isdigit() for label in labels)
    joint = " labelled " if numbers else " "
    shares = listing([f"{count(int((table['label'] == label).sum()))}{joint}{label}" for label in labels])
    return f"{plural(len(table), 'image')}{of_patients}: {shares}."


def _reading(facts: RunFacts) -> list[tuple[str, str]]:
    """How the data was understood, as it was printed before the work; empty for a run that does not say it."""
    data = facts.data
    if not data.reading.layout and not data.reading.labels:
        return []
    rows = reading_rows(data.source, data.reading, data.reading.labels, data.n_patients)
    return [(name.capitalize(), words) for name, words in rows.items()]


def _audit(run: Run, facts: RunFacts) -> AuditView | None:
    """The audit; None where none was made."""
    audit = run.audit()
    return view_of(audit, run, facts.skipped_files) if audit else None


def _divisions(run: Run, table: pd.DataFrame, labels: tuple[str, ...], facts: RunFacts) -> list[Division]:
    """One table of counts per way of dividing the cases; tasks that are divided in the same way share one."""
    divisions: list[Division] = []
    for task, split in facts.split.items():
        of_case = table["case_id"].map(run.split(task)).fillna("unused")
        same = next((division for division in divisions if division.of_case.equals(of_case)), None)
        if same is not None:
            same.tasks.append(title_in(run, task))
        else:
            divisions.append(_division(table, of_case, labels, title_in(run, task), split))
    return divisions


def _division(
    table: pd.DataFrame, of_case: pd.Series, labels: tuple[str, ...], title: str, split: SplitFacts
) -> Division:
    splits = [name for name in (*SPLITS, "unused") if (of_case == name).any()]

    def cells(chosen: pd.Series) -> list[Cell]:
        return [_cell(table[(of_case == name) & chosen]) for name in splits]

    return Division(
        of_case=of_case,
        tasks=[title],
        splits=[split_name(name).capitalize() for name in splits],
        rows=[(label, cells(table["label"] == label)) for label in labels],
        total=cells(table["label"].notna()),
        leaky=split.leaky,
        note=sentence(split.note or f"Scheme “{split.scheme}”, seed {split.seed}"),
    )


def _cell(rows: pd.DataFrame) -> Cell:
    """Images and patients; a source that knows no patients makes each image its own, and none are printed."""
    unknown = (rows["patient"] == rows["case_id"]).all()
    patients = "" if unknown else plural(rows["patient"].nunique(), "patient")
    return Cell(plural(len(rows), "image"), patients)


def _sheet(table: pd.DataFrame, labels: tuple[str, ...]) -> list[SheetRow]:
    """A few images per label, one per patient, in the order of a digest of their names."""
    rows = []
    for label in labels:
        of_label = table[table["label"] == label]
        shuffled = of_label.assign(order=[digest("contact sheet", name) for name in of_label["case_id"]])
        chosen = shuffled.sort_values("order").drop_duplicates("patient").head(PER_LABEL)
        images = [(str(row.case_id), picture_of(str(row.path), 240)) for row in chosen.itertuples()]
        rows.append(SheetRow(label, look(label, labels).colour, count(len(of_label)), images))
    return rows
