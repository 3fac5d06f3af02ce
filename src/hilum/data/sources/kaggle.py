"""The chest-xray-pneumonia set as Kaggle and Mendeley Data (doi 10.17632/rscbjbr9sj) distribute it.

    [chest_xray/]{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg        Mendeley has no val

The file names carry the label and the patient, in one of two families:

    person1_bacteria_2.jpeg, person1_virus_6.jpeg   Kaggle, abnormal: numbers start again per split and per
                                                    label, so that these two are different children
    IM-0115-0001.jpeg, NORMAL2-IM-0383-0001.jpeg    Kaggle, healthy: the study stands for the patient
    BACTERIA-5660566-0001.jpeg, VIRUS-5660566-0009  Mendeley: label, patient, image; the number names a
                                                    child in the whole set, whatever the label

Kermany et al., Cell 172 (2018), 1122-1131. The Kaggle archive holds itself once more (chest_xray/chest_xray)
and a __MACOSX folder; neither is read.
"""

import re
from pathlib import Path

from hilum.data.cases import HEALTHY, SPLITS, Cases
from hilum.data.listing import case_id_of, cases_from, existing, listing, note_on_others
from hilum.errors import DataError

DESCRIPTION = "chest-xray-pneumonia as on Kaggle or Mendeley: {train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg"

CLASS_FOLDERS = ("NORMAL", "PNEUMONIA")
_ABNORMAL = re.compile(r"(person\d+)_(bacteria|virus)_\d+(?:_\d+)*", re.IGNORECASE)
_HEALTHY = re.compile(r"((?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)*", re.IGNORECASE)
_MENDELEY = re.compile(r"(normal|bacteria|virus)-(\d+)-\d+", re.IGNORECASE)
_CAUSE = re.compile(r"bacteria|virus", re.IGNORECASE)


def accepts(data: str | Path) -> bool:
    """Whether there are split folders that hold NORMAL or PNEUMONIA and no other class.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "train", "PNEUMONIA").mkdir(parents=True)
    ...     accepts(folder), accepts(f"{folder}/train")
    (True, False)
    """
    root = _root(Path(data).expanduser())
    if root is None:
        return False
    classes = {folder.name for split in _split_folders(root) for folder in listing(split).folders}
    return classes <= set(CLASS_FOLDERS)


def load(data: str | Path) -> Cases:
    """Every image of the set, with the split that its folder declares.

    DataError when the folders are not there, when a class folder is empty, or when a file's name has no cause
    or another one than its folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "train", "PNEUMONIA").mkdir(parents=True)
    ...     Path(folder, "train", "PNEUMONIA", "person1_virus_6.jpeg").touch()
    ...     load(folder).table[["label", "patient", "split"]].values.tolist()
    [['virus', 'train/virus/person1', 'train']]
    """
    path = existing(data)
    root = _root(path)
    if root is None:
        raise DataError(
            f"{data} has no folder like train/NORMAL or train/PNEUMONIA",
            "point to the unpacked folder chest_xray, or sort the images into one folder per class",
        )
    rows: list[dict[str, str | Path]] = []
    others: list[Path] = []
    for split in _split_folders(root):
        inside = listing(split)
        unknown = [folder for folder in inside.folders if folder.name not in CLASS_FOLDERS]
        others += [*inside.images, *inside.others, *unknown]
        for folder in inside.folders:
            if folder not in unknown:
                images, more = _images_of_class(folder)
                others += more
                rows += [_row(image, split.name, folder.name) for image in images]
    return cases_from(rows, "kaggle", path, [*_notes(rows), *note_on_others(others)])


def _root(path: Path) -> Path | None:
    """The folder that holds the split folders; the Kaggle archive wraps it up to twice."""
    wrapped = "chest_xray"
    for root in (path, path / wrapped, path / wrapped / wrapped):
        if any((root / split / name).is_dir() for split in SPLITS for name in CLASS_FOLDERS):
            return root
    return None


def _split_folders(root: Path) -> list[Path]:
    return [root / split for split in SPLITS if (root / split).is_dir()]


def _images_of_class(folder: Path) -> tuple[list[Path], list[Path]]:
    inside = listing(folder)
    if not inside.images:
        raise DataError(f"{folder} holds no images", "put the images there, or remove the empty folder")
    return inside.images, [*inside.others, *inside.folders]


def _row(image: Path, split: str, folder: str) -> dict[str, str | Path]:
    label, patient = _label_and_patient(image, split, folder)
    case_id = case_id_of(f"{split}/{image.name}")
    return {
        "case_id": case_id,
        "path": image,
        "label": label,
        "patient": patient or case_id,
        "split": split,
    }


def _label_and_patient(image: Path, split: str, folder: str) -> tuple[str, str | None]:
    """The label, and the patient or None when the name does not tell."""
    label, patient = _from_name(image.stem, split)
    if label is None and folder == "NORMAL":
        return HEALTHY, None
    if label is None:
        raise DataError(
            f"{image} lies in PNEUMONIA but its name contains neither bacteria nor virus",
            "rename it, or read the data with the source 'folder' for the binary task alone",
        )
    if (label == HEALTHY) != (folder == "NORMAL"):
        raise DataError(f"{image} lies in {folder} but its name says {label}", "move or rename it")
    return label, patient


def _from_name(stem: str, split: str) -> tuple[str | None, str | None]:
    if match := _MENDELEY.fullmatch(stem):
        return match[1].lower(), f"patient/{match[2]}"
    if match := _ABNORMAL.fullmatch(stem):
        return match[2].lower(), f"{split}/{match[2].lower()}/{match[1].lower()}"
    if match := _HEALTHY.fullmatch(stem):
        return HEALTHY, f"{split}/{HEALTHY}/{match[1].upper()}"
    match = _CAUSE.search(stem)
    return (match[0].lower() if match else None), None


def _notes(rows: list[dict[str, str | Path]]) -> list[str]:
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    restarts = any(str(row["patient"]).count("/") == 2 for row in rows)
    notes = []
    if unknown:
        notes.append(
            f"The patient of {unknown} image(s) can't be told from the file name: each such image counts as "
            "its own patient."
        )
    else:
        notes.append(
            "The chest-xray-pneumonia set (Kermany et al. 2018): children aged 1 to 5, one hospital."
        )
    if restarts:
        notes.append(
            "Patient numbers start again in each folder, so the names can't tell whether a child is in more "
            "than one of train, val and test."
        )
    return notes
