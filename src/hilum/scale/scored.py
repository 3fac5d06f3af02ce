"""A finished folder of `hilum score`, read again: its vectors, one part after the other, and rows by number or name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hilum.artifacts.embedding import Distance
from hilum.errors import DataError, RunError
from hilum.files import digest
from hilum.scale.parts import MANIFEST, Belongs, Manifest, PartFacts, Parts
from hilum.scale.score_table import Precision
from hilum.scale.sources_table import arrow
from hilum.scale.vector_file import BLOCK

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

SHOWN = ("file", "prediction", "abstained", "findings")
"""Columns of an answer."""


@dataclass(frozen=True)
class Scores:
    """`manifest`: what `hilum score` wrote last; `precision`: of the embeddings. Rows are counted through all parts."""

    folder: Path
    manifest: Manifest
    precision: Precision

    @classmethod
    def open(cls, folder: Path) -> "Scores":
        """RunError for a folder that is not finished; DataError for one without embeddings.

        >>> Scores.open(Path("gone"))
        Traceback (most recent call last):
        hilum.errors.RunError: gone holds no finished scores (no _manifest.json); run: hilum score SOURCE --out gone
        """
        arrow()
        if not (folder / MANIFEST).exists():
            raise RunError(
                f"{folder} holds no finished scores (no {MANIFEST})",
                f"run: hilum score SOURCE --out {folder}",
            )
        manifest = Parts(folder, Belongs("", None)).manifest()
        if manifest.embedding is None:
            raise DataError(
                f"{folder} was scored without embeddings", "score it again, without --no-embedding"
            )
        return cls(folder, manifest, manifest.embedding)

    @cached_property
    def digest(self) -> str:
        """Of the model, and of the bytes of every part, as the manifest has them.

        >>> from hilum.scale.parts import ModelFacts
        >>> manifest = Manifest.model_construct(parts=[], model=ModelFacts.model_construct(digest="abc"))
        >>> Scores(Path("gone"), manifest, "float16").digest == digest("abc")
        True
        """
        return digest(self.manifest.model.digest, *(part.digest for part in self.manifest.parts))

    @cached_property
    def _firsts(self) -> np.ndarray:
        """The first row of each part, and the number of all rows."""
        return np.cumsum([0, *(part.rows for part in self.manifest.parts)])

    @contextmanager
    def _part(self, part: PartFacts) -> "Iterator[ParquetFile]":
        import pyarrow as pa
        import pyarrow.parquet as pq

        path, remedy = self.folder / part.file, "run the same hilum score command again"
        size = path.stat().st_size if path.exists() else 0
        if size != part.bytes:
            raise RunError(f"{path} has {size:,} bytes instead of {part.bytes:,}", remedy)
        try:
            with pq.ParquetFile(path) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{path} can't be read ({str(error).splitlines()[0]})", remedy) from None

    def vectors(self, distance: Distance) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers, rising, and embeddings "cases dim" of the rows that have one, a block at a time; without those
        of zeros where the distance is 'cosine': they have no direction. RunError for a part that was cut off.

        >>> list(Scores(Path("gone"), Manifest.model_construct(parts=[]), "float16").vectors("cosine"))
        []
        """
        for part, first in zip(self.manifest.parts, self._firsts.tolist(), strict=False):
            with self._part(part) as file:
                for batch in file.iter_batches(BLOCK, columns=["embedding"]):
                    rows, vectors = _vectors(batch.column(0), self.precision)
                    kept = vectors.any(axis=1) if distance == "cosine" else np.ones(len(rows), bool)
                    if kept.any():
                        yield rows[kept] + first, vectors[kept]
                    first += len(batch)

    def rows(
        self, numbers: Sequence[int] | np.ndarray, columns: Sequence[str] = SHOWN
    ) -> list[dict[str, Any]]:
        """The cells of some rows by column, in the order given.

        >>> Scores(Path("gone"), Manifest.model_construct(parts=[]), "float16").rows([])
        []
        """
        wanted = np.asarray(numbers, np.int64)
        places = np.searchsorted(self._firsts, wanted, side="right") - 1
        cells: dict[int, dict[str, Any]] = {}
        for place in np.unique(places).tolist():
            with self._part(self.manifest.parts[place]) as file:
                table = file.read(columns=list(columns))
            inside = wanted[places == place]
            taken = table.take(inside - self._firsts[place]).to_pylist()
            cells |= dict(zip(inside.tolist(), taken, strict=True))
        return [cells[number] for number in wanted.tolist()]

    def row_of(self, file: str) -> int | None:
        """The number of the row of an image, by its cell `file`; None where no row has it.

        >>> Scores(Path("gone"), Manifest.model_construct(parts=[]), "float16").row_of("a.png") is None
        True
        """
        import pyarrow.compute as pc

        for part, first in zip(self.manifest.parts, self._firsts.tolist(), strict=False):
            with self._part(part) as opened:
                place = pc.index(opened.read(columns=["file"]).column(0), file).as_py()
            if place >= 0:
                return first + place
        return None


def _vectors(column: "pa.Array", precision: Precision) -> tuple[np.ndarray, np.ndarray]:
    """Places of the cells that are not empty, and their numbers "cases dim"."""
    places = np.flatnonzero(np.asarray(column.is_valid()))
    numbers = column.flatten().to_numpy(zero_copy_only=False).astype(precision, copy=False)  # type: ignore[union-attr]
    return places, numbers.reshape(len(places), len(numbers) // max(1, len(places)))
