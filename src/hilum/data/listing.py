"""What the sources share: looking into folders, naming cases, hashing files."""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import NamedTuple

import pandas as pd

from hilum.data.cases import Cases, Reading
from hilum.data.dicom.attach import FROM_HEADER, with_headers
from hilum.data.file_kinds import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from hilum.data.file_kinds import is_junk as is_junk
from hilum.data.file_kinds import readable_name as readable_name
from hilum.data.labels import canonical_label
from hilum.errors import DataError
from hilum.files import digest, digest_of_file

LONGEST = 128
"""Bytes of a case_id: with the longest ending and a temporary name it still fits into the 255 of a file name."""


class Listing(NamedTuple):
    """What a folder holds directly, each sorted by name."""

    folders: list[Path]
    images: list[Path]
    others: list[Path]


def listing(folder: Path) -> Listing:
    """The entries of a folder without those of the system (see `is_junk`). A name that is no UTF-8 can't be written
    down, so such a file is not read.

    The audit reports which files with an image suffix can't be decoded.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("a.png", "notes.txt", ".hidden"):
    ...         (Path(folder) / name).touch()
    ...     [path.name for path in listing(Path(folder)).images]
    ['a.png']
    """
    entries = Listing([], [], [])
    for path, is_folder in _entries(folder):
        if is_junk(path.name):
            continue
        if path.name != readable_name(path.name):
            entries.others.append(path)
        elif is_folder:
            entries.folders.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            entries.images.append(path)
        else:
            entries.others.append(path)
    return entries


