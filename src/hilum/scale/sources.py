"""What is scored: the images of a folder, a list, an archive or a table, one after the other in an order that stays.

| SOURCE | its images |
|---|---|
| a folder | image files in it and below it, members of the .tar and .zip in it, rows of the .parquet in it |
| .txt, .csv | the files that it lists: one a line, or the column `file` |
| .tar (WebDataset shards as well), .zip | its members that are images by their names |
| .parquet | its rows: a column of bytes, or of paths |
| a pattern, `shards/*.tar` | those of each file that fits |
| an image | itself |

Everything may lie on a disk or in an object store (hilum.scale.sources_store). Nothing is read here but listings and
headers, so listing a million images takes seconds.
"""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hilum.data.dicom.header import HEAD, is_dicom
from hilum.data.dicom.index import is_dicomdir
from hilum.data.file_kinds import IMAGE_SUFFIXES, is_junk, readable_name
from hilum.errors import DataError
from hilum.scale.sources_archive import Member, tar_members, zip_members
from hilum.scale.sources_store import absolute, below, exists, folder_of, is_folder, joined, matching, opened

LISTS, TARS, ZIPS, TABLES = (".txt", ".csv"), (".tar",), (".zip",), (".parquet", ".pq")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
COLUMN = "file"
"""The column of a .csv that names the files."""


class Ref(NamedTuple):
    """Where an image lies. `file`: its name in the table of predictions, which no other image has; `kind`: "file",
    "tar", "zip" or "parquet"; `home`: the location of the file that holds it; `at`: first byte in a tar, number of the
    entry in a zip, number of the row in a table; `size`: bytes in a tar."""

    file: str
    kind: str
    home: str
    at: int = 0
    size: int = 0


@dataclass
class Source:
    """What the user named. `column`: of a .csv or .parquet, None for the usual ones; `skipped`: files that are no
    images by their names, counted by suffix while the source is listed."""

    location: str
    column: str | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """DataError for a location that does not exist, or that is nothing that holds images."""
        self.location = absolute(self.location)
        if not self._is_pattern() and not exists(self.location):
            raise DataError(f"{self.location} does not exist", "name a folder, a list, an archive or a table")

    def refs(self) -> Iterator[Ref]:
        """Every image, in the order of the source; the same each time, unless the source has changed. DataError for
        what can't be listed.

        >>> from tempfile import TemporaryDirectory
        >>> from pathlib import Path
        >>> with TemporaryDirectory() as folder:
        ...     Path(folder, "a.png").touch(), Path(folder, "notes.txt").touch()
        ...     source = Source(folder)
        ...     [ref.file for ref in source.refs()], dict(source.skipped)
        (None, None)
        (['a.png'], {'.txt': 1})
        """
        self.skipped.clear()
        if self._is_pattern():
            yield from self._of_pattern()
        elif is_folder(self.location):
            yield from self._of_folder()
        else:
            name = self.location.rpartition("/")[2]
            yield from self._inside(name, self.location, prefix="", alone=True)

    def _is_pattern(self) -> bool:
        return any(mark in self.location for mark in "*?[") and not exists(self.location)

    def _of_pattern(self) -> Iterator[Ref]:
        locations = matching(self.location)
        if not locations:
            raise DataError(f"nothing fits {self.location}", "check the pattern")
        root = self.location.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0]
        for location in locations:
            name = location[len(root) + 1 :] if location.startswith(f"{root}/") else location
            yield from self._inside(name, location, prefix=f"{name}/")

    def _of_folder(self) -> Iterator[Ref]:
        for name, location in below(self.location):
            if not is_junk(PurePosixPath(name).name):
                yield from self._inside(name, location, prefix=f"{name}/")

    def _inside(self, name: str, location: str, prefix: str, alone: bool = False) -> Iterator[Ref]:
        """The images of one file. `prefix`: what stands before the name of a member; `alone`: the user named this
        file itself."""
        suffix = PurePosixPath(name).suffix.lower()
        if name.lower().endswith(COMPRESSED):
            raise DataError(
                f"{location} is compressed as a whole, so that no image in it can be read by itself",
                "unpack it to a .tar",
            )
        if suffix in TARS:
            yield from self._members(tar_members(location), "tar", location, prefix)
        elif suffix in ZIPS:
            yield from self._members(zip_members(location), "zip", location, prefix)
        elif suffix in TABLES:
            yield from self._rows(name, location)
        elif alone and suffix in LISTS:
            yield from self._listed(location, suffix)
        elif is_image(name, lambda: _head(location)):
            yield Ref(readable_name(name), "file", location)
        elif alone:
            raise DataError(
                f"{location} holds no images: it is no folder, .txt, .csv, .tar, .zip, .parquet or image",
                "name another source",
            )
        else:
            self.skipped[suffix or "no suffix"] += 1

    def _members(self, members: Iterable[Member], kind: str, home: str, prefix: str) -> Iterator[Ref]:
        for member in members:
            path = PurePosixPath(member.name)
            if any(map(is_junk, path.parts)):
                continue
            if is_image(member.name, member.head):
                yield Ref(readable_name(f"{prefix}{member.name}"), kind, home, member.at, member.size)
            else:
                self.skipped[path.suffix.lower() or "no suffix"] += 1

    def _rows(self, name: str, location: str) -> Iterator[Ref]:
        from hilum.scale.sources_table import paths_of, table_column

        column = table_column(location, self.column)
        if column.holds_bytes:
            yield from (Ref(f"{name}#{row}", "parquet", location, row) for row in range(column.rows))
        else:
            yield from self._entries(paths_of(location, column), location)

    def _listed(self, location: str, suffix: str) -> Iterator[Ref]:
        with opened(location) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
            try:
                entries = lines if suffix == ".txt" else self._cells(lines, location)
                yield from self._entries(entries, location)
            except (UnicodeDecodeError, csv.Error) as error:
                raise DataError(f"{location} can't be read ({error})", "write it as UTF-8") from None

    def _cells(self, lines: Iterable[str], location: str) -> Iterator[str]:
        column = self.column or COLUMN
        table = csv.DictReader(lines)
        if column not in (table.fieldnames or []):
            columns = ", ".join(table.fieldnames or []) or "none"
            raise DataError(
                f"{location} has no column {column!r}; its columns are: {columns}", "name one with --column"
            )
        yield from (row[column] or "" for row in table)

    def _entries(self, entries: Iterable[str], location: str) -> Iterator[Ref]:
        folder = folder_of(location)
        for entry in entries:
            if name := entry.strip():
                yield Ref(readable_name(name), "file", joined(folder, name))


def is_image(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file is an image by its ending, or by its first bytes where it has none, or a number as the parts of a
    DICOM UID are.

    >>> is_image("a.JPG", bytes), is_image("a.json", bytes), is_image("1.2.840", lambda: bytes(128) + b"DICM")
    (True, False, True)
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES or is_dicomdir(Path(path)):
        return suffix in IMAGE_SUFFIXES
    return (not suffix or suffix[1:].isdigit()) and is_dicom(head()[:HEAD])


def _head(location: str) -> bytes:
    with opened(location) as file:
        return file.read(HEAD)
