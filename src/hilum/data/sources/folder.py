"""One folder per class, the layout that needs no explanation.

    [{train,val,test}/]<class>/[<patient>/]*.png

The class folder's name is the label (synonyms such as 'Healthy' become 'normal'). A folder below it names the
patient: the same name is the same patient, in whatever class or split it stands.
"""

from pathlib import Path

from hilum.data.cases import SPLITS, Cases, canonical_label
from hilum.data.listing import case_id_of, cases_from, existing, listing, note_on_others
from hilum.errors import DataError

DESCRIPTION = "one folder per class, optionally below train, val, test, with an optional folder per patient"

_SPLIT_OF = {**{name: name for name in SPLITS}, "valid": "val", "validation": "val"}
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
    return any(_has_images(folder) for top, _ in _tops(path) for folder in listing(top).folders)


def load(data: str | Path) -> Cases:
    """Every image in the class folders.

    DataError when there are no class folders, when one holds no images, or when images lie deeper.

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
    rows: list[dict[str, str | Path]] = []
    others: list[Path] = []
    tops = _tops(path)
    for top, split in tops:
        inside = listing(top)
        others += [*inside.images, *inside.others]
        for folder in inside.folders:
            images, more = _images_of_class(folder)
            others += more
            rows += [_row(image, patient, folder.name, split, path) for image, patient in images]
    others += [] if tops == [(path, "")] else _beside_splits(path)
    return cases_from(rows, "folder", path, [*_notes(rows), *note_on_others(others)])


def _tops(path: Path) -> list[tuple[Path, str]]:
    """The folders that hold class folders, each with its split; without splits, the folder itself."""
    splits = [
        (folder, _SPLIT_OF[folder.name]) for folder in listing(path).folders if folder.name in _SPLIT_OF
    ]
    return splits or [(path, "")]


def _beside_splits(path: Path) -> list[Path]:
    inside = listing(path)
    return [*inside.images, *inside.others, *(f for f in inside.folders if f.name not in _SPLIT_OF)]


def _has_images(folder: Path) -> bool:
    inside = listing(folder)
    return bool(inside.images) or any(listing(below).images for below in inside.folders)


def _images_of_class(folder: Path) -> tuple[list[tuple[Path, str]], list[Path]]:
    """The images of a class with their patient (empty when unknown), and the files that are not images."""
    inside = listing(folder)
    images, others = [(image, "") for image in inside.images], list(inside.others)
    for below in inside.folders:
        deep = listing(below)
        if deep.folders:
            raise DataError(f"{deep.folders[0]} lies too deep", _LAYOUT)
        images += [(image, below.name) for image in deep.images]
        others += deep.others
    if not images:
        raise DataError(f"{folder} holds no images", "put the images there, or remove the folder")
    return images, others


def _row(image: Path, patient: str, label: str, split: str, root: Path) -> dict[str, str | Path]:
    case_id = case_id_of(image.relative_to(root))
    return {
        "case_id": case_id,
        "path": image,
        "label": canonical_label(label),
        "patient": patient or case_id,
        "split": split,
    }


def _notes(rows: list[dict[str, str | Path]]) -> list[str]:
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    if not unknown:
        return []
    some = "" if unknown == len(rows) else f" of {unknown} of {len(rows)} images"
    return [
        f"The patient{some} is unknown: each such image counts as its own patient, so that splits may leak "
        "and intervals may be too narrow if a patient has several images."
    ]
