"""The folder that `hilum score` writes: parts, a journal of finished parts, and last of all the manifest.

    scores/
      part-00000.parquet     rows of `part_size` images, in the order of the source
      part-00001.parquet
      _journal.jsonl         one line per finished part, while the work goes on
      _manifest.json         written last: model, pixels, source, every part with its digest and its rows

A part is written beside its name and renamed, by one process alone, so a name that is there is a whole part. What a
part belongs to (model, images, columns) stands in its own footer, so a folder without manifest can be gone on with.
"""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hilum.artifacts.card import PixelContract
from hilum.errors import RunError
from hilum.files import digest_of_file, read_json, replacing, write_json
from hilum.scale.score_table import KEY

TORCH = "torch"
MANIFEST, JOURNAL, LOCK = "_manifest.json", "_journal.jsonl", ".lock"
GO_ON = "the same command goes on with what is there"
_NAME = re.compile(r"part-(\d{5,})\.parquet")


class Strict(BaseModel):
    """No key more, no key less."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelFacts(Strict):
    """`digest`: of everything that decides about a prediction: weights, card, guard and intake check."""

    name: str
    weights_digest: str | None
    digest: str
    classes: list[str]
    coverage: float | None


class SourceFacts(Strict):
    """`digest`: of the names of all images, in order; `skipped`: files that are no images by their names, by suffix."""

    location: str
    column: str | None
    images: int
    digest: str
    skipped: dict[str, int]


class PartFacts(Strict):
    """A finished part. `digest`: of the file's bytes; `errors`: rows of images that could not be read."""

    part: int
    file: str
    rows: int
    errors: int
    bytes: int
    digest: str


class Manifest(Strict):
    """Everything about a finished folder; see the top of this file."""

    schema_version: Literal[1] = 1
    hilum: str
    model: ModelFacts
    pixels: PixelContract
    embedding: Literal["float16", "float32"] | None
    runtime: str = TORCH
    part_size: int
    source: SourceFacts
    rows: int
    errors: int
    parts: list[PartFacts]


@dataclass(frozen=True)
class Belongs:
    """What all parts of a folder have in common; a part of anything else is refused."""

    model: str
    embedding: str | None
    runtime: str = TORCH

    def facts(self, part: int, images: str) -> dict[str, object]:
        """What a part's footer holds. `images`: digest of their names.

        >>> Belongs("abc", None).facts(0, "def")
        {'model': 'abc', 'embedding': None, 'part': 0, 'images': 'def'}
        """
        facts = {"model": self.model, "embedding": self.embedding, "part": part, "images": images}
        return facts if self.runtime == TORCH else {**facts, "runtime": self.runtime}


