"""The chest-xray-pneumonia set as Kaggle and Mendeley Data (doi 10.17632/rscbjbr9sj) distribute it.

    [chest_xray/]{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg        Mendeley has no val

Folders may be in any case, and splits may have their other usual names. The file names carry the label and the
patient, in one of two families:

    person1_bacteria_2.jpeg, person1_virus_6.jpeg   Kaggle, abnormal: numbers start again per split and per
                                                    label, so that these two are different children
    IM-0115-0001.jpeg, NORMAL2-IM-0383-0001.jpeg    Kaggle, healthy: the study stands for the patient
    BACTERIA-5660566-0001.jpeg, VIRUS-5660566-0009  Mendeley: label, patient, image; the number names a
                                                    child in the whole set, whatever the label

Kermany et al., Cell 172 (2018), 1122-1131. The Kaggle archive holds itself once more (chest_xray/chest_xray)
and a __MACOSX folder; neither is read.
"""

from collections.abc import Sequence
from pathlib import Path

from hilum.data.cases import HEALTHY, Cases
from hilum.data.labels import spaced
from hilum.data.listing import (
    case_id_of,
    cases_from,
    existing,
    first_names,
    is_excluded,
    listing,
    note_on_others,
    noted,
    told_apart,
)
from hilum.data.patients import joined, kermany
from hilum.data.roles import split_of
from hilum.data.tree import walk
from hilum.errors import DataError

DESCRIPTION = "chest-xray-pneumonia as on Kaggle or Mendeley: {train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg"

CLASS_FOLDERS = ("normal", "pneumonia")
_WRAPPED = 3
_FEW = 0.1
"""Below this share, files whose names do not fit are left out and named; from it on the set is another one."""


class _Misfit(DataError):
    """A file whose name has no cause, or another one than its folder."""


def accepts(data: str | Path) -> bool:
    """Whether there are split folders that hold NORMAL or PNEUMONIA and no other class, and file names of the set in
    PNEUMONIA if it holds any images.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "train", "PNEUMONIA").mkdir(parents=True)
    ...     accepts(folder), accepts(f"{folder}/train")
    (True, False)
    """
    root = _root(Path(data).expanduser())
    if root is None:
        return False
    classes = [folder for split in _split_folders(root) for folder in listing(split).folders]
    if any(folder.name.lower() not in CLASS_FOLDERS for folder in classes):
        return False
    abnormal = [image for folder in classes if _is_abnormal(folder) for image in walk(folder).images]
    names = [kermany(image.stem)[0] for image in abnormal]
    return any(names) if names else all(folder.name.isupper() for folder in classes)


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the set but those that `exclude` names, with the split that its folder declares.

    DataError when the folders are not there, when a class folder is empty, or when the names of a tenth of the files
    or more have no cause or another one than their folder.

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
    images, others, excluded = _files(root, path, exclude)
    rows, misfits = _rows(images, root)
    notes = [
        *_notes(rows),
        *note_on_others(others),
        *_note_on_misfits(misfits),
        *noted("Left out by --exclude", excluded),
    ]
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    words = f"the file name ({len(rows) - unknown} images)"
    return cases_from(
        rows,
        "kaggle",
        path,
        notes,
        layout="split / class / image; NORMAL, and the cause of PNEUMONIA from the file name",
        patients=words + (f"; unknown, each image its own ({unknown} images)" if unknown else ""),
    )


def _root(path: Path) -> Path | None:
    """The folder that holds the split folders; archives wrap it in up to three folders."""
    root: Path | None = path if path.is_dir() else None
    for _ in range(_WRAPPED + 1):
        if root is None:
            return None
        splits = _split_folders(root)
        if any(folder.name.lower() in CLASS_FOLDERS for split in splits for folder in listing(split).folders):
            return root
        root = _inner(root)
    return None


