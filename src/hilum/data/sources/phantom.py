"""Phantom: the built-in set of synthetic chest radiographs, or a folder that `write` wrote.

What the images show, and how they are made, is in `hilum.data.phantom`. The word 'phantom' stands for the
built-in set. A written folder holds

    phantom.json   settings              cases.csv   case_id, path, label, patient, split
    images/        <case_id>.png         masks/      <case_id>.npz, bool "rows cols" each, see `PhantomImage`
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import cv2
import numpy as np

from hilum.data.cases import Cases
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.phantom.generate import draw as draw
from hilum.data.phantom.generate import phantom_image
from hilum.data.phantom.settings import BUILT_IN, MASKS, PhantomSettings, plan
from hilum.data.phantom.settings import LABELS as LABELS
from hilum.data.phantom.settings import PhantomImage as PhantomImage
from hilum.data.place import resampled
from hilum.data.sources import table
from hilum.errors import DataError
from hilum.files import cache_folder, digest, read_json, write_json, write_table
from hilum.progress import advancing

DESCRIPTION = (
    "the word 'phantom' for the built-in synthetic chest images with known lesions, or a folder of such"
)

VERSION = 1
"""To be raised when the same settings give other images."""

_NOTE = "These images are synthetic, not taken from people: figures on them say nothing about patients."


def accepts(data: str | Path) -> bool:
    """Whether it is the word 'phantom' or a folder that `write` wrote.

    >>> accepts("phantom"), accepts("no such folder")
    (True, False)
    """
    return str(data) == "phantom" or (Path(data).expanduser() / "phantom.json").is_file()


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    r"""The cases of the built-in set, written into the cache folder on the first call, or of a written folder.

    DataError when the folder is damaged or can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a.png").touch()
    ...     _ = Path(folder, "cases.csv").write_text("path,label\na.png,virus\n")
    ...     load(folder).notes[0]
    'These images are synthetic, not taken from people: figures on them say nothing about patients.'
    """
    if str(data) == "phantom":
        folder = write(cache_folder() / f"phantom-{digest(str(VERSION), repr(BUILT_IN))[:12]}", BUILT_IN)
    else:
        folder = Path(data).expanduser().absolute()
    cases = table.load(folder / "cases.csv", exclude)
    return Cases(cases.table, "phantom", folder, (_NOTE, *cases.notes), cases.reading)


def write(folder: str | Path, settings: PhantomSettings = BUILT_IN) -> Path:
    """Writes the set into a folder, all or nothing, and gives its path. What is there already, complete and
    with the same settings, is kept as it is.

    DataError when the folder holds something else or can't be written.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = write(f"{folder}/set", PhantomSettings(patients=20, size=(64, 64)))
    ...     sorted(path.name for path in written.iterdir())
    ['cases.csv', 'images', 'masks', 'phantom.json']
    """
    folder = Path(folder).expanduser().absolute()
    if _holds(folder, settings):
        return folder
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        temporary.chmod(0o755)  # mkdtemp makes 0700, which would hide the folder from colleagues
        _write_all(temporary, settings)
        write_json(temporary / "phantom.json", _facts(settings))
        if (folder / "phantom.json").is_file():  # of the same settings, but with files missing
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        if not _holds(folder, settings):  # another process may have been faster
            raise DataError(
                f"{folder} can't be written ({error.strerror})", "choose another folder or make room"
            ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def masks(folder: str | Path, case_id: str) -> dict[str, np.ndarray]:
    """The masks of a written image by name (see `PhantomImage`), bool "rows cols".

    DataError when there are none.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "masks").mkdir()
    ...     np.savez(Path(folder, "masks", "a.npz"), **dict.fromkeys(MASKS, np.zeros((2, 3), bool)))
    ...     found = masks(folder, "a")
    >>> found["lung"].shape, sorted(found)
    ((2, 3), ['heart', 'lesion', 'lung', 'marker', 'ribs', 'shortcut'])
    """
    path = Path(folder).expanduser() / "masks" / f"{case_id}.npz"
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {name: file[name] for name in MASKS}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} holds no masks ({error})", "name a case of a phantom folder") from None


def masks_seen(cases: Cases, case_id: str, pixels: Pixels) -> dict[str, np.ndarray]:
    """The masks of a case of a phantom folder as a model sees them: cut and resampled like the image, bool "rows
    cols" of the contract's size. DataError when there are none."""
    path = cases.table.set_index("case_id")["path"][case_id]
    place = pixels.place(read_grey(path))
    return {
        name: resampled(mask.astype(np.uint8) * 255, place, pixels.size) > 127
        for name, mask in masks(cases.root, case_id).items()
    }


def _facts(settings: PhantomSettings) -> dict[str, Any]:
    return {"version": VERSION, "settings": {**asdict(settings), "size": list(settings.size)}}


def _holds(folder: Path, settings: PhantomSettings) -> bool:
    """Whether the folder is a complete phantom of these settings; DataError when it is something else."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "choose another name")
    if not any(folder.iterdir()):
        return False
    if not (folder / "phantom.json").is_file():
        raise DataError(f"{folder} is not empty and is not a phantom", "choose another folder")
    if read_json(folder / "phantom.json") != _facts(settings):
        raise DataError(f"{folder} holds a phantom of other settings", "choose another folder or delete it")
    names = plan(settings)["case_id"]
    files = [folder / "cases.csv"]
    files += [folder / "images" / f"{name}.png" for name in names]
    files += [folder / "masks" / f"{name}.npz" for name in names]
    return all(path.is_file() for path in files)


def _write_all(folder: Path, settings: PhantomSettings) -> None:
    rows = plan(settings)
    (folder / "images").mkdir()
    (folder / "masks").mkdir()

    def write_image(case_id: str, label: str, person: int, image: int) -> None:
        phantom = phantom_image(settings, label, person, image)
        _, data = cv2.imencode(".png", phantom.image)
        (folder / "images" / f"{case_id}.png").write_bytes(data.tobytes())
        np.savez_compressed(
            folder / "masks" / f"{case_id}.npz", **{name: getattr(phantom, name) for name in MASKS}
        )

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool, advancing("generating images") as advance:
        images = pool.map(write_image, rows["case_id"], rows["label"], rows["person"], rows["image"])
        for done, _ in enumerate(images, start=1):
            advance(done, len(rows))
    rows["path"] = [f"images/{name}.png" for name in rows["case_id"]]
    write_table(folder / "cases.csv", rows[["case_id", "path", "label", "patient", "split"]])
