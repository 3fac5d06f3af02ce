"""From places to images: what a worker gives to the predictor."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby

from hilum.errors import DataError, HilumError
from hilum.inference.encoded import Encoded
from hilum.scale.sources import Ref
from hilum.scale.sources_archive import read_zip_member
from hilum.scale.sources_store import read
from hilum.scale.sources_table import cells_of


def images_of(
    refs: Sequence[Ref], column: str | None = None, left_out: Mapping[int, str] | None = None
) -> Iterator[Encoded]:
    """The images of places, in order; files and members of archives are read when they are decoded. `column`: as in
    `Source`; `left_out`: by position, why an image is not read. Nothing is raised for what can't be read: the image
    raises it when its bytes are asked for.

    >>> [image] = images_of([Ref("a.png", "file", "gone/a.png")])
    >>> image.data()
    Traceback (most recent call last):
    hilum.data.decode.UnreadableImage: a.png is no readable image (no such file or directory); replace the file or ...
    """
    reasons = left_out or {}
    numbered = enumerate(refs)
    for (kind, home), group in groupby(numbered, key=lambda item: (item[1].kind, item[1].home)):
        places = list(group)
        if kind == "parquet":
            yield from _of_table(home, column, places, reasons)
        else:
            yield from (_left_out(ref, reasons.get(at)) or _of_file(ref) for at, ref in places)


def _of_file(ref: Ref) -> Encoded:
    if ref.kind == "zip":
        return Encoded(ref.file, partial(read_zip_member, ref.home, ref.at))
    if ref.kind == "tar":
        return Encoded(ref.file, partial(read, ref.home, ref.at, ref.size))
    return Encoded(ref.file, partial(read, ref.home))


def _of_table(
    home: str, column: str | None, places: Sequence[tuple[int, Ref]], reasons: Mapping[int, str]
) -> Iterator[Encoded]:
    """The rows that are wanted are read as they are consumed; where the table can't be read, the rest gets an error."""
    cells = cells_of(home, column, [ref.at for at, ref in places if at not in reasons])
    damaged: str | None = None
    cell: bytes | None = None
    for at, ref in places:
        if (excluded := _left_out(ref, reasons.get(at, damaged))) is not None:
            yield excluded
            continue
        try:
            cell = next(cells, None)
        except HilumError as error:
            damaged = str(error)
        yield _left_out(ref, damaged) or Encoded(ref.file, partial(bytes, cell or b""))


def _left_out(ref: Ref, reason: str | None) -> Encoded | None:
    if reason is None:
        return None

    def refuse() -> bytes:
        raise DataError(reason)

    return Encoded(ref.file, refuse)
