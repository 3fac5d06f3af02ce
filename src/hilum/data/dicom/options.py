"""What a user says about DICOM: which views are read, whether identifiers are kept, the key of pseudonyms.

Options of a command and the section `data` of a recipe come first, then environment variables: HILUM_DICOM_VIEWS=all
reads lateral and oblique views too, HILUM_DICOM_NAMES=keep keeps patient identifiers, case names and paths as they are,
HILUM_DICOM_KEY is the key itself.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from hilum.errors import DataError


@dataclass(frozen=True)
class DicomOptions:
    """What was said by options. `all_views`: None where nothing was said; `key_file`: the file that holds the key."""

    all_views: bool | None = None
    show_names: bool = False
    key_file: Path | None = None


_NONE = DicomOptions()
_OPTIONS: ContextVar[DicomOptions] = ContextVar("dicom_options", default=_NONE)


@contextmanager
def reading_with(options: DicomOptions) -> Iterator[None]:
    """Files that are read inside are read in this way.

    >>> with reading_with(DicomOptions(all_views=True)):
    ...     views_are_kept()
    True
    """
    token = _OPTIONS.set(options)
    try:
        yield
    finally:
        _OPTIONS.reset(token)


def views_are_kept() -> bool:
    """Whether the user asks for lateral and oblique views too.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HILUM_DICOM_VIEWS="all"):
    ...     views_are_kept()
    True
    """
    all_views = _OPTIONS.get().all_views
    return os.environ.get("HILUM_DICOM_VIEWS", "").lower() == "all" if all_views is None else all_views


def names_are_kept() -> bool:
    """Whether the user asks for the identifiers of the headers.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HILUM_DICOM_NAMES="keep"):
    ...     names_are_kept()
    True
    """
    return _OPTIONS.get().show_names or os.environ.get("HILUM_DICOM_NAMES", "").lower() == "keep"


def given_key() -> bytes | None:
    """The key that the user gives, None without one. DataError when its file can't be read or is empty.

    >>> with reading_with(DicomOptions(key_file=Path("gone"))):
    ...     given_key()
    Traceback (most recent call last):
    hilum.errors.DataError: --dicom-key gone can't be read (No such file or directory); name a text file that ...
    """
    file = _OPTIONS.get().key_file
    if file is None:
        return os.environ.get("HILUM_DICOM_KEY", "").encode() or None
    remedy = "name a text file that holds a secret of your own"
    try:
        key = file.expanduser().read_bytes().strip()
    except OSError as error:
        raise DataError(f"--dicom-key {file} can't be read ({error.strerror})", remedy) from None
    if not key:
        raise DataError(f"--dicom-key {file} is empty", remedy)
    return key
