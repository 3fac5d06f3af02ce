"""What the readers of public sets share: a published table of annotations beside folders of images.

Single-label reading: an image with one finding has that finding as its label, one without findings is 'normal', and one
with several has the label 'several findings'. Where the table states each finding, the cases keep them as columns
`finding:<name>` as well (hilum.data.multilabel): 1, 0, -1 (uncertain) or NaN (not stated).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.data.cases import Cases
from hilum.data.dicom.header import SUFFIXES as DICOM_SUFFIXES
from hilum.data.labels import HEALTHY, canonical_label, is_missing
from hilum.data.listing import (
    Row,
    case_id_of,
    cases_from,
    existing,
    first_names,
    is_excluded,
    listing,
    noted,
    told_apart,
)
from hilum.data.multilabel import PREFIX, drop_constant, note_on_constant
from hilum.data.tree import walk
from hilum.errors import DataError

SEVERAL = "several findings"
"""The label of an image with more than one finding."""


def find_table(data: str | Path, names: Iterable[str]) -> Path | None:
    """The table of one of these names (in any case): `data` itself, or a file in it or in a folder of it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "annotations").mkdir()
    ...     Path(folder, "annotations", "Train.csv").touch()
    ...     find_table(folder, ["train.csv"]).name
    'Train.csv'
    """
    path, wanted = Path(data).expanduser(), {name.lower() for name in names}
    if path.is_file():
        return path if path.name.lower() in wanted else None
    if not path.is_dir():
        return None
    top = listing(path)
    folders = [top, *(listing(folder) for folder in top.folders)]
    files = [file for inside in folders for file in inside.others if file.name.lower() in wanted]
    return files[0].absolute() if files else None


def header_of(path: Path) -> list[str]:
    """The names of a table's columns; empty where it can't be read.

    >>> header_of(Path("gone.csv"))
    []
    """
    try:
        return [str(name).strip() for name in pd.read_csv(path, nrows=0).columns]
    except (OSError, ValueError):  # pandas' own errors are ValueErrors
        return []


def has_columns(path: Path | None, wanted: Iterable[str]) -> bool:
    """Whether a table has these columns, in any case.

    >>> has_columns(None, ["path"])
    False
    """
    known = {name.lower() for name in header_of(path)} if path else set()
    return path is not None and set(wanted) <= known


def read_rows(path: Path, wanted: Sequence[str]) -> pd.DataFrame:
    """A table as text, every cell without outer blanks and those that say 'missing' empty; the wanted columns are
    called as they are wanted, whatever their case. DataError when one is missing.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "t.csv").write_text("Image_ID,x\\na,NA\\n")
    ...     read_rows(Path(folder, "t.csv"), ["image_id"]).values.tolist()
    [['a', '']]
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not a readable CSV ({reason})", "download it again") from None
    table.columns = [str(name).strip() for name in table.columns]
    lower = {name.lower(): name for name in table.columns}
    for name in wanted:
        if name.lower() not in lower:
            raise DataError(
                f"{path.name} lacks the column {name!r} (row 1 holds: {', '.join(table.columns)})",
                "download it again, or list the images in a CSV with the columns path and label",
            )
    table = table.rename(columns={lower[name.lower()]: name for name in wanted})
    return table.map(lambda cell: "" if is_missing(str(cell)) else str(cell).strip())


def column(rows: pd.DataFrame, name: str) -> list[str]:
    """The cells of a column, in any case of its name; empty ones where the table lacks it.

    >>> column(pd.DataFrame({"Patient age": ["58"]}), "Patient Age"), column(pd.DataFrame({"a": ["1"]}), "b")
    (['58'], [''])
    """
    known = {each.lower(): each for each in rows.columns}
    return rows[known[name.lower()]].tolist() if name.lower() in known else [""] * len(rows)


@dataclass
class Files:
    """The images below a folder. `by_stem`: name without ending -> the first such file; `excluded`: left out."""

    root: Path
    by_stem: dict[str, Path] = field(default_factory=dict)
    excluded: list[Path] = field(default_factory=list)


def files_below(root: Path, exclude: Sequence[str] = ()) -> Files:
    """All images and DICOM files below a folder but masks.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "train").mkdir()
    ...     Path(folder, "train", "50a418.dicom").touch()
    ...     list(files_below(Path(folder)).by_stem)
    ['50a418']
    """
    tree = walk(root, exclude)
    dicom = [path for path in tree.others if path.suffix.lower() in DICOM_SUFFIXES]
    files = Files(root, excluded=tree.excluded)
    for path in [*tree.images, *dicom]:
        files.by_stem.setdefault(path.stem, path)
    return files


