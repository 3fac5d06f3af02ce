"""From files and arrays to prepared images: decoded a few at a time, in order, with a reason for each failure."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from hilum.ahead import look_ahead
from hilum.data.decode import check_frontal, decode, read_bytes
from hilum.data.dicom.index import may_be_dicom
from hilum.data.file_kinds import IMAGE_SUFFIXES, is_junk
from hilum.data.images import Pixels, opened
from hilum.errors import DataError, HilumError
from hilum.inference.encoded import Encoded
from hilum.inference.refusal import check_picture, is_coloured
from hilum.lungs.field import Segment

Image = str | Path | np.ndarray | Encoded
"""A file, a grey array "rows cols" (uint8, uint16, or float in 0..1), or the bytes of a file that lie elsewhere."""

WORKERS = min(4, max(2, os.cpu_count() or 1))
"""So many images are decoded at a time; each is let go once it has been reduced to the model's size."""

WINDOW = 16
"""So many images are asked for before they are needed; arrays of a generator are alive for that long."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Prepared:
    """One image at the sizes that the models read, or why it could not be read.

    `images`: uint8 "rows cols" for each pixel contract; `picture`: a small copy for an attribution picture,
    None where none is wanted. `lungs`: False where a contract asks for the lungs and none were found, so that the
    model sees the central part instead. `colour`: True for a file in colour, where that was asked.
    """

    file: str | None
    images: dict[Pixels, np.ndarray]
    picture: np.ndarray | None = None
    error: str | None = None
    lungs: bool = True
    colour: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is wanted of each image: its sizes by pixel contract, and more. `keep`: makes the small copy for an
    attribution picture; `least`: rows and columns that an image must have, None to take any image as it is, a blank
    one too; `colour`: look whether a file is in colour; `segment`: the engine that marks the lungs, None: torch."""

    contracts: Sequence[Pixels]
    keep: Callable[[np.ndarray], np.ndarray] | None = None
    least: int | None = None
    colour: bool = False
    segment: Segment | None = None


def prepared_images(images: Iterable[Image], wanted: Wanted) -> Iterator[Prepared]:
    """Every image as wanted, in the order of `images`, read as they are consumed.

    >>> [image] = prepared_images([np.zeros((8, 8), np.uint8)], Wanted([Pixels(size=(4, 4))]))
    >>> image.images[Pixels(size=(4, 4))].shape
    (4, 4)
    """
    return look_ahead(partial(prepare, wanted=wanted), images, WORKERS, WINDOW)


def prepare(image: Image, wanted: Wanted) -> Prepared:
    """One image as wanted. An image that can't be read, or holds no picture, gives its `error`, and raises nothing.

    >>> prepare("missing.png", Wanted([Pixels(size=(4, 4))])).error
    'missing.png is no readable image (no such file or directory); replace the file or take it out'
    >>> prepare(np.zeros((8, 8), np.uint8), Wanted([Pixels(size=(4, 4))], least=28)).error
    'the image has 8 x 8 pixels, too few to be judged; give one of at least 28 x 28'
    """
    file = _name(image)
    try:
        stored, coloured = _grey(image)
        radiograph = opened(stored)  # once: 16 bits are stretched by their histogram
        if wanted.least is not None:
            check_picture(radiograph, wanted.least)
        places = {pixels: pixels.place(radiograph, wanted.segment) for pixels in wanted.contracts}
        small = {pixels: pixels.prepare(radiograph, place) for pixels, place in places.items()}
        lungs = all(place.lungs is not False for place in places.values())
        picture = wanted.keep(stored) if wanted.keep else None
        colour = wanted.colour and coloured()
        return Prepared(file, small, picture, lungs=lungs, colour=colour)
    except HilumError as error:
        return Prepared(file, {}, error=str(error))
    except MemoryError:
        return Prepared(file, {}, error="there is not enough memory to decode this image")
    except (
        Exception
    ) as error:  # of a decoder that meets what nobody has met: one file must not stop the others
        return Prepared(file, {}, error=f"the image can't be read ({type(error).__name__}: {error})")


def _name(image: Image) -> str | None:
    if isinstance(image, np.ndarray):
        return None
    return image.name if isinstance(image, Encoded) else str(image)


def _grey(image: Image) -> tuple[np.ndarray, Callable[[], bool]]:
    """The grey image, and what tells whether it is in colour."""
    if isinstance(image, np.ndarray):
        return image, lambda: False
    if isinstance(image, Encoded):
        data = image.data()
        return decode(data, image.name), lambda: is_coloured(data, image.name)
    check_frontal(image)
    data = read_bytes(image)
    return decode(data, image), lambda: is_coloured(data, image)


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`size` items at a time, read as they are consumed; the last batch may be smaller.

    >>> list(in_batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


@dataclass(frozen=True)
class Listed:
    """Images to predict, in order, and the files of folders that are no images by their names."""

    images: list[Image]
    skipped: list[Path]

    def skipped_text(self) -> str:
        """How many files were left out, by suffix, and the first three names; "" for none.

        >>> Listed([], [Path("a/notes.txt"), Path("a/labels.xls"), Path("a/b.txt"), Path("a/README")]).skipped_text()
        '4 files are no images and were left out (.txt 2, .xls 1, no suffix 1): notes.txt, labels.xls, b.txt, ...'
        """
        if not self.skipped:
            return ""
        kinds = Counter(path.suffix.lower() or "no suffix" for path in self.skipped)
        counts = ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())
        names = ", ".join(path.name for path in self.skipped[:3]) + (", ..." if len(self.skipped) > 3 else "")
        files = (
            "1 file is no image and was"
            if len(self.skipped) == 1
            else f"{len(self.skipped):,} files are no images and were"
        )
        return f"{files} left out ({counts}): {names}"


def list_images(images: Image | Iterable[Image]) -> list[Image]:
    """The images of `listed`.

    >>> len(list_images(np.zeros((3, 8, 8), np.uint8)))
    3
    """
    return listed(images).images


def listed(images: Image | Iterable[Image]) -> Listed:
    """Files and arrays, with each folder replaced by the images in it (and below it), in order of name.

    `images`: one file, folder or array, an array "images rows cols", or several of them. Hidden files and __MACOSX
    are left out silently, other files that are no images by their suffix are `skipped`. DataError for a path that does
    not exist and for a folder without images.

    >>> listed("gone.png")
    Traceback (most recent call last):
    hilum.errors.DataError: image gone.png does not exist; check the path
    """
    if isinstance(images, np.ndarray):
        return Listed(list(images) if images.ndim == 3 else [images], [])
    if isinstance(images, str | Path | Encoded):
        images = [images]
    whole = Listed([], [])
    for image in images:
        part = Listed([image], []) if isinstance(image, np.ndarray | Encoded) else _at(Path(image))
        whole.images.extend(part.images)
        whole.skipped.extend(part.skipped)
    return whole


def _at(path: Path) -> Listed:
    try:
        if not path.is_dir():
            path.stat()
            return Listed([path], [])
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist", "check the path") from None
    except (OSError, ValueError) as error:  # a name too long, a null byte, a folder that may not be entered
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"image {path} can't be reached ({reason})", "check the path") from None
    inside = sorted(
        file
        for file in path.rglob("*")
        if not file.is_dir() and not any(map(is_junk, file.relative_to(path).parts))
    )
    part = Listed(
        [file for file in inside if _is_image(file)], [file for file in inside if not _is_image(file)]
    )
    if not part.images:
        others = f" ({part.skipped_text()})" if part.skipped else ""
        raise DataError(f"folder {path} holds no images{others}", "name image files or another folder")
    return part


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES or may_be_dicom(file)