def _entries(folder: Path) -> list[tuple[Path, bool]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((folder / entry.name, entry.is_dir()) for entry in entries)
    except OSError as error:
        raise DataError(f"{folder} can't be listed ({error.strerror})", "check its permissions") from None


def is_excluded(relative: PurePath | str, patterns: Sequence[str]) -> bool:
    """Whether a path relative to the data fits a pattern of --exclude: as a whole, or one of the folders above it,
    or its name alone. `*` stands for any characters, also for '/'.

    >>> is_excluded("COVID/masks/a.png", ["masks"]), is_excluded("COVID/images/a.png", ["COVID/masks/*"])
    (True, False)
    """
    path = PurePath(relative)
    parts = [path, *list(path.parents)[:-1]]
    names = [*(part.as_posix() for part in parts), *path.parts]
    return any(fnmatchcase(name, pattern.strip("/")) for pattern in patterns for name in names)


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
    """A case_id from a relative path: no ending, folders joined by '-', other characters become '_', and what is
    too long for a file name is cut and marked with a digest.

    >>> case_id_of("train/normal/image 7.png")
    'train-normal-image_7'
    >>> len(case_id_of("1.2.826.0.1/" * 30 + "a.png"))
    128
    """
    parts = [part for part in PurePath(relative).with_suffix("").parts if part not in ("/", "..")]
    return short("-".join(parts))


def safe(text: str) -> str:
    """The text as a file name: letters, digits, '_', '.' and '-' stay, and no dot comes first.

    >>> safe("person 1/a")
    'person_1_a'
    """
    return re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", text)).lstrip(".")


def short(text: str, longest: int = LONGEST) -> str:
    """`safe` text of at most `longest` bytes: the end of a longer one becomes 12 digits of the digest of all of it.

    >>> short("1.2.826/7"), short("x" * 300, 20)
    ('1.2.826_7', 'xxxxxxx-...')
    """
    name = safe(text)
    if len(name.encode()) <= longest:
        return name
    head = name.encode()[: longest - 13].decode(errors="ignore")
    return f"{head}-{digest(readable_name(text))[:12]}"


def fitting(name: str, longest: int = LONGEST) -> str:
    """The name as it is if it is at most `longest` bytes, else `short`: for files that are called after an image.

    >>> fitting("image 7"), len(fitting("x" * 300))
    ('image 7', 128)
    """
    return name if len(name.encode(errors="backslashreplace")) <= longest else short(name, longest)


def note_on_others(others: Sequence[Path]) -> list[str]:
    """A note that counts what a source did not read and names the first three; empty without any.

    >>> note_on_others([Path("data/notes.txt"), Path("data/labels.xls")])
    ['Not read, because they are not images in a class folder: 2 (notes.txt, labels.xls).']
    """
    return noted("Not read, because they are not images in a class folder", others)


def noted(what: str, paths: Sequence[Path]) -> list[str]:
    """A note with a number and the first three different names; empty without any.

    >>> noted("Lateral views, left out", [Path("view2_lateral.jpg")])
    ['Lateral views, left out: 1 (view2_lateral.jpg).']
    """
    if not paths:
        return []
    names = list(dict.fromkeys(path.name for path in paths))
    return [f"{what}: {len(paths)} ({first_names(names)})."]


def first_names(names: Sequence[str], shown: int = 3) -> str:
    """The first names of a list, and dots where there are more.

    >>> first_names(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(readable_name(name) for name in names[:shown]) + (", ..." if len(names) > shown else "")


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


Row = Mapping[str, str | Path]


def cases_from(
    rows: Sequence[Row],
    source: str,
    root: Path,
    notes: Sequence[str] = (),
    layout: str = "",
    patients: str = "",
) -> Cases:
    """Checked Cases from rows of case_id, path, label (as it is written), patient and split; labels are made
    canonical and digests added here. `layout` and `patients` say how the rows were read.

    DataError when there are no rows, or when two files would get the same case_id.

    >>> row = {"case_id": "a", "label": "virus", "patient": "p", "split": ""}
    >>> cases_from([{**row, "path": "one/a.png"}, {**row, "path": "two/a.png"}], "folder", Path("data"))
    Traceback (most recent call last):
        ...
    hilum.errors.DataError: one/a.png and two/a.png would both be the case 'a'; ...
    """
    if not rows:
        raise DataError(f"{root} holds no radiographs", f"images end in {', '.join(IMAGE_SUFFIXES)}")
    rows, of_headers = with_headers(rows, root)
    if not rows:
        raise DataError(f"{root} holds no frontal radiographs", "read lateral views too with --views all")
    patients, notes = _with_header_patients(rows, patients, notes)
    first: dict[str, str | Path] = {}
    for row in rows:
        other = first.setdefault(str(row["case_id"]), row["path"])
        if other != row["path"]:
            raise DataError(
                f"{other} and {row['path']} would both be the case {row['case_id']!r}",
                "rename one of them or take it out",
            )
    table = pd.DataFrame(
        [{name: value for name, value in row.items() if name != FROM_HEADER} for row in rows]
    )
    words = table["label"].astype(str)
    table["label"] = words.map(canonical_label)
    table["digest"] = digests_of(table["path"].tolist())
    written = {str(label): sorted(set(same)) for label, same in words.groupby(table["label"])}
    reading = Reading(layout=layout, patients=patients, written=written)
    return Cases.checked(table, source, root, [*notes, *of_headers]).read_as(reading)


def _with_header_patients(
    rows: list[dict[str, str | Path]], words: str, notes: Sequence[str]
) -> tuple[str, list[str]]:
    """Where patients come from, and the notes, when headers of DICOM files know patients that the source does not."""
    known = sum(FROM_HEADER in row for row in rows)
    if not known:
        return words, [*notes]
    unknown = sum(row["patient"] == row["case_id"] for row in rows)
    words = (
        "" if words.startswith("unknown") else f"{words}; "
    ) + f"the headers of DICOM files ({known} images)"
    if unknown:
        return f"{words}; unknown, each image its own ({unknown} images)", [*notes]
    return words, [note for note in notes if "counts as its own patient" not in note]


def told_apart(names: Sequence[str], paths: Sequence[PurePath]) -> list[str]:
    """case_ids of which two that differ in case alone, or whose paths differ in what `safe` replaces, are marked with
    a digest of the relative path, so that they are two files on every disk. Those of equal paths but for the
    ending stay equal: `cases_from` names them.

    >>> told_apart(["NORMAL-a", "Normal-a", "b"], [PurePath("NORMAL/a"), PurePath("Normal/a"), PurePath("b")])
    ['NORMAL-a-...', 'Normal-a-...', 'b']
    """
    stems = [path.with_suffix("").as_posix() for path in paths]
    used: dict[str, set[str]] = {}
    for name, stem in zip(names, stems, strict=True):
        used.setdefault(name.lower(), set()).add(stem)
    return [
        f"{name}-{digest(stem)[:6]}" if len(used[name.lower()]) > 1 else name
        for name, stem in zip(names, stems, strict=True)
    ]
