"""What the sources share: looking into folders, naming cases, hashing files."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePath
from typing import NamedTuple

import pandas as pd

from hilum.data.cases import Cases
from hilum.errors import DataError
from hilum.files import digest_of_file

IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff")
"""Files with other endings are not read; the sources count them in the notes."""


class Listing(NamedTuple):
    """What a folder holds directly, each sorted by name."""

    folders: list[Path]
    images: list[Path]
    others: list[Path]


def listing(folder: Path) -> Listing:
    """The entries of a folder. Hidden files and __MACOSX, which archives made on a Mac carry, are skipped.

    The audit reports which files with an image suffix can't be decoded.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("a.png", "notes.txt", ".hidden"):
    ...         (Path(folder) / name).touch()
    ...     [path.name for path in listing(Path(folder)).images]
    ['a.png']
    """
    entries = Listing([], [], [])
    for path in _entries(folder):
        if path.name.startswith(".") or path.name == "__MACOSX":
            continue
        if path.is_dir():
            entries.folders.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            entries.images.append(path)
        else:
            entries.others.append(path)
    return entries


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} can't be listed ({error.strerror})", "check its permissions") from None


def existing(data: str | Path) -> Path:
    """The absolute path of what the user named; DataError when nothing is there.

    >>> existing("no such folder")
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: no such folder does not exist; name a folder, a .csv or a .npz that exists
    """
    path = Path(data).expanduser().absolute()
    if not path.exists():
        raise DataError(f"{data} does not exist", "name a folder, a .csv or a .npz that exists")
    return path


def case_id_of(relative: PurePath | str) -> str:
    """A case_id from a relative path: no ending, folders joined by '-', other characters become '_'.

    >>> case_id_of("train/normal/image 7.png")
    'train-normal-image_7'
    """
    parts = [part for part in PurePath(relative).with_suffix("").parts if part not in ("/", "..")]
    return safe("-".join(parts))


def safe(text: str) -> str:
    """The text as a file name: letters, digits, '_', '.' and '-' stay, and no dot comes first.

    >>> safe("person 1/a")
    'person_1_a'
    """
    return re.sub(r"[^\w.-]+", "_", text).lstrip(".")


def note_on_others(others: Sequence[Path]) -> list[str]:
    """A note that counts what a source did not read and names the first three; empty without any.

    >>> note_on_others([Path("data/notes.txt"), Path("data/labels.xls")])
    ['Not read, because they are not images in a class folder: 2 (notes.txt, labels.xls).']
    """
    if not others:
        return []
    named = ", ".join(path.name for path in others[:3]) + (", ..." if len(others) > 3 else "")
    return [f"Not read, because they are not images in a class folder: {len(others)} ({named})."]


def digests_of(paths: Sequence[str | Path]) -> list[str]:
    """The digest of each file's bytes, in the same order, read in parallel.

    DataError when a file can't be read. An empty or damaged image is not an error here: the audit names it.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     paths = [Path(folder, name) for name in ("a.png", "b.png", "c.png")]
    ...     for path, content in zip(paths, (b"one", b"one", b"two")):
    ...         _ = path.write_bytes(content)
    ...     a, b, c = digests_of(paths)
    >>> a == b, a == c
    (True, False)
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_digest_of, paths))


def _digest_of(path: str | Path) -> str:
    try:
        return digest_of_file(Path(path))
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror})", "check the file and its permissions, or take it out"
        ) from None


def cases_from(
    rows: Sequence[dict[str, str | Path]], source: str, root: Path, notes: Sequence[str] = ()
) -> Cases:
    """Checked Cases from rows of case_id, path, label, patient and split; the digests are added here.

    DataError when there are no rows, or when two files would get the same case_id.

    >>> row = {"case_id": "a", "label": "virus", "patient": "p", "split": ""}
    >>> cases_from([{**row, "path": "one/a.png"}, {**row, "path": "two/a.png"}], "folder", Path("data"))
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: one/a.png and two/a.png would both be the case 'a'; ...
    """
    if not rows:
        raise DataError(f"{root} holds no radiographs", f"images end in {', '.join(IMAGE_SUFFIXES)}")
    first: dict[str, str | Path] = {}
    for row in rows:
        other = first.setdefault(str(row["case_id"]), row["path"])
        if other != row["path"]:
            raise DataError(
                f"{other} and {row['path']} would both be the case {row['case_id']!r}",
                "rename one of them or take it out",
            )
    table = pd.DataFrame(list(rows))
    table["digest"] = digests_of(table["path"].tolist())
    return Cases.checked(table, source, root, notes)