def root_of(data: str | Path) -> Path:
    """The folder of the data: `data` itself, or that of the table that it is. DataError when nothing is there.

    >>> root_of("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    path = existing(data)
    return path if path.is_dir() else path.parent


def label_of_findings(findings: Mapping[str, float], minor: Iterable[str] = ()) -> str:
    """The label of an image from what is stated of each finding, 'No Finding' among them; empty where nothing is
    present and nothing says that all is well. `minor`: findings that count only if there is no other.

    >>> label_of_findings({"Edema": 1.0, "Mass": 0.0}), label_of_findings({"Edema": 1.0, "Mass": 1.0})
    ('Edema', 'several findings')
    >>> label_of_findings({"No Finding": 1.0}), label_of_findings({"Edema": -1.0})
    ('normal', '')
    """
    apart = set(minor)
    present = [name for name, value in findings.items() if value == 1]
    diseases = [name for name in present if name not in apart and not _is_none(name)]
    if not diseases and any(map(_is_none, present)):
        return HEALTHY
    diseases = diseases or present
    return "" if not diseases else diseases[0] if len(diseases) == 1 else SEVERAL


def _is_none(name: str) -> bool:
    return canonical_label(name) == HEALTHY


def as_columns(findings: Mapping[str, float]) -> dict[str, str]:
    """Findings as the columns of a row of cases; 'No Finding' is none.

    >>> as_columns({"No Finding": 0.0, "Edema": 1.0})
    {'finding:Edema': '1'}
    """
    return {f"{PREFIX}{name}": f"{value:g}" for name, value in findings.items() if not _is_none(name)}


@dataclass
class Annotated:
    """The rows of a set as they come together. `missing`: names of images that are not there; `unlabelled`: images
    without a label; `lateral`: lateral views."""

    root: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    lateral: list[Path] = field(default_factory=list)
    excluded: list[Path] = field(default_factory=list)

    def add(
        self,
        path: Path | None,
        name: str,
        label: str,
        patient: str = "",
        split: str = "",
        findings: Mapping[str, float] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """A row of the table; `path`: None where its image is not there; `details`: of `hilum.data.details.person`.

        >>> annotated = Annotated(Path("data"))
        >>> annotated.add(None, "a.png", "normal"); annotated.add(Path("data/b.png"), "b.png", "")
        >>> annotated.missing, annotated.unlabelled
        (['a.png'], ['b.png'])
        """
        if path is None:
            self.missing.append(name)
        elif not label:
            self.unlabelled.append(name)
        else:
            columns = as_columns(findings or {}) | dict(details or {})
            self.rows.append({"path": path, "label": label, "patient": patient, "split": split, **columns})

    def cases(
        self, source: str, data: str | Path, layout: str, patients: str, notes: Sequence[str] = ()
    ) -> Cases:
        """The checked cases. DataError when no image of the table is there.

        >>> Annotated(Path("data"), missing=["a.png"]).cases("nih", "data", "", "")
        Traceback (most recent call last):
        hilum.errors.DataError: none of the 1 images that the table names lies below data (a.png); ...
        """
        if not self.rows and self.missing:
            raise DataError(
                f"none of the {len(self.missing)} images that the table names lies below {self.root} "
                f"({first_names(self.missing)})",
                "put the images there, in any folders",
            )
        constant = drop_constant(self.rows)
        relative = [row["path"].relative_to(self.root) for row in self.rows]
        names = told_apart([case_id_of(path) for path in relative], relative)
        rows: list[Row] = [
            {**row, "case_id": name, "patient": row["patient"] or name}
            for row, name in zip(self.rows, names, strict=True)
        ]
        named = [*notes, *self._notes(), *note_on_constant(constant)]
        return cases_from(rows, source, existing(data), named, layout, patients)

    def _notes(self) -> list[str]:
        total = len(self.rows) + len(self.missing) + len(self.unlabelled) + len(self.lateral)
        kinds = {
            "rows whose image is not there": self.missing,
            "images without a label": self.unlabelled,
        }
        return [
            *(
                f"Left out: {len(names)} of {total} {what} ({first_names(names)})."
                for what, names in kinds.items()
                if names
            ),
            *noted("Lateral views, left out", self.lateral),
            *noted("Left out by --exclude", self.excluded),
        ]


def not_excluded(path: Path, root: Path, exclude: Sequence[str], excluded: list[Path]) -> bool:
    """Whether a file is kept; what is not is added to `excluded`.

    >>> not_excluded(Path("data/a.png"), Path("data"), ["a*"], [])
    False
    """
    if exclude and is_excluded(path.relative_to(root), exclude):
        excluded.append(path)
        return False
    return True
