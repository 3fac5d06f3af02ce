"""CheXpert as published, of any size: train.csv and valid.csv beside train/ and valid/.

    train.csv     Path, Sex, Age, Frontal/Lateral, AP/PA, No Finding, Enlarged Cardiomediastinum, ..., Support Devices
    train/patient00001/study1/view1_frontal.jpg

A finding is 1 (present), 0 (absent), -1 (uncertain) or blank (not stated). The label is the finding that is present,
'several findings' for more than one, and 'normal' for No Finding; Support Devices count only where nothing else is
present. An image on which nothing is more than uncertain has no label and is left out. Findings are kept as columns as
well. Lateral views are left out. Irvin J et al. CheXpert. AAAI (2019).
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from hilum.data.annotated import (
    Annotated,
    find_table,
    has_columns,
    label_of_findings,
    not_excluded,
    read_rows,
    root_of,
)
from hilum.data.cases import Cases
from hilum.data.details import person
from hilum.data.dicom.options import views_are_kept
from hilum.data.patients import patient_of
from hilum.errors import DataError

DESCRIPTION = "CheXpert: train.csv and valid.csv with 14 findings, frontal views"

_TABLES = {"train.csv": "train", "valid.csv": "val", "test.csv": "test"}
_COLUMNS = ("Path", "Frontal/Lateral", "No Finding")
_OTHERS = {"Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"}
_VALUES = {"1": 1.0, "1.0": 1.0, "0": 0.0, "0.0": 0.0, "-1": -1.0, "-1.0": -1.0, "": np.nan}


def accepts(data: str | Path) -> bool:
    """Whether it is, or holds, a table of the set.

    >>> accepts("no such folder")
    False
    """
    return any(_is_table(find_table(data, [name])) for name in _TABLES)


def _is_table(path: Path | None) -> bool:
    return has_columns(path, [name.lower() for name in _COLUMNS])


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every frontal image of the tables that is there, with findings, patient and split.

    DataError when tables or all images are missing, and for a finding that is neither 1, 0, -1 nor blank.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    root = root_of(data)
    named = {name: find_table(data, [name]) for name in _TABLES}
    tables = {path: _TABLES[name] for name, path in named.items() if path and _is_table(path)}
    if not tables:
        raise DataError(f"{data} has no train.csv or valid.csv of CheXpert", "point to the unpacked folder")
    annotated = Annotated(root)
    for path, split in tables.items():
        _add(annotated, path, split, exclude)
    return annotated.cases(
        "chexpert", data, "train.csv, valid.csv: an image and its findings per row", "the folder patientNNNNN"
    )


def _add(annotated: Annotated, table: Path, split: str, exclude: Sequence[str]) -> None:
    rows = read_rows(table, _COLUMNS)
    names = [name for name in rows.columns if name not in _OTHERS]
    for number, row in enumerate(rows.to_dict("records"), start=2):
        text = str(row["Path"])
        path = _file(annotated.root, table.parent, text)
        if path is not None and not not_excluded(path, annotated.root, exclude, annotated.excluded):
            continue
        if row["Frontal/Lateral"] == "Lateral" and not views_are_kept():
            annotated.lateral.append(path or Path(text))
            continue
        findings = {name: _value(str(row[name]), name, f"{table.name} row {number}") for name in names}
        label = label_of_findings(findings, minor=["Support Devices"])
        who = person(str(row.get("Sex", "")), str(row.get("Age", "")))
        annotated.add(path, text, label, patient_of(text), split, findings, who)


def _value(text: str, name: str, where: str) -> float:
    if text not in _VALUES:
        raise DataError(
            f"{where}: finding {name!r} is {text!r}", "write 1, 0, -1 (uncertain) or leave it empty"
        )
    return _VALUES[text]


def _file(root: Path, table_folder: Path, text: str) -> Path | None:
    """The file of a path such as CheXpert-v1.0-small/train/...: its first folders may be called otherwise."""
    parts = PurePosixPath(text).parts
    places = [
        folder.joinpath(*parts[dropped:])
        for folder in (table_folder, root)
        for dropped in range(min(3, len(parts)))
    ]
    return next((place for place in places if place.is_file()), None)
