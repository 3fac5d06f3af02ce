"""Which files of a folder are DICOM: by their endings, and where they have none by their first bytes; and DICOMDIR."""

import os
from collections.abc import Iterator
from pathlib import Path

from hilum.data.dicom.header import HEAD, SUFFIXES, NotRead, dataset_of, is_dicom, quiet_pydicom, text, value
from hilum.errors import DataError

_NEVER = """
    .bmp .csv .gif .gz .htm .html .inf .ini .jpeg .jpg .json .md .nii .npy .npz .pdf .png .tif .tiff .tsv .txt .webp
    .xls .xlsx .xml .yaml .yml .zip
"""
"""Endings of files that are not looked into."""


def may_be_dicom(path: Path) -> bool:
    """Whether a file has an ending of DICOM, or none that is known and begins as DICOM does. DICOMDIR is no image.

    >>> may_be_dicom(Path("a.dcm")), may_be_dicom(Path("a.png")), may_be_dicom(Path("DICOMDIR"))
    (True, False, False)
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return True
    if (suffix and suffix in _NEVER.split()) or is_dicomdir(path):
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD))
    except OSError:
        return False


def is_dicomdir(path: Path) -> bool:
    """Whether the name is that of the index of a disc.

    >>> is_dicomdir(Path("disc/dicomdir"))
    True
    """
    return path.name.upper() == "DICOMDIR"


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and below it in order of name, without hidden files and __MACOSX.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b", "a.dcm", ".hidden"):
    ...         Path(folder, name).touch()
    ...     [path.name for path in files_below(Path(folder))]
    ['a.dcm', 'b']
    """
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(place, name) for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def files_of_dicomdir(path: Path) -> tuple[list[Path], int]:
    """The images that a DICOMDIR lists and that are there, and how many are not. DataError when it can't be read, and
    what it lists outside its folder is not there.

    >>> files_of_dicomdir(Path("gone/DICOMDIR"))
    Traceback (most recent call last):
    hilum.errors.DataError: gone/DICOMDIR is no readable DICOMDIR ([Errno 2] No such file or directory...
    """
    try:
        with quiet_pydicom():
            dataset = dataset_of(path.read_bytes())
            records = value(dataset, "DirectoryRecordSequence") or []
            names = [text(record, "ReferencedFileID") for record in records if "ReferencedFileID" in record]
    except (NotRead, OSError) as error:
        raise DataError(
            f"{path} is no readable DICOMDIR ({error})", "name the folder of the images instead"
        ) from None
    root = path.parent.resolve()
    present: list[Path] = []
    missing = 0
    for name in dict.fromkeys(names):
        file = _as_stored(path.parent, name.split("\\"))
        if file is None or not file.resolve().is_relative_to(root):
            missing += 1
        else:
            present.append(file)
    return present, missing


def _as_stored(folder: Path, parts: list[str]) -> Path | None:
    """The file, whatever the case in which the disc's copy writes its names; None where it is not there."""
    for part in parts:
        exact = folder / part
        if exact.exists():
            folder = exact
            continue
        same = (
            [entry for entry in folder.iterdir() if entry.name.lower() == part.lower()]
            if folder.is_dir()
            else []
        )
        if not same:
            return None
        folder = same[0]
    return folder if folder.is_file() else None
