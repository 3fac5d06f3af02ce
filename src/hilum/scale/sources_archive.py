"""Members of .tar and .zip archives: listed by their headers, read one by one."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from hilum.data.dicom.header import HEAD
from hilum.errors import DataError
from hilum.scale.sources_store import is_remote, opened, read

OPEN = 8
"""So many zip files a process keeps open: each holds its list of entries in memory."""


class Member(NamedTuple):
    """A file in an archive. `at`: its first byte in a tar, its number in a zip; `size`: its bytes; `head`: gives the
    first of them."""

    name: str
    at: int
    size: int
    head: Callable[[], bytes]


@contextmanager
def _damaged(location: str) -> Iterator[None]:
    """What goes wrong while an archive is listed, as one sentence."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError, OSError) as error:
        raise DataError(f"{location} can't be listed ({error})", "copy it again, or take it out") from None


def tar_members(location: str) -> Iterator[Member]:
    """The files of a .tar in their order. Only headers are read. DataError for one that is damaged or cut off.

    >>> list(tar_members("gone.tar"))
    Traceback (most recent call last):
    hilum.errors.DataError: gone.tar can't be listed ([Errno 2] No such file or directory: 'gone.tar'); ...
    """
    with _damaged(location), opened(location) as file:
        end = file.seek(0, 2)
        file.seek(0)
        if not end:
            raise tarfile.ReadError("it is empty")
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined] # else the headers of all members stay in memory
                if not entry.isreg():
                    continue
                if entry.offset_data + entry.size > end:
                    raise tarfile.ReadError(f"it ends within {entry.name}")
                at = entry.offset_data
                yield Member(
                    entry.name, at, entry.size, lambda at=at, n=entry.size: read(location, at, min(n, HEAD))
                )


def zip_members(location: str) -> Iterator[Member]:
    """The files of a .zip in the order of its list. DataError for one that is damaged or cut off.

    >>> list(zip_members("gone.zip"))
    Traceback (most recent call last):
    hilum.errors.DataError: gone.zip can't be listed ([Errno 2] No such file or directory: 'gone.zip'); ...
    """
    with _damaged(location), opened(location) as file, zipfile.ZipFile(file) as archive:
        for number, entry in enumerate(archive.infolist()):
            if not entry.is_dir():
                yield Member(
                    entry.filename, number, entry.file_size, lambda entry=entry: _head(archive, entry)
                )


def _head(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(entry) as file:
            return file.read(HEAD)
    except (RuntimeError, zipfile.BadZipFile):  # encrypted, or damaged: no DICOM that could be read
        return b""


def read_zip_member(location: str, number: int) -> bytes:
    """The bytes of an entry of a .zip. Safe in several threads. OSError for one that is encrypted or damaged.

    >>> read_zip_member("gone.zip", 0)
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'gone.zip'
    """
    try:
        archive = _kept_open(location)
        return archive.read(archive.infolist()[number])
    except (RuntimeError, zipfile.BadZipFile, zlib.error, IndexError, EOFError) as error:
        raise OSError(f"{location}: {error}") from None


@lru_cache(OPEN)
def _kept_open(location: str) -> zipfile.ZipFile:
    """Closed when no thread needs it any more."""
    return zipfile.ZipFile(opened(location) if is_remote(location) else location)
