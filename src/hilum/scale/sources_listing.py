"""The list of a source's images, cut into parts. It lies in a file while it is in use, so that memory does not grow
with the number of images."""

import pickle
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np

from hilum.errors import DataError
from hilum.files import digest
from hilum.progress import Advance
from hilum.scale.sources import Ref


class PartRefs(NamedTuple):
    """The images of one part of the table of predictions. `digest`: of their names."""

    number: int
    refs: list[Ref]
    digest: str


@dataclass(frozen=True)
class Listing:
    """The images of a source: how many there are, in how many parts, and the digest of all names."""

    images: int
    n_parts: int
    digest: str
    spool: IO[bytes]

    @classmethod
    def of(cls, refs: Iterable[Ref], part_size: int, folder: Path, advance: Advance) -> "Listing":
        """Lists a source once; the list lies in a nameless file in `folder`. DataError where two images have one name,
        which would give two rows of one image.

        >>> import tempfile
        >>> refs = [Ref(f"{name}.png", "file", f"{name}.png") for name in "abc"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     listing = Listing.of(refs, 2, Path(folder), lambda done, total: None)
        ...     with listing.spool:
        ...         [len(part.refs) for part in listing.parts()], listing.images
        ([2, 1], 3)
        """
        spool = TemporaryFile(dir=folder)  # noqa: SIM115 (it lives as long as the listing)
        try:
            return cls._filled(spool, iter(refs), part_size, advance)
        except BaseException:
            spool.close()
            raise

    @classmethod
    def _filled(cls, spool: IO[bytes], refs: Iterator[Ref], part_size: int, advance: Advance) -> "Listing":
        digests, names = [], array("q")
        while part := list(islice(refs, part_size)):
            digests.append(digest(*(ref.file for ref in part)))
            names.extend(hash(ref.file) for ref in part)
            pickle.dump((part, digests[-1]), spool, pickle.HIGHEST_PROTOCOL)
            advance(len(names), len(names))
        spool.flush()
        listing = cls(len(names), len(digests), digest(*digests), spool)
        listing._check_names(np.frombuffer(names, np.int64))
        return listing

    def parts(self) -> Iterator[PartRefs]:
        """Each part with its images, read back one by one. One reader at a time.

        >>> with TemporaryFile() as spool:
        ...     pickle.dump(([Ref("a.png", "file", "a.png")], "abc"), spool)
        ...     [part.digest for part in Listing(1, 1, "def", spool).parts()]
        ['abc']
        """
        self.spool.seek(0)
        for number in range(self.n_parts):
            refs, of_names = pickle.load(self.spool)
            yield PartRefs(number, refs, of_names)

    def _check_names(self, hashes: np.ndarray) -> None:
        ordered = np.sort(hashes)
        doubtful = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        if not doubtful:
            return
        first: dict[str, int] = {}
        for number, ref in enumerate((ref for part in self.parts() for ref in part.refs), 1):
            if hash(ref.file) in doubtful and first.setdefault(ref.file, number) != number:
                raise DataError(
                    f"{ref.file} stands twice in the source, as image {first[ref.file]:,} and {number:,}",
                    "take one of them out: each image gets exactly one row",
                )
