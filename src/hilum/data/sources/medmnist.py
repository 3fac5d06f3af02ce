"""PneumoniaMNIST (MedMNIST v2, Yang et al., Scientific Data 10 (2023), 41) as an .npz of any size.

Arrays: train_images, val_images, test_images, uint8 "cases rows cols" or "cases rows cols 1" (28, 64, 128 or
224 pixels), and train_labels, val_labels, test_labels "cases 1" with 0 = normal and 1 = pneumonia. The set's
own split is kept. The images are unpacked once into the cache folder, so that every case has a file.
"""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hilum.data.cases import HEALTHY, SPLITS, Cases
from hilum.data.listing import cases_from, existing, is_excluded
from hilum.errors import DataError
from hilum.files import cache_folder, digest_of_file

DESCRIPTION = "PneumoniaMNIST, an .npz of 28, 64, 128 or 224 pixels, with its own split"

LABELS = (HEALTHY, "pneumonia")
"""The label of 0 and of 1."""

_NOTE = (
    "PneumoniaMNIST records no patients: every image counts as its own patient, so that intervals over "
    "patients are intervals over images."
)
_FETCH_AGAIN = "download pneumoniamnist.npz again"


def accepts(data: str | Path) -> bool:
    """Whether it is a file that ends in .npz.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "pneumoniamnist.npz").touch()
    ...     accepts(f"{folder}/pneumoniamnist.npz"), accepts(folder)
    (True, False)
    """
    path = Path(data).expanduser()
    return path.suffix.lower() == ".npz" and path.is_file()


def load(data: str | Path, exclude: Sequence[str] = ()) -> Cases:
    """Every image of the three parts, with its split, but those whose case_id `exclude` names.

    DataError when the file is damaged, lacks an array, holds another MedMNIST set, or can't be unpacked.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "chestmnist.npz").touch()
    ...     load(f"{folder}/chestmnist.npz")
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: chestmnist.npz is another set of MedMNIST; only PneumoniaMNIST is read here
    """
    path = existing(data)
    name = path.stem.lower()
    if "mnist" in name and "pneumonia" not in name:
        raise DataError(f"{path.name} is another set of MedMNIST", "only PneumoniaMNIST is read here")
    parts = _read(path)
    folder = _unpacked(path, parts)
    rows: list[dict[str, str | Path]] = [
        {
            "case_id": case_id,
            "path": folder / f"{case_id}.png",
            "label": label,
            "patient": case_id,
            "split": split,
        }
        for split, (_, labels) in parts.items()
        for case_id, label in (
            (f"{split}-{number:05d}", LABELS[value]) for number, value in enumerate(labels)
        )
    ]
    rows = [row for row in rows if not is_excluded(str(row["case_id"]), exclude)]
    return cases_from(
        rows, "medmnist", path, [_NOTE], "arrays of images and labels", "unknown, each image its own"
    )


def _read(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> uint8 images "cases rows cols" and labels "cases" of 0 and 1."""
    try:
        # opened here, because np.load leaves the file open when the archive is damaged
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _wanted() if name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a readable .npz ({error})", _FETCH_AGAIN) from None
    for name in _wanted():
        if name not in arrays:
            raise DataError(f"{path.name} lacks the array {name!r}", _FETCH_AGAIN)
    return {
        split: _checked(arrays[f"{split}_images"], arrays[f"{split}_labels"], f"{path.name}: {split}")
        for split in SPLITS
    }


def _wanted() -> list[str]:
    return [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]


def _checked(images: np.ndarray, labels: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape[1:]:
        raise DataError(
            f"{where}_images is {images.dtype} of shape {images.shape}, not uint8 cases x rows x cols",
            "only PneumoniaMNIST, a set of grey images, is read here",
        )
    if labels.shape not in ((len(images),), (len(images), 1)) or labels.dtype.kind not in "ui":
        raise DataError(
            f"{where}_labels is {labels.dtype} of shape {labels.shape}, not one whole number for each of "
            f"{len(images)} images",
            "only PneumoniaMNIST, a set with one label per image, is read here",
        )
    labels = labels.reshape(-1)
    values = sorted({int(value) for value in np.unique(labels)})
    if not set(values) <= {0, 1}:
        raise DataError(
            f"{where}_labels holds the values {', '.join(map(str, values))}, not 0 and 1 alone",
            "only PneumoniaMNIST, a set with two labels, is read here",
        )
    return images, labels


def _unpacked(path: Path, parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """The folder with one PNG per image; made in a temporary folder that is renamed when complete."""
    folder = cache_folder() / f"medmnist-{digest_of_file(path)}"
    wanted = sum(len(images) for images, _ in parts.values())
    if _is_complete(folder, wanted):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            content = Path(temporary) / "content"
            content.mkdir()
            for split, (images, _) in parts.items():
                for number, image in enumerate(images):
                    _write_png(content / f"{split}-{number:05d}.png", image)
            shutil.rmtree(folder, ignore_errors=True)
            _rename(content, folder, wanted)
    except OSError as error:
        raise DataError(
            f"{folder} can't be written ({error.strerror})",
            "free some space or set HILUM_CACHE to another folder",
        ) from None
    return folder


def _is_complete(folder: Path, wanted: int) -> bool:
    return folder.is_dir() and sum(1 for _ in folder.iterdir()) == wanted


def _write_png(path: Path, image: np.ndarray) -> None:
    import cv2

    _, data = cv2.imencode(".png", image)
    path.write_bytes(data.tobytes())


def _rename(content: Path, folder: Path, wanted: int) -> None:
    """A second process may have unpacked the same file meanwhile; then its folder stays."""
    try:
        content.rename(folder)
    except OSError:
        if not _is_complete(folder, wanted):
            raise