@dataclass(frozen=True)
class Parts:
    """The folder of a table of predictions."""

    folder: Path
    belongs: Belongs

    def path(self, part: int) -> Path:
        """The file of a part.

        >>> Parts(Path("scores"), Belongs("abc", None)).path(7).as_posix()
        'scores/part-00007.parquet'
        """
        return self.folder / f"part-{part:05d}.parquet"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While this process writes to the folder. RunError where another process does.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = Parts(Path(folder), Belongs("abc", None))
        ...     with parts.locked(), parts.locked():
        ...         pass
        Traceback (most recent call last):
        hilum.errors.RunError: another process is writing to ...; wait for it, or name another folder with --out
        """
        with (self.folder / LOCK).open("w") as file:
            if not _lock(file.fileno()):
                raise RunError(
                    f"another process is writing to {self.folder}",
                    "wait for it, or name another folder with --out",
                )
            for left in self.folder.glob(".part-*.parquet"):  # of a process that was killed while it wrote
                left.unlink()
            yield

    def check(self, n_parts: int) -> None:
        """RunError for a manifest of another model, and for parts beyond the last, which belong to other images.

        >>> Parts(Path("gone"), Belongs("abc", None)).check(3)
        """
        if (self.folder / MANIFEST).exists():
            before = self.manifest()
            if before.model.digest != self.belongs.model:
                raise RunError(
                    f"{self.folder / MANIFEST} is of another model ({before.model.name}, digest"
                    f" {before.model.digest[:12]}; this one has {self.belongs.model[:12]})",
                    "name another folder with --out, or the model that made it with --model",
                )
            self._check_runtime(self.folder / MANIFEST, before.runtime)
        numbers = [int(hit[1]) for path in self.folder.glob("part-*") if (hit := _NAME.fullmatch(path.name))]
        if numbers and max(numbers) >= n_parts:
            raise RunError(
                f"{self.path(max(numbers))} is not among the {n_parts} parts of this source",
                "name another folder with --out, or the source and --part-size that made it",
            )

    def manifest(self) -> Manifest:
        """The manifest. RunError where it is missing or damaged.

        >>> Parts(Path("gone"), Belongs("abc", None)).manifest()
        Traceback (most recent call last):
        hilum.errors.RunError: gone/_manifest.json is missing; the stage that writes it has not run
        """
        path = self.folder / MANIFEST
        try:
            return Manifest.model_validate(read_json(path))
        except ValidationError as error:
            raise RunError(
                f"{path} is no manifest of this version ({error.error_count()} fields differ)",
                "delete it; the parts stay and are checked one by one",
            ) from None

    def journal(self) -> dict[int, PartFacts]:
        """What the manifest and the journal say of each part. A last line that was cut off is left out.

        >>> Parts(Path("gone"), Belongs("abc", None)).journal()
        {}
        """
        known = (
            {part.part: part for part in self.manifest().parts} if (self.folder / MANIFEST).exists() else {}
        )
        path = self.folder / JOURNAL
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                part = PartFacts.model_validate_json(line)
            except ValidationError:
                continue
            known[part.part] = part
        return known

    def finished(self, part: int, images: str, n_images: int, known: PartFacts | None) -> PartFacts | str:
        """The facts of a finished part, or why it must be done: "" where it is not there, else a sentence: it was
        cut off or changed. RunError for a part of another model or of other images: it is not overwritten.

        >>> Parts(Path("gone"), Belongs("abc", None)).finished(0, "def", 5, None)
        ''
        """
        path = self.path(part)
        if not path.exists():
            return ""
        whole = _footer(path)
        if whole is None or (whole[1] != n_images and whole[0].get("images") == images):
            return f"{path} was cut off and is done again"
        facts, rows, errors = whole
        self._check_footer(path, facts, part, images)
        size = path.stat().st_size
        if known and known.bytes == size:
            return known
        if known:
            return f"{path} has {size:,} bytes instead of {known.bytes:,} and is done again"
        return PartFacts(
            part=part, file=path.name, rows=rows, errors=errors, bytes=size, digest=digest_of_file(path)
        )

    def _check_footer(self, path: Path, facts: dict[str, object], part: int, images: str) -> None:
        if facts.get("model") != self.belongs.model:
            raise RunError(
                f"{path} was scored by another model",
                "name another folder with --out, or the model that made it with --model",
            )
        self._check_runtime(path, facts.get("runtime", TORCH))
        if facts.get("embedding") != self.belongs.embedding:
            raise RunError(
                f"{path} has embeddings of type {facts.get('embedding')}, not {self.belongs.embedding}",
                "name another folder with --out, or give the same --embedding",
            )
        if (facts.get("part"), facts.get("images")) != (part, images):
            raise RunError(
                f"{path} holds other images than the source has at its place",
                "the source or --part-size has changed: name another folder with --out",
            )

    def _check_runtime(self, path: Path, runtime: object) -> None:
        if runtime != self.belongs.runtime:
            raise RunError(
                f"{path} was made by the runtime {runtime}, not {self.belongs.runtime}",
                "name another folder with --out, or give the same --runtime",
            )

    def write(self, part: int, data: bytes, rows: int, errors: int) -> PartFacts:
        """Writes the bytes of a part and notes it in the journal. RunError when the disk is full.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Parts(Path(folder), Belongs("abc", None)).write(0, b"PAR1", 5, 0).file
        'part-00000.parquet'
        """
        path = self.path(part)
        with room(path):
            with replacing(path) as temporary:
                temporary.write_bytes(data)
            facts = PartFacts(
                part=part,
                file=path.name,
                rows=rows,
                errors=errors,
                bytes=len(data),
                digest=digest_of_file(path),
            )
            with (self.folder / JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(f"\n{facts.model_dump_json()}\n")
        return facts

    def close(self, manifest: Manifest) -> Path:
        """Writes the manifest, takes the journal away, and gives the manifest's path.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     parts = Parts(Path(folder), Belongs("abc", None))
        ...     parts.close(Manifest.model_construct(rows=0, parts=[])).name
        '_manifest.json'
        """
        path = self.folder / MANIFEST
        with room(path):
            write_json(path, manifest.model_dump(mode="json"))
        (self.folder / JOURNAL).unlink(missing_ok=True)
        return path


@contextmanager
def room(place: Path) -> Iterator[None]:
    """RunError when the disk is full in the block.

    >>> with room(Path("scores/part-00003.parquet")):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    hilum.errors.RunError: scores/part-00003.parquet: no space left on the disk, finished parts are kept; free some ...
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RunError(
            f"{place}: no space left on the disk, finished parts are kept", f"free some space: {GO_ON}"
        ) from None


def _footer(path: Path) -> tuple[dict[str, object], int, int] | None:
    """A part's facts, rows and errors; None for what is no whole Parquet file of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            facts = json.loads((file.schema_arrow.metadata or {})[KEY])
            errors = file.read(columns=["error"]).column(0)
            return facts, file.metadata.num_rows, len(errors) - errors.null_count
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _lock(descriptor: int) -> bool:
    """False where another process holds the lock; it ends with its process. True on systems without such locks."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True
