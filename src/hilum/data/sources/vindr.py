"""VinDr-CXR (adults) and VinDr-PCXR (children) as PhysioNet and Kaggle distribute them.

    [annotations/]image_labels_train.csv   image_id, rad_id, then a column of 0 and 1 per finding
    [annotations/]annotations_train.csv    image_id, rad_id, class_name, x_min, ...: a row per box; Kaggle: train.csv
    train/*.dicom  test/*.dicom            or PNG files of the same names, in any folders

image_labels_*.csv is read if it is there, else the boxes. Several radiologists read an image: a finding is present
where at least half of those who read the image state it. The label is the finding, 'several findings' for more than
one, and 'normal' for 'No finding'; an image on which no half agrees is left out. The tables name no patients: those
of DICOM headers are taken, else each image counts as its own. Nguyen HQ et al. VinDr-CXR. Sci Data 9 (2022), 429; Pham
HH et al. VinDr-PCXR. Sci Data 10 (2023), 240.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hilum.data.annotated import (
    Annotated,
    files_below,
    find_table,
    has_columns,
    label_of_findings,
    read_rows,
    root_of,
)
from hilum.data.cases import Cases
from hilum.errors import DataError

DESCRIPTION = "VinDr-CXR and VinDr-PCXR: image_labels or annotations CSV, DICOM or PNG images"

_SPLITS = {"train": "train", "test": "test"}
_IDS = {"image_id", "rad_id"}


def accepts(data: str | Path) -> bool:
    """Whether it is, or holds, a table of image labels or of boxes.

    >>> accepts("no such folder")
    False
    """
    return any(_table(data, part) is not None for part in _SPLITS)


def _table(data: str | Path, part: str) -> tuple[Path, bool] | None:
    """The table of a part and whether it holds boxes; image labels come first."""
    labels = find_table(data, [f"image_labels_{part}.csv"])
    if labels is not None and has_columns(labels, _IDS):
        return labels, False
    for name in (f"annotations_{part}.csv", f"{part}.csv"):
        boxes = find_table(data, [name])
        if boxes is not None and has_columns(boxes, {*_IDS, "class_name"}):
            return boxes, True
    return None


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the tables that is there, with findings and split. DataError when tables or all images are
    missing.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    root = root_of(data)
    tables = {part: table for part in _SPLITS if (table := _table(data, part)) is not None}
    if not tables:
        raise DataError(
            f"{data} has no image_labels_train.csv or annotations_train.csv", "point to the unpacked folder"
        )
    files = files_below(root, exclude)
    annotated = Annotated(root, excluded=files.excluded)
    shares = {part: _shares(*table) for part, table in tables.items()}
    known = sorted({name for share in shares.values() for name in share.columns})
    for part, share in shares.items():
        for image, values in share.reindex(columns=known).iterrows():
            findings = {str(name): float(value >= 0.5) for name, value in values.items() if value == value}
            label = label_of_findings(findings)
            stated = {name: findings.get(name, float("nan")) for name in known}
            annotated.add(files.by_stem.get(str(image)), str(image), label, "", _SPLITS[part], stated)
    names = ", ".join(path.name for path, _ in tables.values())
    note = "VinDr names no patients: each image counts as its own patient, so that splits may leak."
    words = f"unknown, each image its own ({len(annotated.rows)} images)"
    return annotated.cases("vindr", data, f"{names}: what each radiologist states", words, [note])


def _shares(path: Path, boxes: bool) -> pd.DataFrame:
    """Per image and finding the share of its radiologists who state it. DataError for other cells than 0 and 1."""
    if boxes:
        rows = read_rows(path, ("image_id", "rad_id", "class_name"))
        stated = pd.crosstab([rows["image_id"], rows["rad_id"]], rows["class_name"]).clip(upper=1)
        return stated.groupby("image_id").mean()
    rows = read_rows(path, ("image_id", "rad_id"))
    names = [name for name in rows.columns if name.lower() not in _IDS]
    values = rows[names].apply(pd.to_numeric, errors="coerce")
    wrong = ~(values.isin([0, 1]) | (rows[names] == "")).to_numpy()
    if wrong.any():
        row, column = (int(at[0]) for at in wrong.nonzero())
        raise DataError(
            f"{path.name} row {row + 2}: finding {names[column]!r} is {rows[names[column]].iloc[row]!r}",
            "write 1, 0 or leave it empty",
        )
    return values.groupby(rows["image_id"]).mean()
