"""Sources: from radiographs on a disk to Cases. One file in this folder is one source.

A source is a module with

    DESCRIPTION: str                          one line, shown in lists
    accepts(data: str | Path) -> bool         whether this source understands the data; reads no images
    load(data: str | Path, exclude=()) -> Cases   the checked table without what the patterns of `exclude` name;
                                              DataError says what is wrong and where

Its file name is its name. A dotted name loads somebody else's module in the same way. Adding a source is
adding a file: `names` finds it, and so do the contract tests.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from hilum.data.cases import Cases
from hilum.data.corrections import corrected
from hilum.data.dicom.options import reading_with
from hilum.data.reading_options import ReadingOptions
from hilum.errors import DataError, nearest

_FROM_SPECIFIC = (
    "phantom",
    "medmnist",
    "nih_chestxray14",
    "chexpert",
    "rsna_pneumonia",
    "vindr",
    "montgomery_shenzhen",
    "covid19_radiography",
    "dicom",
    "table",
    "kaggle",
)
_MOST_GENERAL = "folder"  # it accepts nearly every folder of folders, so it is tried last


@runtime_checkable
class Source(Protocol):
    """What a module must hold to be a source."""

    DESCRIPTION: str

    def accepts(self, data: str | Path) -> bool:
        """Whether this source understands the data, a path or a word such as
        'phantom'. False when nothing is there."""
        ...

    def load(self, data: str | Path, exclude: Sequence[str] = ()) -> Cases:
        """The checked table. DataError says what is wrong and where."""
        ...


def names() -> tuple[str, ...]:
    """The sources of this folder in the order in which they are tried: from specific to general.

    >>> names()[-1]
    'folder'
    """
    present = {module.name for module in pkgutil.iter_modules(__path__)}
    known = [name for name in _FROM_SPECIFIC if name in present]
    new = sorted(present - {*known, _MOST_GENERAL})
    return (*known, *new, _MOST_GENERAL)


def get(name: str) -> Source:
    """The source of this name, or somebody else's module for a dotted name; DataError when there is none.

    >>> get("kagle")
    Traceback (most recent call last):
    hilum.errors.DataError: source 'kagle' is not known; did you mean 'kaggle'?
    """
    if "." not in name and name not in names():
        raise DataError(f"source {name!r} is not known", nearest(name, names()))
    try:
        module = importlib.import_module(name if "." in name else f"{__name__}.{name}")
    except ImportError as error:
        raise DataError(f"source {name!r} can't be imported ({error})", "install its package") from None
    for wanted in ("DESCRIPTION", "accepts", "load"):
        if not hasattr(module, wanted):
            raise DataError(
                f"source {name!r} has no {wanted}", "see hilum.data.sources for what a source holds"
            )
    return cast(Source, module)


def open_source(data: str | Path, source: str | None = None, options: ReadingOptions | None = None) -> Cases:
    """Reads `data` with the named source, or else with the first source that accepts it, as the options say.

    DataError when nothing is there, when no source understands it, when what is there is not usable, or when the
    options do not fit it.

    >>> from tempfile import TemporaryDirectory
    >>> import cv2, numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("normal", "pneumonia"):
    ...         (Path(folder) / name).mkdir()
    ...         _ = cv2.imwrite(f"{folder}/{name}/a.png", np.zeros((8, 8), np.uint8))
    ...     open_source(folder).labels
    ('normal', 'pneumonia')
    """
    options = options or ReadingOptions()
    with reading_with(options.of_dicom):
        return _opened(data, source or options.source, options)


def _opened(data: str | Path, source: str | None, options: ReadingOptions) -> Cases:
    if source is not None:
        return corrected(_load(source, data, options.exclude), options)
    for name in names():
        if get(name).accepts(data):
            return corrected(_load(name, data, options.exclude), options)
    if not Path(data).expanduser().exists():
        raise DataError(
            f"{data} does not exist", "name a folder of radiographs, a .csv, a .npz, or the word 'phantom'"
        )
    raise DataError(
        f"no source understands {data}",
        f"sort the images into one folder per class, or list them in a CSV with the columns path and label "
        f"(sources are {', '.join(names())})",
    )


def _load(name: str, data: str | Path, exclude: Sequence[str]) -> Cases:
    """What a source reads. DataError where patterns are given to a source that knows none."""
    source = get(name)
    if not exclude:
        return source.load(data)
    if "exclude" not in inspect.signature(source.load).parameters:
        raise DataError(
            f"source {name!r} can't leave files out", "take --exclude away, or name another --source"
        )
    return source.load(data, exclude)
