"""One folder per class, the layout that needs no explanation.

    [wrapper/] [{train,val,test}/] <class>/ [<patient>/ [<study>/]] *.png

The class folder's name is the label (synonyms such as 'Healthy' become 'normal'). A folder below it names the
patient: the same name is the same patient, in whatever class or split it stands. Without one, file names of known
sets do (hilum.data.patients). Splits may lie below the classes; names of folders are understood in any case; folders
that say only 'images' stand for nothing; masks and lateral views are left out with a note (hilum.data.roles).
"""

from collections.abc import Sequence
from pathlib import Path

from hilum.data.cases import Cases
from hilum.data.listing import case_id_of, cases_from, existing, note_on_others, noted, told_apart
from hilum.data.patients import joined, patient_of
from hilum.data.tree import Placed, Placing, Tree, place, walk
from hilum.errors import DataError

DESCRIPTION = "one folder per class, optionally below train, val, test, with an optional folder per patient"

_LAYOUT = (
    "the layout is <class>/<image> or <class>/<patient>/<image>, all optionally below train, val and test"
)


def accepts(data: str | Path) -> bool:
    """Whether there is a folder with a class folder that holds images.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "normal").mkdir()
    ...     Path(folder, "normal", "a.png").touch()
    ...     accepts(folder), accepts(f"{folder}/normal")
    (True, False)
    """
    path = Path(data).expanduser()
    if not path.is_dir():
        return False
    try:
        return bool(place(walk(path)).images)
    except DataError:
        return True  # `load` says what is wrong


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image in the class folders but masks, lateral views and what `exclude` names.

    DataError when there are no class folders, when one is empty, or when nothing says which images are masks.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     Path(folder, "Healthy", "child 7").mkdir(parents=True)
    ...     Path(folder, "Healthy", "child 7", "a.png").touch()
    ...     load(folder).table[["case_id", "label", "patient"]].values.tolist()
    [['Healthy-child_7-a', 'normal', 'child 7']]
    """
    path = existing(data)
    if not path.is_dir():
        raise DataError(f"{data} is not a folder", _LAYOUT)
    tree = walk(path, exclude)
    placing = place(tree)
    _check_empty(tree, placing)
    rows = _rows_of(placing.images, path)
    return cases_from(
        rows,
        "folder",
        path,
        [*_notes(rows), *_notes_on(tree, placing)],
        layout=_layout_of(placing.images),
        patients=_patients_in_words(rows, placing.images),
    )


def _rows_of(images: Sequence[Placed], root: Path) -> list[dict[str, str | Path]]:
    """A row per placed image; the patient is the case itself where neither folder nor file names one."""
    relative = [image.path.relative_to(root) for image in images]
    names = told_apart([case_id_of(path) for path in relative], relative)
    patients = joined(
        [
            image.patient or patient_of(path.name, image.split)
            for image, path in zip(images, relative, strict=True)
        ]
    )
    return [
        {
            "case_id": case_id,
            "path": image.path,
            "label": image.label,
            "patient": patient or case_id,
            "split": image.split,
        }
        for image, case_id, patient in zip(images, names, patients, strict=True)
    ]


def _check_empty(tree: Tree, placing: Placing) -> None:
    """DataError for an empty folder beside class folders: an archive that was unpacked in part looks like it."""
    classes_in = {
        path.parent for image in placing.images for path in image.path.parents if path.name == image.label
    }
    for folder in tree.empty:
        if folder.parent in classes_in:
            raise DataError(f"{folder} holds no images", "put the images there, or remove the folder")


def _notes_on(tree: Tree, placing: Placing) -> list[str]:
    """What was left out, each kind with its number and first names."""
    return [
        *note_on_others([*placing.loose, *tree.others]),
        *_note_on_masks(tree.masks),
        *noted("Lateral views, left out", placing.lateral),
        *noted("Left out, because their folder says that the label is not known", placing.unlabelled),
        *noted("Left out by --exclude", tree.excluded),
        *(
            [f"Every class has the folders {', '.join(placing.shared)}: they are not taken for patients."]
            if placing.shared
            else []
        ),
    ]


def _note_on_masks(masks: Sequence[Path]) -> list[str]:
    if not masks:
        return []
    folders = ", ".join(sorted({path.parent.name for path in masks})[:3])
    return [f"Masks, left out: {len(masks)} images in {folders}."]


def _layout_of(images: Sequence[Placed]) -> str:
    """The folders above an image in words, for the table that is printed before any work.

    >>> _layout_of([Placed(Path("train/covid/a.png"), "train", "covid", "", ())])
    'split / class / image'
    """
    deepest = max((len(image.rest) for image in images), default=0)
    split = ["split"] if any(image.split for image in images) else []
    patient = ["patient"] if any(image.patient for image in images) else []
    further = ["..."] if deepest > len(patient) else []
    return " / ".join([*split, "class", *patient, *further, "image"])


def _patients_in_words(rows: Sequence[dict[str, str | Path]], images: Sequence[Placed]) -> str:
    """How many images have their patient from a folder, from a file's name, or not at all."""
    of_folder = sum(bool(image.patient) for image in images)
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    counts = {
        "the folder below the class": of_folder,
        "the file name": len(rows) - of_folder - unknown,
        "unknown, each image its own": unknown,
    }
    return "; ".join(f"{what} ({count} images)" for what, count in counts.items() if count)


def _notes(rows: list[dict[str, str | Path]]) -> list[str]:
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    if not unknown:
        return []
    some = "" if unknown == len(rows) else f" of {unknown} of {len(rows)} images"
    return [
        f"The patient{some} is unknown: each such image counts as its own patient, so that splits may leak "
        "and intervals may be too narrow if a patient has several images."
    ]
