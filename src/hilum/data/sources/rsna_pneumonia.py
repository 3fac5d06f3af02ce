"""The RSNA Pneumonia Detection Challenge (Kaggle 2018).

    stage_2_train_labels.csv          patientId, x, y, width, height, Target: a row per box
    stage_2_detailed_class_info.csv   patientId, class: Normal, Lung Opacity, No Lung Opacity / Not Normal
    stage_2_train_images/*.dcm        or PNG files of the same names, in any folders

Target 1 is 'pneumonia'; other images have their detailed class, or without that table 'no pneumonia'. Each patientId is
one image. Test images have no labels and are not read. Shih G et al. Augmenting the NIH chest radiograph dataset with
expert annotations of possible pneumonia. Radiol Artif Intell 1 (2019), e180041.
"""

from collections.abc import Sequence
from pathlib import Path

from hilum.data.annotated import Annotated, files_below, find_table, has_columns, read_rows, root_of
from hilum.data.cases import Cases
from hilum.errors import DataError

DESCRIPTION = "RSNA pneumonia challenge: stage_2_train_labels.csv and its DICOM or PNG images"

_TABLES = ("stage_2_train_labels.csv", "stage_1_train_labels.csv")
_DETAILS = ("stage_2_detailed_class_info.csv", "stage_1_detailed_class_info.csv")


def accepts(data: str | Path) -> bool:
    """Whether it is, or holds, the table of the challenge.

    >>> accepts("no such folder")
    False
    """
    return has_columns(find_table(data, _TABLES), ("patientid", "target"))


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the table that is there. DataError when the table or all images are missing.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    root, table = root_of(data), find_table(data, _TABLES)
    if table is None:
        raise DataError(f"{data} has no {_TABLES[0]}", "put the table of the challenge beside its images")
    target = read_rows(table, ("patientId", "Target")).groupby("patientId")["Target"].max()
    details = _detailed(table.parent)
    files = files_below(root, exclude)
    annotated = Annotated(root, excluded=files.excluded)
    for name, value in target.items():
        label = "pneumonia" if str(value) in ("1", "1.0") else details.get(str(name), "no pneumonia")
        annotated.add(files.by_stem.get(str(name)), str(name), label, str(name))
    return annotated.cases(
        "rsna_pneumonia", data, f"{table.name}: a box per row, Target 1 is pneumonia", "the column patientId"
    )


def _detailed(folder: Path) -> dict[str, str]:
    table = find_table(folder, _DETAILS)
    if table is None:
        return {}
    rows = read_rows(table, ("patientId", "class"))
    return dict(zip(rows["patientId"], rows["class"], strict=True))
