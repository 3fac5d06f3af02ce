"""Files on disks and in object stores, by one set of calls: a location is a path, or a URL that fsspec understands
(s3://, gs://, az://, https://, memory:// ...).

Local paths are read without fsspec, which costs several times as much per file.
"""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from hilum.data.dicom.index import files_below
from hilum.errors import DataError

TRIES = 3
"""So often a read from an object store is tried before its image gets an error."""

PAUSE = 0.5
"""Seconds before the second try; each further pause is twice as long."""

GIVE_UP = (FileNotFoundError, PermissionError, IsADirectoryError)
"""What another try does not change."""


def is_remote(location: str) -> bool:
    """Whether a location is a URL.

    >>> is_remote("s3://bucket/images"), is_remote("images")
    (True, False)
    """
    return "://" in location


@cache
def file_system(protocol: str) -> Any:
    """The fsspec file system of a protocol. DataError for one that is not known or whose package is missing.

    >>> file_system("memory").protocol
    'memory'
    >>> file_system("nowhere")
    Traceback (most recent call last):
    hilum.errors.DataError: locations that begin with nowhere:// can't be read (Protocol not known: nowhere); ...
    """
    try:
        import fsspec

        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"locations that begin with {protocol}:// can't be read ({error})",
            "install the package of fsspec that reads them, e.g. s3fs, gcsfs or adlfs",
        ) from None


def _remote(location: str) -> tuple[Any, str]:
    system = file_system(location.partition("://")[0])
    return system, system._strip_protocol(location)


def exists(location: str) -> bool:
    """Whether a file or folder is there.

    >>> exists("gone"), exists("memory://gone")
    (False, False)
    """
    if is_remote(location):
        system, path = _remote(location)
        return bool(system.exists(path))
    return Path(location).exists()


def is_folder(location: str) -> bool:
    """Whether a location is a folder.

    >>> is_folder("."), is_folder("memory://gone")
    (True, False)
    """
    if is_remote(location):
        system, path = _remote(location)
        return bool(system.isdir(path))
    return Path(location).is_dir()


def below(folder: str) -> Iterator[tuple[str, str]]:
    """(path relative to the folder, location) of each file in it and below it, folder by folder in order of name,
    without hidden files and __MACOSX.

    >>> file_system("memory").pipe("/shop/b.png", b"2")
    >>> list(below("memory://shop"))
    [('b.png', 'memory:///shop/b.png')]
    """
    if not is_remote(folder):
        root = Path(folder)
        yield from ((path.relative_to(root).as_posix(), str(path)) for path in files_below(root))
        return
    system, path = _remote(folder)
    for place, names in _walk(system, path):
        for name in names:
            whole = f"{place.rstrip('/')}/{name}"
            yield str(PurePosixPath(whole).relative_to(path)), system.unstrip_protocol(whole)


def _walk(system: Any, folder: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files."""
    for place, folders, files in system.walk(folder):
        kept = sorted(name for name in folders if not _is_hidden(name))
        if isinstance(folders, dict):  # what stays in it is walked next, in this order
            inner = {name: folders[name] for name in kept}
            folders.clear()
            folders.update(inner)
        else:
            folders[:] = kept
        yield place, sorted(name for name in files if name and not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def matching(pattern: str) -> list[str]:
    """The locations that fit a pattern with `*`, `?` or `[...]`, in order of name.

    >>> file_system("memory").pipe("/shelf/7.tar", b"")
    >>> matching("memory://shelf/*.tar")
    ['memory:///shelf/7.tar']
    """
    if is_remote(pattern):
        system, path = _remote(pattern)
        return sorted(system.unstrip_protocol(name) for name in system.glob(path))
    path = Path(pattern)
    return sorted(map(str, Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)))))


def opened(location: str) -> Any:
    """A file, opened for reading bytes, in which one may seek. OSError as the file system raises it.

    >>> file_system("memory").pipe("/shop/b.png", b"2")
    >>> with opened("memory://shop/b.png") as file:
    ...     file.read()
    b'2'
    """
    if is_remote(location):
        system, path = _remote(location)
        return system.open(path, "rb")
    return Path(location).open("rb")


def read(location: str, start: int = 0, size: int | None = None) -> bytes:
    """So many bytes of a file from `start` on; None: to its end. A read from an object store is tried TRIES times.
    OSError as the file system raises it, and where the file ends too early.

    >>> file_system("memory").pipe("/shop/b.png", b"1234")
    >>> read("memory://shop/b.png", 1, 2)
    b'23'
    """
    for attempt in range(1, TRIES + 1):
        try:
            data = _read(location, start, size)
            break
        except GIVE_UP:
            raise
        except OSError:
            if attempt == TRIES or not is_remote(location):
                raise
            time.sleep(PAUSE * 2 ** (attempt - 1))
    if size is not None and len(data) < size:
        raise OSError(f"{location} ends within it")
    return data


def _read(location: str, start: int, size: int | None) -> bytes:
    if is_remote(location):
        system, path = _remote(location)
        return system.cat_file(path, start=start or None, end=None if size is None else start + size)
    with Path(location).open("rb") as file:
        file.seek(start)
        return file.read() if size is None else file.read(size)


def joined(folder: str, entry: str) -> str:
    """An entry of a list in a folder as a location: absolute paths and URLs stay, all else begins at the folder.

    >>> joined("s3://bucket/lists", "a.png"), joined("lists", "s3://bucket/a.png"), joined("lists", "/data/a.png")
    ('s3://bucket/lists/a.png', 's3://bucket/a.png', '/data/a.png')
    """
    if is_remote(entry) or Path(entry).is_absolute():
        return entry
    return f"{folder.rstrip('/')}/{entry}" if folder else entry


def folder_of(location: str) -> str:
    """The folder that holds a file.

    >>> folder_of("s3://bucket/lists/all.csv"), folder_of("all.csv")
    ('s3://bucket/lists', '')
    """
    return location.rpartition("/")[0]


def absolute(location: str) -> str:
    """The location as any process can use it.

    >>> absolute("s3://bucket/images"), absolute("/data/../images")
    ('s3://bucket/images', '/images')
    """
    return location if is_remote(location) else os.path.abspath(Path(location).expanduser())  # noqa: PTH100