def _inner(folder: Path) -> Path | None:
    """The only folder in a folder, or the one that is called after the set."""
    folders = listing(folder).folders
    named = [inside for inside in folders if spaced(inside.name) == "chest xray"]
    candidates = named or folders
    return candidates[0] if len(candidates) == 1 else None


def _split_folders(root: Path) -> list[Path]:
    folders = [folder for folder in listing(root).folders if split_of(folder.name)]
    return sorted(folders, key=lambda folder: ("train", "val", "test").index(split_of(folder.name)))


def _is_abnormal(folder: Path) -> bool:
    return folder.name.lower() == CLASS_FOLDERS[1]


def _files(root: Path, path: Path, exclude: Sequence[str]) -> tuple[list[Path], list[Path], list[Path]]:
    """The images in class folders, what is none, and what is excluded."""
    images: list[Path] = []
    others: list[Path] = []
    for split in _split_folders(root):
        inside = listing(split)
        unknown = [folder for folder in inside.folders if folder.name.lower() not in CLASS_FOLDERS]
        others += [*inside.images, *inside.others, *unknown]
        for folder in inside.folders:
            if folder not in unknown:
                own, more = _images_of_class(folder)
                images += own
                others += more
    excluded = [image for image in images if exclude and is_excluded(image.relative_to(path), exclude)]
    gone = set(excluded)
    return [image for image in images if image not in gone], others, excluded


def _images_of_class(folder: Path) -> tuple[list[Path], list[Path]]:
    tree = walk(folder)
    if not tree.images:
        raise DataError(f"{folder} holds no images", "put the images there, or remove the empty folder")
    return tree.images, [*tree.others, *tree.masks]


def _rows(images: Sequence[Path], root: Path) -> tuple[list[dict[str, str | Path]], list[_Misfit]]:
    """A row per image whose name fits, and an error for each other; the first is raised when there are many."""
    rows: list[dict[str, str | Path]] = []
    misfits: list[_Misfit] = []
    for image in images:
        try:
            split, folder = image.relative_to(root).parts[:2]
            rows.append(_row(image, split, root / split / folder))
        except _Misfit as error:
            misfits.append(error)
    if len(misfits) >= _FEW * len(images) and misfits:
        raise misfits[0]
    relative = [Path(str(row["path"])).relative_to(root) for row in rows]
    names = told_apart([str(row["case_id"]) for row in rows], relative)
    patients = joined([str(row["patient"]) for row in rows])
    for row, name, patient in zip(rows, names, patients, strict=True):
        row["patient"] = name if patient == row["case_id"] else patient
        row["case_id"] = name
    return rows, misfits


def _row(image: Path, split_folder: str, folder: Path) -> dict[str, str | Path]:
    split = split_of(split_folder)
    label, patient = _label_and_patient(image, split, folder)
    case_id = case_id_of(f"{split_folder}/{image.name}")
    return {
        "case_id": case_id,
        "path": image,
        "label": label,
        "patient": patient or case_id,
        "split": split,
    }


def _label_and_patient(image: Path, split: str, folder: Path) -> tuple[str, str | None]:
    """The label, and the patient or None when the name does not tell."""
    label, patient = kermany(image.stem, split)
    if label is None and not _is_abnormal(folder):
        return HEALTHY, None
    if label is None:
        raise _Misfit(
            f"{image} lies in {folder.name} but its name contains neither bacteria nor virus",
            "rename it, or read the data with the source 'folder' for the binary task alone",
        )
    if (label == HEALTHY) == _is_abnormal(folder):
        raise _Misfit(f"{image} lies in {folder.name} but its name says {label}", "move or rename it")
    return label, patient


def _note_on_misfits(misfits: Sequence[_Misfit]) -> list[str]:
    if not misfits:
        return []
    names = first_names([error.what.split(" lies in ")[0].rsplit("/", 1)[-1] for error in misfits])
    return [
        f"Left out, because the file name and the folder do not say the same label: {len(misfits)} ({names})."
    ]


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
