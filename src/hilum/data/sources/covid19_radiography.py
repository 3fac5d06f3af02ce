"""The COVID-19 Radiography Database as published on Kaggle, and sets of its layout.

    COVID.metadata.xlsx, Normal.metadata.xlsx, ...     names and origin of the images; not read
    COVID/images/*.png  COVID/masks/*.png  Normal/images/*.png ...

A class folder's name is the label. Masks are left out. The set names no patients.
Rahman T et al. Exploring the effect of image enhancement techniques on COVID-19 detection. Comput Biol Med (2021).
"""

from collections.abc import Sequence
from pathlib import Path

from hilum.data.annotated import Annotated, root_of
from hilum.data.cases import Cases
from hilum.data.listing import listing
from hilum.data.tree import Tree, walk
from hilum.errors import DataError

DESCRIPTION = "COVID-19 Radiography Database: <class>/images, <class>/masks and <class>.metadata.xlsx"

_ENDING = ".metadata.xlsx"


def accepts(data: str | Path) -> bool:
    """Whether there are class folders with a folder `images` and a file <class>.metadata.xlsx beside them.

    >>> accepts("no such folder")
    False
    """
    path = Path(data).expanduser()
    return path.is_dir() and _root(path) is not None


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the class folders. DataError when the folders are not there.

    >>> load("no such folder")
    Traceback (most recent call last):
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    path = root_of(data)
    root = _root(path)
    if root is None:
        raise DataError(
            f"{data} has no <class>/images beside <class>{_ENDING}", "point to the unpacked folder"
        )
    tree = walk(path, exclude)
    annotated = Annotated(path, excluded=tree.excluded)
    for folder in _class_folders(root):
        for image in tree.images:
            if image.is_relative_to(folder / "images"):
                annotated.add(image, image.name, folder.name)
    note = (
        "The COVID-19 Radiography Database names no patients: each image counts as its own patient, so that splits may "
        "leak; its classes come from different hospitals."
    )
    return annotated.cases(
        "covid19_radiography",
        data,
        "class / images / image",
        f"unknown, each image its own ({len(annotated.rows)} images)",
        [note, *_note_on_masks(tree)],
    )


def _note_on_masks(tree: Tree) -> list[str]:
    return [f"Masks, left out: {len(tree.masks)} images."] if tree.masks else []


def _root(path: Path) -> Path | None:
    """The folder that holds the class folders: `path` or a folder of it."""
    candidates = [path, *listing(path).folders]
    return next((root for root in candidates if _class_folders(root)), None)


def _class_folders(root: Path) -> list[Path]:
    inside = listing(root)
    named = {file.name[: -len(_ENDING)].lower() for file in inside.others if file.name.endswith(_ENDING)}
    return [folder for folder in inside.folders if (folder / "images").is_dir()] if named else []
