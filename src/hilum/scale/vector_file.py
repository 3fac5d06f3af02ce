"""A file of vectors, read in blocks and row by row: however large it is, little of it is in memory."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.scale.score_table import Precision

BLOCK = 32768
"""Vectors of a block."""


@dataclass(frozen=True)
class VectorFile:
    """Vectors of `dimensions` numbers of the type `precision`, one after the other in a file, and nothing else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = VectorFile(Path(folder, "vectors.bin"), 2, "float16")
    ...     with file.path.open("wb") as opened:
    ...         np.eye(2, dtype=np.float16).tofile(opened)
    ...     len(file), file.block(1, 5).tolist()
    (2, [[0.0, 1.0]])
    """

    path: Path
    dimensions: int
    precision: Precision

    @property
    def row_bytes(self) -> int:
        """Bytes of a vector.

        >>> VectorFile(Path("vectors.bin"), 256, "float16").row_bytes
        512
        """
        return self.dimensions * np.dtype(self.precision).itemsize

    def __len__(self) -> int:
        return self.path.stat().st_size // self.row_bytes

    def block(self, start: int, count: int) -> np.ndarray:
        """Up to `count` vectors "rows dim" from row `start` on.

        >>> VectorFile(Path("gone.bin"), 2, "float16").block(0, 1)
        Traceback (most recent call last):
        FileNotFoundError: [Errno 2] No such file or directory: 'gone.bin'
        """
        numbers = np.fromfile(
            self.path, self.precision, count * self.dimensions, offset=start * self.row_bytes
        )
        return numbers.reshape(-1, self.dimensions)

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers "cases" and vectors "cases dim" of one block after the other.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = VectorFile(Path(folder, "vectors.bin"), 1, "float32")
        ...     _ = file.path.write_bytes(np.array([5, 7], np.float32).tobytes())
        ...     [(rows.tolist(), vectors.tolist()) for rows, vectors in file.blocks()]
        [([0, 1], [[5.0], [7.0]])]
        """
        for start in range(0, len(self), BLOCK):
            vectors = self.block(start, BLOCK)
            yield np.arange(start, start + len(vectors)), vectors

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The vectors "rows dim" of some rows, in the order given.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = VectorFile(Path(folder, "vectors.bin"), 1, "float32")
        ...     _ = file.path.write_bytes(np.array([5, 7], np.float32).tobytes())
        ...     file.rows(np.array([1, 0])).tolist()
        [[7.0], [5.0]]
        """
        size = self.row_bytes
        with self.path.open("rb", buffering=0) as file:
            if hasattr(os, "pread"):
                cells = [os.pread(file.fileno(), size, int(row) * size) for row in numbers]
            else:  # Windows
                cells = [file.read(size) for row in numbers if file.seek(int(row) * size) >= 0]
        return np.frombuffer(b"".join(cells), self.precision).reshape(-1, self.dimensions)
