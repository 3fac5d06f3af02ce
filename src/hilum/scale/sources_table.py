"""Rows of Parquet files: a column of images as bytes, or of paths."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from hilum.errors import DataError, HilumError
from hilum.scale.sources_store import opened

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

USUAL = ("image", "bytes", "file", "path")
"""The columns that are looked for where the user names none, in this order."""

ROWS = 16
"""So many rows are read at a time: each may hold a megabyte."""


class Column(NamedTuple):
    """The column of images in a table. `inner`: its name, with ".bytes" for a struct of bytes and path, as the datasets
    of Hugging Face have it."""

    inner: str
    holds_bytes: bool
    rows: int


def arrow() -> None:
    """HilumError where pyarrow is not installed.

    >>> arrow()
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise HilumError("Parquet files need pyarrow", "install it: pip install 'hilum[score]'") from None


@contextmanager
def table(location: str) -> Iterator["ParquetFile"]:
    """A Parquet file, opened. DataError for one that is damaged or cut off.

    >>> with table("gone.parquet"):
    ...     pass
    Traceback (most recent call last):
    hilum.errors.DataError: gone.parquet can't be read ([Errno 2] No such file or directory: 'gone.parquet'); ...
    """
    arrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with (
            opened(location) as file,
            pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as opened_table,
        ):
            yield opened_table
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{location} can't be read ({first})", "copy it again, or take it out") from None


def table_column(location: str, name: str | None) -> Column:
    """The column of images: `name`, or the first of USUAL. DataError where it is not there, or holds neither bytes nor
    text.

    >>> table_column("gone.parquet", None)
    Traceback (most recent call last):
    hilum.errors.DataError: gone.parquet can't be read ([Errno 2] No such file or directory: 'gone.parquet'); ...
    """
    with table(location) as opened_table:
        schema, rows = opened_table.schema_arrow, opened_table.metadata.num_rows
    import pyarrow.types as types

    chosen = name or next((usual for usual in USUAL if usual in schema.names), None)
    if chosen is None or chosen not in schema.names:
        wanted = f"column {name!r}" if name else f"column of images ({', '.join(USUAL)})"
        raise DataError(
            f"{location} has no {wanted}; its columns are: {', '.join(schema.names)}",
            "name one with --column",
        )
    kind, inner = schema.field(chosen).type, chosen
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind, inner = kind.field("bytes").type, f"{chosen}.bytes"
    holds_bytes = types.is_binary(kind) or types.is_large_binary(kind)
    if not holds_bytes and not types.is_string(kind) and not types.is_large_string(kind):
        raise DataError(
            f"column {chosen!r} of {location} holds {kind}, neither bytes nor paths",
            "name another with --column",
        )
    return Column(inner, holds_bytes, rows)


def paths_of(location: str, column: Column) -> Iterator[str]:
    """The cells of a column of paths, "" for an empty one.

    >>> list(paths_of("gone.parquet", Column("file", False, 1)))
    Traceback (most recent call last):
    hilum.errors.DataError: gone.parquet can't be read ([Errno 2] No such file or directory: 'gone.parquet'); ...
    """
    with table(location) as opened_table:
        for batch in opened_table.iter_batches(columns=[column.inner]):
            yield from (cell or "" for cell in batch.column(0).to_pylist())


def cells_of(location: str, name: str | None, rows: Sequence[int]) -> Iterator[bytes | None]:
    """The bytes in the given rows, which rise, of the column of images; None for an empty cell. Only the row groups
    that hold them are read, a few rows at a time.

    >>> list(cells_of("gone.parquet", None, [0]))
    Traceback (most recent call last):
    hilum.errors.DataError: gone.parquet can't be read ([Errno 2] No such file or directory: 'gone.parquet'); ...
    """
    column = table_column(location, name)
    with table(location) as opened_table:
        wanted, first = list(rows), 0
        for group in range(opened_table.num_row_groups):
            end = first + opened_table.metadata.row_group(group).num_rows
            here = [row for row in wanted if first <= row < end]
            if here:
                yield from _of_group(opened_table, group, column.inner, [row - first for row in here])
            first = end


def _of_group(
    opened_table: "ParquetFile", group: int, column: str, rows: Sequence[int]
) -> Iterator[bytes | None]:
    first, waiting = 0, list(rows)
    for batch in opened_table.iter_batches(ROWS, row_groups=[group], columns=[column]):
        cells = batch.column(0)
        cells = cells.field("bytes") if column.endswith(".bytes") else cells
        while waiting and waiting[0] < first + len(cells):
            yield cells[waiting.pop(0) - first].as_py()
        first += len(cells)
        if not waiting:
            return
