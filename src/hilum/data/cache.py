"""The image cache: every image decoded and resized once, into one uint8 memory map.

    $HILUM_CACHE/images/<key>/images.npy     uint8 "cases rows cols", rows in the order of the cases
                              index.json     written last

The key is a digest of the images' content digests in order, of size and fit, and of a version number, so a
moved folder finds its cache and a changed image makes a new one. The folder is built beside its name and
renamed: a crash leaves nothing that looks finished, and of two processes that build at once one wins and
the other uses what it finds.
"""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hilum.data import decode
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.errors import DataError, RunError
from hilum.files import cache_folder, digest, read_json, write_json
from hilum.lungs.card import card

Progress = Callable[[int, int], None]
"""Called now and then with (done, total)."""

VERSION = 4
"""To be raised when the same images would give other bytes."""

_BLOCK = 128  # images decoded together: bounds the memory
_TEMPORARY = ".temporary-"
_ABANDONED = 24 * 3600  # seconds after which a build that nobody finished is swept away


class UnreadableFiles(DataError):
    """Some images can't be decoded; `reasons` gives the reason by case_id."""

    def __init__(self, cases: Cases, reasons: Mapping[str, str]) -> None:
        names = cases.table.set_index("case_id")["path"]
        first = "; ".join(f"{names[case]} ({reason})" for case, reason in list(reasons.items())[:3])
        more = f" and {len(reasons) - 3:,} more" if len(reasons) > 3 else ""
        super().__init__(
            f"{len(reasons):,} of {len(cases):,} files can't be read: {first}{more}",
            "remove them, or pass --skip-unreadable",
        )
        self.reasons = dict(reasons)


@dataclass(frozen=True)
class ImageCache:
    """Prepared images. `images`: uint8 "cases rows cols", read-only and mapped from disk; `row_of`: the row
    of each case_id; `folder`: where they lie."""

    images: np.ndarray
    row_of: Mapping[str, int]
    folder: Path

    @classmethod
    def of(cls, cases: Cases, pixels: Pixels, progress: Progress | None = None) -> "ImageCache":
        """The cache of these cases at `pixels.size` and `pixels.fit`; built on the first call, which decodes
        each image once, and only opened on later calls. A damaged cache is built again.

        UnreadableFiles (a DataError) after all images were tried, if some can't be decoded. OSError when the
        disk is full; nothing half built stays behind.
        """
        folder = cache_folder() / "images" / _key(cases, pixels)
        shape = (len(cases), *pixels.size)
        images = _open(folder, shape)
        if images is None:
            _build(cases, pixels, folder, shape, progress)
            images = _open(folder, shape)
        if images is None:
            raise DataError(f"{folder} was removed while it was being opened", "run the command again")
        return cls(images, {case: row for row, case in enumerate(cases.table["case_id"])}, folder)

    def rows(self, case_ids: Iterable[str]) -> np.ndarray:
        """The row of each case, int64 "cases", in the order given. DataError names an unknown case.

        >>> ImageCache(np.zeros((2, 4, 4), np.uint8), {"a": 0, "b": 1}, Path("cache")).rows(["b", "a", "b"]).tolist()
        [1, 0, 1]
        """
        wanted = list(case_ids)
        unknown = [case for case in wanted if case not in self.row_of]
        if unknown:
            raise DataError(
                f"{len(unknown):,} cases are not in the image cache, the first is {unknown[0]!r}",
                "build the cache from the same cases",
            )
        return np.array([self.row_of[case] for case in wanted], np.int64)

    def mean_sd(self, case_ids: Iterable[str]) -> tuple[float, float]:
        """Mean and standard deviation of all pixels of these cases, in units of 0..1; exact, from a
        histogram in whole numbers.

        >>> ImageCache(np.array([[[0, 255]]], np.uint8), {"a": 0}, Path("cache")).mean_sd(["a"])
        (0.5, 0.5)
        """
        rows = np.sort(self.rows(case_ids))
        if not len(rows):
            raise DataError(
                "there is no image to take mean and standard deviation of", "name one case or more"
            )
        counts = np.zeros(256, np.int64)
        for start in range(0, len(rows), _BLOCK):
            block = self.images[rows[start : start + _BLOCK]]
            counts += np.bincount(block.ravel(), minlength=256)
        n, total, squares = (sum(int(c) * value**k for value, c in enumerate(counts)) for k in (0, 1, 2))
        return total / n / 255, sqrt(n * squares - total**2) / n / 255


def _key(cases: Cases, pixels: Pixels) -> str:
    """Neither mean, sd nor standardize: they act after the cache."""
    rows, cols = pixels.size
    parts = [] if pixels.trim else ["with the frame"]
    parts += [f"lungs by {card().weights_digest}"] if pixels.fit == "lungs" else []
    return digest("images", str(VERSION), str(rows), str(cols), pixels.fit, *parts, *cases.table["digest"])


def _open(folder: Path, shape: tuple[int, ...]) -> np.memmap | None:
    """The finished memory map, or None if it is missing or damaged."""
    try:
        if read_json(folder / "index.json")["shape"] != list(shape):
            return None
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        size = (folder / "images.npy").stat().st_size
    except (RunError, OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    whole = images.shape == shape and images.dtype == np.uint8 and size == images.offset + images.nbytes
    return images if whole else None


def _build(
    cases: Cases, pixels: Pixels, folder: Path, shape: tuple[int, ...], progress: Progress | None
) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
    temporary.chmod(0o755)  # mkdtemp makes 0700, which would hide the cache from colleagues
    try:
        with (temporary / "images.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            _write_images(cases, pixels, file, progress)
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave a file of the right size, full of zeros
        write_json(temporary / "index.json", {"version": VERSION, "shape": shape, "fit": pixels.fit})
        _rename(temporary, folder, shape)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_images(cases: Cases, pixels: Pixels, file: BinaryIO, progress: Progress | None) -> None:
    """Block by block, by plain writes: writing into a memory map on a full disk would kill the process."""

    def prepare(path: str) -> np.ndarray | decode.UnreadableImage:
        try:
            return pixels.prepare(decode.read_grey(path))
        except decode.UnreadableImage as error:
            return error

    ids, paths = cases.table["case_id"].tolist(), cases.table["path"].tolist()
    reasons: dict[str, str] = {}
    with ThreadPoolExecutor() as pool, decode.quiet_codecs():  # OpenCV lets other threads run
        for start in range(0, len(ids), _BLOCK):
            stop = min(start + _BLOCK, len(ids))
            for case, image in zip(ids[start:stop], pool.map(prepare, paths[start:stop]), strict=True):
                if isinstance(image, decode.UnreadableImage):
                    reasons[case] = image.reason
                elif not reasons:
                    file.write(image.tobytes())
            if progress:
                progress(stop, len(ids))
    if reasons:
        raise UnreadableFiles(cases, reasons)


def _rename(temporary: Path, folder: Path, shape: tuple[int, ...]) -> None:
    """Gives the finished folder its name, unless another process was first; moves a damaged one away."""
    while True:
        try:
            temporary.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
        if _open(folder, shape) is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            return
        damaged = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder.parent))
        with contextlib.suppress(FileNotFoundError):  # another process moved it away
            folder.rename(damaged / "cache")
        shutil.rmtree(damaged, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Removes what killed processes left behind, once it is a day old."""
    for left in parent.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left, ignore_errors=True)
