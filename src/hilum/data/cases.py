"""Cases: the checked table of who, what and where. Everything downstream joins to it by `case_id`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.artifacts.run import Reading as Reading
from hilum.data.dicom.attach import DETAILS as DETAILS
from hilum.data.dicom.people import original
from hilum.data.finding_options import PREFIX
from hilum.data.labels import HEALTHY as HEALTHY
from hilum.data.labels import canonical_label as canonical_label
from hilum.data.multilabel import columns_of
from hilum.errors import DataError
from hilum.files import digest, read_table, write_table

SPLITS = ("train", "val", "test")
"""The splits a source may declare. An empty cell means that the source says nothing."""

COLUMNS = ("case_id", "path", "label", "patient", "split", "digest")


@dataclass(frozen=True)
class Cases:
    """A table with one row per image.

    Columns (all text): `case_id` unique, safe as a file name; `path` absolute; `label` canonical;
    `patient` never empty (the case itself where the source knows no patient); `split` as the source
    declares it, one of train, val, test or empty; `digest` of the file's bytes. Where several findings per image are
    stated, a column `finding:<name>` for each: 1, 0, -1 or NaN (see `hilum.data.multilabel`). Sources of DICOM add what
    headers say: `study`, `view`, `sex`, `age` in years, `site`, `spacing` in mm.

    `source` names the reader, `root` the folder or file it read, `notes` what a reader of the report
    should know (for example that patients are unknown), `reading` how it was understood.

    Build it with `Cases.checked`, which raises DataError with row, value and remedy.
    """

    table: pd.DataFrame
    source: str
    root: Path
    notes: tuple[str, ...] = field(default=())
    reading: Reading = field(default_factory=Reading)

    @classmethod
    def checked(
        cls, table: pd.DataFrame, source: str, root: Path, notes: Sequence[str] = (), where: str = ""
    ) -> "Cases":
        """Checks the rows and sorts them by case_id. `where` names the table in error sentences.

        >>> row = {"case_id": "", "path": "a.png", "label": "virus", "patient": "p", "split": "", "digest": "d"}
        >>> Cases.checked(pd.DataFrame([row]), "table", Path("cases.csv"))
        Traceback (most recent call last):
        hilum.errors.DataError: cases.csv row 2: case_id is empty; fill in the cell
        """
        where = where or str(root)
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing:
            raise DataError(f"{where} lacks the column {missing[0]!r}", f"a case needs {', '.join(COLUMNS)}")
        findings = table[columns_of(list(table.columns))].astype(float).reset_index(drop=True)
        details = (
            table[[name for name in DETAILS if name in table]].fillna("").astype(str).reset_index(drop=True)
        )
        table = table.loc[:, list(COLUMNS)].astype(str).reset_index(drop=True)
        if table.empty:
            raise DataError(f"{where} holds no radiographs", "point to a folder or table with images")
        _check_cells(table, where)
        table = table.join(findings).join(details)
        table = table.sort_values("case_id", ignore_index=True)
        return cls(table, source, Path(root), tuple(notes))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that occur: normal first, the others in alphabetical order.

        >>> table = pd.DataFrame({"label": ["virus", "bacteria", "normal", "virus"]})
        >>> Cases(table, "table", Path("cases.csv")).labels
        ('normal', 'bacteria', 'virus')
        """
        names = sorted(set(self.table["label"]))
        return tuple(sorted(names, key=lambda label: (label != HEALTHY, label)))

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that are stated per image, in the order of the source; empty for data of one label per image.

        >>> Cases(pd.DataFrame({"label": ["normal"], "finding:Edema": [0.0]}), "table", Path("cases.csv")).findings
        ('Edema',)
        """
        return tuple(name.removeprefix(PREFIX) for name in columns_of(list(self.table.columns)))

    @property
    def digest(self) -> str:
        """Names the contents (ids, labels, patients, splits, image bytes), not the place they lie in.

        >>> row = {"case_id": "a", "path": "a.png", "label": "virus", "patient": "p", "split": "", "digest": "d"}
        >>> here, there = (pd.DataFrame([row | {"path": path}]) for path in ("a.png", "elsewhere/a.png"))
        >>> Cases(here, "table", Path(".")).digest == Cases(there, "table", Path(".")).digest
        True
        """
        columns = [name for name in COLUMNS if name != "path"]
        columns += columns_of(list(self.table.columns))
        return digest(*self.table[columns].to_csv(index=False).splitlines())

    def where(self, keep: pd.Series | np.ndarray) -> "Cases":
        """The rows of a boolean mask, as Cases.

        >>> row = {"case_id": "a", "path": "a.png", "label": "virus", "patient": "p", "split": "", "digest": "d"}
        >>> cases = Cases.checked(pd.DataFrame([row, {**row, "case_id": "b"}]), "table", Path("cases.csv"))
        >>> len(cases.where(cases.table["case_id"] == "b"))
        1
        """
        return replace(self, table=self.table[keep].reset_index(drop=True))

    def by_original_paths(self) -> "Cases":
        """The same cases with the paths that their owner gave them, for the terminal: in the table DICOM files whose
        path would identify a patient are links of another name.

        >>> len(Cases(pd.DataFrame({"path": ["data/a.png"]}), "folder", Path("data")).by_original_paths())
        1
        """
        paths = [str(original(Path(path))) for path in self.table["path"]]
        return replace(self, table=self.table.assign(path=paths))

    def read_as(self, reading: Reading) -> "Cases":
        """The same cases with another account of how they were read.

        >>> Cases(pd.DataFrame(), "table", Path("cases.csv")).read_as(Reading(layout="class/image")).reading.layout
        'class/image'
        """
        return replace(self, reading=reading)

    def write(self, path: Path) -> None:
        """Writes cases.csv, all or nothing; `read` reads it."""
        write_table(path, self.table)

    @classmethod
    def read(cls, path: Path, source: str, root: Path, notes: Sequence[str] = ()) -> "Cases":
        """Reads what `write` wrote; whether the images still exist is not checked.

        >>> from tempfile import TemporaryDirectory
        >>> row = {"case_id": "a", "path": "a.png", "label": "virus", "patient": "p", "split": "", "digest": "d"}
        >>> cases = Cases.checked(pd.DataFrame([row]), "table", Path("cases.csv"))
        >>> with TemporaryDirectory() as folder:
        ...     cases.write(Path(folder, "cases.csv"))
        ...     Cases.read(Path(folder, "cases.csv"), cases.source, cases.root).digest == cases.digest
        True
        """
        texts = (*COLUMNS, *DETAILS)
        table = read_table(path, **dict.fromkeys(texts, str))
        table = table.fillna(dict.fromkeys(texts, ""))
        return cls(table, source, root, tuple(notes))


def _check_cells(table: pd.DataFrame, where: str) -> None:
    """The first wrong cell becomes one sentence; rows are counted as in a spreadsheet (header = row 1)."""
    for name in ("case_id", "path", "label", "patient", "digest"):
        empty = table.index[table[name].str.strip() == ""]
        if len(empty):
            raise DataError(f"{where} row {empty[0] + 2}: {name} is empty", "fill in the cell")
    twice = table.index[table["case_id"].duplicated()]
    if len(twice):
        name = table["case_id"][twice[0]]
        raise DataError(
            f"{where} row {twice[0] + 2}: case_id {name!r} occurs twice", "give each image its own id"
        )
    unknown = table.index[~table["split"].isin([*SPLITS, ""])]
    if len(unknown):
        value = table["split"][unknown[0]]
        raise DataError(
            f"{where} row {unknown[0] + 2}: split {value!r} is not one of {', '.join(SPLITS)}",
            "correct the cell or leave it empty",
        )
    wrong = table.index[table["label"] != table["label"].map(canonical_label)]
    if len(wrong):
        value = table["label"][wrong[0]]
        raise DataError(
            f"{where} row {wrong[0] + 2}: label {value!r} is not canonical",
            f"write {canonical_label(value)!r}",
        )
