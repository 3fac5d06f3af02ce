"""Radiographs as the PNG files that a network sees: 8-bit grey levels, windowed and stretched, nothing else changed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from hilum.data.cases import Cases
from hilum.data.decode import UnreadableImage, check_frontal, quiet_codecs, read_grey
from hilum.data.dicom.attach import pseudonymous_id
from hilum.data.dicom.index import files_below, is_dicomdir, may_be_dicom
from hilum.data.dicom.options import names_are_kept, reading_with
from hilum.data.dicom.people import headers_of, original
from hilum.data.images import Pixels, to_uint8
from hilum.data.listing import IMAGE_SUFFIXES, case_id_of, existing, safe
from hilum.data.reading_options import ReadingOptions
from hilum.errors import DataError
from hilum.files import replacing


def export_png(
    data: Path,
    out: Path,
    pixels: Pixels | None = None,
    progress: Callable[[int, int], None] | None = None,
    options: ReadingOptions | None = None,
) -> tuple[list[Path], list[str]]:
    """Writes each radiograph of a source, a folder or a file to `out`; gives the PNG files and a sentence for each
    file that could not be read.

    Of a source with labels the files are out/<split>/<label>/<case_id>.png, else out/<name>.png. DICOM files have
    pseudonyms for names. `pixels`: at the size and with the cut of a model's contract; None: in their own size.
    `options`: how the data is read. DataError when there is nothing to read, or when `out` holds files already.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = cv2.imwrite(f"{folder}/deep.png", np.array([[0, 4095]], np.uint16))
    ...     files, _ = export_png(Path(folder, "deep.png"), Path(folder, "seen"))
    ...     read_grey(files[0]).tolist()
    [[0, 255]]
    """
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} holds files already", "name a new folder with --out")
    options = options or ReadingOptions()
    written: list[Path] = []
    unreadable: list[str] = []
    with quiet_codecs(), reading_with(options.of_dicom):
        pairs = _pairs(existing(data), options)
        for number, (path, name) in enumerate(pairs, start=1):
            try:
                check_frontal(path)
                image = read_grey(path)
            except UnreadableImage as error:
                unreadable.append(str(UnreadableImage(original(path), error.reason)))
                continue
            _write(out / f"{name}.png", pixels.prepare(image) if pixels else to_uint8(image))
            written.append(out / f"{name}.png")
            if progress is not None:
                progress(number, len(pairs))
    return written, unreadable


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _pairs(data: Path, options: ReadingOptions) -> list[tuple[Path, str]]:
    """Each file with the name it gets, folders included."""
    cases = _cases(data, options)
    if cases is not None:
        return [
            (
                Path(str(row.path)),
                "/".join(safe(str(part)) for part in (row.split, row.label, row.case_id) if part),
            )
            for row in cases.table.itertuples()
        ]
    folder = data if data.is_dir() else data.parent
    files = [path for path in files_below(data) if _is_image(path)] if data.is_dir() else [data]
    if not files:
        raise DataError(f"{data} holds no radiographs", "name a folder of images, or a file")
    return list(zip(files, _names(files, folder), strict=True))


def _cases(data: Path, options: ReadingOptions) -> Cases | None:
    """The cases, where a source with labels understands the data."""
    from hilum.data.sources import open_source

    if data.is_file() and data.suffix.lower() != ".csv" and not is_dicomdir(data):
        return None
    try:
        return open_source(data, options=options)
    except DataError:
        return None


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES or may_be_dicom(path)


def _names(files: Sequence[Path], folder: Path) -> list[str]:
    """Names of files without labels: pseudonyms for DICOM; a number tells equal names apart."""
    dicom = [path for path in files if may_be_dicom(path) and not names_are_kept()]
    headers = dict(zip(dicom, headers_of(dicom), strict=True)) if dicom else {}
    taken: dict[str, int] = {}
    names = []
    for path in files:
        plain = case_id_of(path.relative_to(folder)) if path not in headers else ""
        name = plain or pseudonymous_id(headers[path], path)
        taken[name] = taken.get(name, 0) + 1
        names.append(name if taken[name] == 1 else f"{name}-{taken[name]}")
    return names
