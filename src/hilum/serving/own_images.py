"""Images of a user's own folder, for `hilum recalibrate` and `hilum adapt`, and the new model folder they lead to."""

from pathlib import Path

import numpy as np

from hilum.data.images import Pixels
from hilum.errors import DataError
from hilum.files import digest
from hilum.inference.stream import Wanted, list_images, prepared_images
from hilum.progress import advancing, say


def own_images(folder: Path, pixels: Pixels) -> np.ndarray:
    """The different images of a folder as a model reads them: uint8 "images rows cols", in order of name.

    Images that can't be read, and copies of others, are left out, and standard error says so. DataError for a folder
    that does not exist or holds no readable image.

    >>> own_images(Path("gone"), Pixels(size=(4, 4)))
    Traceback (most recent call last):
    hilum.errors.DataError: image gone does not exist; check the path
    """
    files = list_images(folder)
    kept: dict[str, np.ndarray] = {}
    unreadable = 0
    with advancing("reading images") as advance:
        for number, image in enumerate(prepared_images(files, Wanted([pixels])), 1):
            if image.error is None:
                kept.setdefault(digest(image.images[pixels].tobytes()), image.images[pixels])
            unreadable += image.error is not None
            advance(number, len(files))
    if not kept:
        raise DataError(f"folder {folder} holds no readable image", "name a folder of radiographs")
    _say_left_out(len(files), unreadable, len(files) - unreadable - len(kept))
    return np.stack(list(kept.values()))


def _say_left_out(n: int, unreadable: int, copies: int) -> None:
    if unreadable:
        say(f"{unreadable} of {n} images could not be read and were left out")
    if copies:
        say(f"{copies} of {n} images were left out: copies of others")


def new_folder(out: Path | None, model: Path, ending: str) -> Path:
    """`out`, or else the model's name with an ending, in the present folder. DataError where something lies already.

    >>> new_folder(None, Path("runs/real/binary/model"), "recalibrated").as_posix()
    'binary-recalibrated'
    """
    name = model.parent.name if model.name == "model" else model.name
    folder = out or Path(f"{name}-{ending}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists already", "name another folder with --out, or delete it")
    return folder
