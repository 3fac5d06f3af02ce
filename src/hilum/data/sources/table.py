"""A CSV that lists the images: path and label, optionally patient, split, case_id, sex, age and site.

    path,label,patient,split
    images/a.png,normal,p1,train

Instead of a label there may be a column per finding, with 1 (present), 0 (absent), -1 (uncertain) or nothing: columns
called `finding:<name>`, or, without a column label, every other column that holds nothing else.

Columns sex (M, F, O, or in words), age (years) and site are read for figures by subgroup. Paths are relative to the
CSV. Other columns are not read. Rows are counted as in a spreadsheet: the header is
row 1. A row whose label is empty, NA, NaN, null, none or ? is a case of unknown label: it is left out, and a note
counts such rows. Such a patient is unknown, and taken from the file name where that is of a known family. A column
of whole numbers written as 0.0 and 1.0, as spreadsheets do where a cell is empty, is read as 0 and 1.
"""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path

from hilum.data.cases import SPLITS, Cases
from hilum.data.details import person
from hilum.data.labels import is_missing
from hilum.data.listing import (
    case_id_of,
    cases_from,
    existing,
    first_names,
    is_excluded,
    noted,
    safe,
    short,
    told_apart,
)
from hilum.data.multilabel import drop_constant, finding_columns, label_of, note_on_constant, stated
from hilum.data.patients import joined, patient_of
from hilum.data.roles import split_of
from hilum.errors import DataError

DESCRIPTION = "a CSV with the columns path and label, optionally patient, split and case_id"

_NEEDED = ("path", "label")
_PERSON = ("sex", "age", "site")
_READ = (*_NEEDED, "patient", "split", "case_id", *_PERSON)
_WORKING = ("explicit", "given")
_Row = dict[str, str | Path]


def accepts(data: str | Path) -> bool:
    """Whether it is a file that ends in .csv.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "cases.csv").touch()
    ...     accepts(f"{folder}/cases.csv"), accepts(folder)
    (True, False)
    """
    path = Path(data).expanduser()
    return path.suffix.lower() == ".csv" and path.is_file()


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    r"""Every row of the table that has a label and is not excluded; a note says how many have none.

    DataError when no row has a label, and, with the row, when a column or a cell is missing, a file is not
    there or listed twice, a split is not known, or a case_id can't be a file name.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "a.png").touch()
    ...     _ = Path(folder, "cases.csv").write_text("path,label,patient\na.png,Healthy,p1\n")
    ...     load(f"{folder}/cases.csv").table[["case_id", "label", "patient"]].values.tolist()
    [['a', 'normal', 'p1']]
    """
    path = existing(data)
    rows: list[_Row] = []
    excluded: list[Path] = []
    seen: dict[Path, int] = {}
    for number, cells in _read(path):
        if exclude and is_excluded(cells["path"], exclude):
            excluded.append(Path(cells["path"]))
            continue
        row = _row(cells, path, number)
        earlier = seen.setdefault(Path(row["path"]), number)
        if earlier != number:
            raise DataError(
                f"{path.name} row {number}: path {cells['path']!r} is already in row {earlier}",
                "remove one of the rows",
            )
        rows.append(row)
    constant = note_on_constant(drop_constant(rows))
    labelled = [row for row in rows if row["label"]]
    if rows and not labelled:
        raise DataError(f"{path.name}: none of {len(rows)} rows has a label", "fill in the column 'label'")
    words = _name_cases(labelled)
    notes = [*_left_out(rows), *constant, *_notes(labelled), *noted("Left out by --exclude", excluded)]
    return cases_from(
        [{name: row[name] for name in row if name not in _WORKING} for row in labelled],
        "table",
        path,
        notes,
        layout="a row per image: path and label",
        patients=words,
    )


def _name_cases(rows: list[_Row]) -> str:
    """Gives each row its case_id and patient; how many patients come from where, in words."""
    paths = [Path(str(row["given"])) for row in rows]
    named = told_apart([str(row["case_id"]) for row in rows], paths)
    of_name = joined(
        [
            patient_of(path, str(row["split"]) or _split_in(path))
            for path, row in zip(paths, rows, strict=True)
        ]
    )
    counts = {"the column patient": 0, "the file name": 0, "unknown, each image its own": 0}
    for row, own, patient in zip(rows, named, of_name, strict=True):
        row["case_id"] = row["explicit"] or own
        where = 0 if row["patient"] else 1 if patient else 2
        counts[list(counts)[where]] += 1
        row["patient"] = row["patient"] or patient or row["case_id"]
    return "; ".join(f"{what} ({count} images)" for what, count in counts.items() if count)


