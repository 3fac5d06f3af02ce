"""From files and arrays to prepared images: decoded a few at a time, in order, with a reason for each failure."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from hilum.ahead import look_ahead
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.listing import IMAGE_SUFFIXES, is_junk
from hilum.errors import DataError, HilumError

Image = str | Path | np.ndarray
"""A file, or a grey array "rows cols": uint8, uint16, or float in 0..1."""

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
    model sees the central part instead.
    """

    file: str | None
    images: dict[Pixels, np.ndarray]
    picture: np.ndarray | None = None
    error: str | None = None
    lungs: bool = True


def prepared_images(
    images: Iterable[Image],
    contracts: Sequence[Pixels],
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[Prepared]:
    """Every image at the sizes of `contracts`, in the order of `images`, read as they are consumed.

    `keep`: makes the small copy for an attribution picture.

    >>> [image] = prepared_images([np.zeros((8, 8), np.uint8)], [Pixels(size=(4, 4))])
    >>> image.images[Pixels(size=(4, 4))].shape
    (4, 4)
    """
    return look_ahead(partial(prepare, contracts=contracts, keep=keep), images, WORKERS, WINDOW)


def prepare(
    image: Image, contracts: Sequence[Pixels], keep: Callable[[np.ndarray], np.ndarray] | None = None
) -> Prepared:
    """One image at the sizes of `contracts`. An image that can't be read gives its `error`, and raises nothing.

    >>> prepare("missing.png", [Pixels(size=(4, 4))]).error
    'missing.png is no readable image (no such file or directory); replace the file or take it out'
    """
    file = None if isinstance(image, np.ndarray) else str(image)
    try:
        grey = image if isinstance(image, np.ndarray) else read_grey(image)
        places = {pixels: pixels.place(grey) for pixels in contracts}
        small = {pixels: pixels.prepare(grey, place) for pixels, place in places.items()}
        lungs = all(place.lungs is not False for place in places.values())
        return Prepared(file, small, keep(grey) if keep else None, lungs=lungs)
    except HilumError as error:
        return Prepared(file, {}, error=str(error))
    except MemoryError:
        return Prepared(file, {}, error="there is not enough memory to decode this image")


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`size` items at a time, read as they are consumed; the last batch may be smaller.

    >>> list(in_batches("abc", 2))
    [['a', 'b'], ['c']]
    """
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def list_images(images: Image | Iterable[Image]) -> list[Image]:
    """Files and arrays, with each folder replaced by the images in it (and below it), in order of name.

    `images`: one file, folder or array, an array "images rows cols", or several of them. Hidden files are left
    out. DataError for a path that does not exist and for a folder without images.

    >>> len(list_images(np.zeros((3, 8, 8), np.uint8)))
    3
    """
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 3 else [images]
    if isinstance(images, str | Path):
        images = [images]
    return [file for image in images for file in _files(image)]


def _files(image: Image) -> list[Image]:
    if isinstance(image, np.ndarray):
        return [image]
    path = Path(image)
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if _is_image(file.relative_to(path)))
        if not inside:
            raise DataError(f"folder {path} holds no images", "name image files or another folder")
        return list(inside)
    if not path.exists():
        raise DataError(f"image {path} does not exist", "check the path")
    return [path]


def _is_image(path: Path) -> bool:
    return not any(map(is_junk, path.parts)) and path.suffix.lower() in IMAGE_SUFFIXES
