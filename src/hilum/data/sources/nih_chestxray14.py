"""NIH ChestX-ray14 as published: Data_Entry_2017.csv beside folders of images (also the sample of Kaggle).

    Data_Entry_2017.csv        Image Index, Finding Labels, Follow-up #, Patient ID, Patient Age, ..., View Position
    images_001/images/00000001_000.png ...     in any folders
    train_val_list.txt, test_list.txt          the official split, if they are there

The label is the finding where there is one, 'normal' for 'No Finding', and 'several findings' where 'Finding Labels'
joins several with '|'. Each of the 14 findings is kept as a column as well: present or absent, since the table states
all. Wang X et al. ChestX-ray8: hospital-scale chest X-ray database and benchmarks. CVPR (2017).
"""

from collections.abc import Sequence
from pathlib import Path

from hilum.data.annotated import (
    Annotated,
    column,
    files_below,
    find_table,
    has_columns,
    label_of_findings,
    read_rows,
    root_of,
)
from hilum.data.cases import Cases
from hilum.data.details import person
from hilum.errors import DataError

DESCRIPTION = "NIH ChestX-ray14: Data_Entry_2017.csv and its images in any folders"

_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv", "sample_labels.csv")
_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


def accepts(data: str | Path) -> bool:
    """Whether it is, or holds, the table of the set.

    >>> accepts("no such folder")
    False
    """
    return has_columns(find_table(data, _TABLES), ("image index", "finding labels", "patient id"))


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the table that is there, with findings, patient and official split.

    DataError when the table or all images are missing.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    root, table = root_of(data), find_table(data, _TABLES)
    if table is None:
        raise DataError(f"{data} has no {_TABLES[0]}", "put the table of the set beside its images")
    rows = read_rows(table, _COLUMNS)
    files, splits = files_below(root, exclude), _official(table.parent)
    split = [[name for name in text.split("|") if name] for text in rows["Finding Labels"]]
    known = sorted({name.strip() for names in split for name in names})
    annotated = Annotated(root, excluded=files.excluded)
    details = [
        person(*cells)
        for cells in zip(column(rows, "Patient Gender"), column(rows, "Patient Age"), strict=True)
    ]
    for name, present, patient, who in zip(
        rows["Image Index"], split, rows["Patient ID"], details, strict=True
    ):
        findings = {finding: float(finding in {each.strip() for each in present}) for finding in known}
        annotated.add(
            files.by_stem.get(Path(name).stem),
            name,
            label_of_findings(findings),
            patient,
            splits.get(name, ""),
            findings,
            who,
        )
    return annotated.cases(
        "nih_chestxray14", data, f"{table.name}: an image and its findings per row", "the column Patient ID"
    )


def _official(folder: Path) -> dict[str, str]:
    """Image -> split, from the lists of the set; empty without them. Its train_val list is one part, 'train'."""
    lists = {folder / name: split for name, split in _LISTS.items() if (folder / name).is_file()}
    return {
        line.strip(): split
        for path, split in lists.items()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    }
