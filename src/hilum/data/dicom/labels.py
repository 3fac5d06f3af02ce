"""Labels of DICOM files from a CSV beside them."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path, PurePath

from hilum.data.dicom.people import Header
from hilum.errors import DataError

_LABEL = ("label", "class", "diagnosis")
_PATH = ("path", "file", "filename", "image")
_IDENTIFIERS = {
    "sopinstanceuid": "SOPInstanceUID",
    "imageid": "SOPInstanceUID",
    "studyinstanceuid": "StudyInstanceUID",
    "patientid": "PatientID",
    "patient": "PatientID",
    "accessionnumber": "AccessionNumber",
}


@dataclass(frozen=True)
class Labels:
    """The labels of a CSV. `by`: 'path', or the keyword of a header; `label_of`: label by path, name or identifier."""

    file: Path
    by: str
    label_of: dict[str, str]

    def of(self, relative: PurePath, header: Header | None) -> str:
        """The label of a file; empty where the table does not have it.

        >>> labels = Labels(Path("labels.csv"), "path", {"a.dcm": "virus"})
        >>> labels.of(PurePath("sub/a.dcm"), None), labels.of(PurePath("b.dcm"), None)
        ('virus', '')
        """
        if self.by == "path":
            names = [relative.as_posix(), relative.name, relative.stem]
        else:
            names = [header.keys.get(self.by, "") if header else ""]
            names += [relative.stem] if self.by == "SOPInstanceUID" else []
        return next((self.label_of[name] for name in names if name in self.label_of), "")


def labels_beside(folder: Path) -> Labels | None:
    """The labels in the one CSV of a folder that has columns for them; None without such a CSV.

    DataError for two such tables, and for an image that has two labels.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "labels.csv").write_text("PatientID,label\\nMRN 7,virus\\n")
    ...     labels_beside(Path(folder)).label_of
    {'MRN 7': 'virus'}
    """
    tables = [labels for path in sorted(folder.glob("*.csv")) if (labels := _read(path)) is not None]
    if len(tables) > 1:
        names = " and ".join(labels.file.name for labels in tables[:2])
        raise DataError(f"{folder} holds two tables of labels ({names})", "leave one of them there")
    return tables[0] if tables else None


def _read(path: Path) -> Labels | None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if any(line)]
    except (OSError, csv.Error, UnicodeDecodeError):
        return None
    header = [re.sub(r"[\W_]", "", name.lower()) for name in lines[0]] if lines else []
    label = next((header.index(name) for name in _LABEL if name in header), None)
    named = {**dict.fromkeys(_PATH, "path"), **_IDENTIFIERS}
    name = next((name for name in named if name in header), None)
    if label is None or name is None:
        return None
    at, label_of = header.index(name), {}
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) <= max(at, label) or not cells[label].strip():
            continue
        key, word = cells[at].strip(), cells[label].strip()
        if label_of.setdefault(key, word) != word:
            raise DataError(
                f"{path.name} row {number}: a second label for the same {named[name]}", "correct the table"
            )
    return Labels(path, named[name], label_of)