def _split_in(path: Path) -> str:
    return next((split for folder in path.parts[:-1] if (split := split_of(folder))), "")


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows that are not blank, each with its number and its cells by column name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror})", "check the file") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a readable CSV ({error})", "write it as comma-separated UTF-8"
        ) from None
    header = [name.strip().lower() for name in lines[0]] if lines else []
    cells_of = [
        {name: _known(cell.strip()) for name, cell in zip(_shown(lines[0]), cells, strict=False)}
        for cells in lines[1:]
    ]
    findings = finding_columns(_shown(lines[0]), cells_of, _READ) if lines else []
    for name in _NEEDED:
        if name not in header and not (name == "label" and findings):
            columns = ", ".join(header) or "nothing"
            raise DataError(
                f"{path.name} lacks the column {name!r} (row 1 holds: {columns})",
                "add it, separated by commas",
            )
    numbered = [(number, cells) for number, cells in enumerate(lines, start=1) if any(map(str.strip, cells))]
    for number, cells in numbered:
        if len(cells) != len(header):
            raise DataError(
                f"{path.name} row {number} has {len(cells)} cells, the header has {len(header)}",
                "correct the row, and put a cell that holds a comma in quotes",
            )
    rows = [(number, _cells(_shown(lines[0]), cells, findings)) for number, cells in numbered[1:]]
    for name in ("label", "patient"):
        _without_zeros([cells for _, cells in rows], name)
    return rows


def _shown(header: list[str]) -> list[str]:
    """The names of the columns: those that are read for themselves in lower case, findings as they are written."""
    names = [name.strip() for name in header]
    return [name.lower() if name.lower() in _READ else name for name in names]


def _cells(header: list[str], cells: list[str], findings: list[str]) -> dict[str, str]:
    named = zip(header, map(str.strip, cells), strict=True)
    return {
        name: cell if name == "path" else _known(cell)
        for name, cell in named
        if name in _READ or name in findings
    }


def _known(cell: str) -> str:
    return "" if is_missing(cell) else cell


def _without_zeros(rows: list[dict[str, str]], name: str) -> None:
    """Whole numbers that are written with .0 lose it, if the column holds numbers alone."""
    values = [cells.get(name, "") for cells in rows]
    if all(re.fullmatch(r"(?:-?\d+(?:\.0+)?)?", value) for value in values):
        for cells in rows:
            if cells.get(name):
                cells[name] = cells[name].split(".")[0]


def _row(cells: dict[str, str], table: Path, number: int) -> _Row:
    where = f"{table.name} row {number}"
    if not cells["path"]:
        raise DataError(f"{where}: path is empty", "fill in the cell or remove the row")
    file = Path(os.path.normpath(table.parent / Path(cells["path"]).expanduser()))
    if not file.is_file():
        raise DataError(
            f"{where}: path {cells['path']!r} is not a file", f"paths are relative to {table.parent}"
        )
    split = split_of(cells.get("split", "")) or cells.get("split", "")
    if split not in (*SPLITS, ""):
        raise DataError(
            f"{where}: split {split!r} is not one of {', '.join(SPLITS)}",
            "correct the cell or leave it empty",
        )
    case_id = cells.get("case_id", "")
    if case_id != safe(case_id):
        raise DataError(
            f"{where}: case_id {case_id!r} can't be a file name", f"write for example {safe(case_id)!r}"
        )
    findings = stated({name: cell for name, cell in cells.items() if name not in _READ}, where)
    label = cells.get("label") or (label_of(findings) if findings else "")
    return {
        **{name: f"{value:g}" for name, value in findings.items()},
        "case_id": short(case_id) or case_id_of(cells["path"]),
        "explicit": short(case_id),
        "given": cells["path"],
        "path": file,
        "label": label,
        "patient": cells.get("patient", ""),
        "split": split,
        **person(*(cells.get(name, "") for name in _PERSON)),
    }


def _left_out(rows: list[_Row]) -> list[str]:
    """A note on the cases of unknown label: they can be used neither for training nor for evaluation."""
    names = [str(row["case_id"]) for row in rows if not row["label"]]
    if not names:
        return []
    return [f"Left out: {len(names)} of {len(rows)} cases without a label ({first_names(names)})."]


def _notes(rows: list[_Row]) -> list[str]:
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    if not unknown:
        return []
    return [
        f"{unknown} of {len(rows)} rows have no patient: each such image counts as its own patient, so that "
        "splits may leak and intervals may be too narrow if a patient has several images."
    ]
