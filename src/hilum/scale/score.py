"""Scoring an archive: every image of a source gets exactly one row in a table of predictions, however many there are.

The source is listed once and cut into parts; a part that is finished already is skipped; the others are cut into
chunks, which an engine gives to its workers. This process alone writes: a part when all its rows are here, and the
manifest when all parts are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from hilum.errors import DataError
from hilum.progress import advancing, say
from hilum.scale.parts import MANIFEST, Belongs, Manifest, PartFacts, Parts, SourceFacts, room
from hilum.scale.score_model import Described, described
from hilum.scale.score_table import Columns, Precision
from hilum.scale.score_worker import TICK, Chunk, Settings
from hilum.scale.sources import Source
from hilum.scale.sources_listing import Listing, PartRefs
from hilum.scale.sources_store import is_remote
from hilum.scale.sources_table import arrow
from hilum.threads import cores

PART_SIZE = 5000
"""Rows of a part."""

CHUNK = 8 * TICK
"""Images that a worker does at a time, at most: what is lost when a worker is killed."""

SHARES = 4
"""Each worker has at least so many chunks, so that none waits long for the last."""

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class ScoreConfig:
    """How to score. `model`, `device`: as in `hilum predict`; `workers`: None for one per core; `part_size`: rows of a
    part; `embedding`: the numbers' type, None for no such column; `column`: as in `Source`; `runtime`: what runs the
    networks, as in `hilum predict`."""

    model: Path | None = None
    engine: Engine = "local"
    workers: int | None = None
    part_size: int = PART_SIZE
    device: str = "auto"
    embedding: Precision | None = "float16"
    column: str | None = None
    runtime: str = "torch"


@dataclass(frozen=True)
class Scored:
    """What `score` did: the manifest's path, its content, and how many parts there were already."""

    path: Path
    manifest: Manifest
    skipped: int


def score(source: str, out: Path, config: ScoreConfig = ScoreConfig()) -> Scored:
    """Writes the table of predictions of every image of a source to a folder, or goes on with it.

    `source`: see hilum.scale.sources. An image that can't be read gets a row with its error. DataError for a source
    without images, or with two of one name; RunError for a folder with parts of another model or of other images, for
    a full disk, and when workers end one after the other; ModelError as in `hilum.predict`.

    >>> score("gone", Path("scores"))
    Traceback (most recent call last):
    hilum.errors.DataError: .../gone does not exist; name a folder, a list, an archive or a table
    """
    arrow()
    listed = Source(source, config.column)
    _check_places(listed.location, out)
    model = described(config.model, config.device, config.runtime, config.embedding is not None)
    parts = Parts(out, Belongs(model.facts.digest, config.embedding, config.runtime))
    with room(out):
        out.mkdir(parents=True, exist_ok=True)
        with parts.locked(), _listing(listed, config.part_size, out) as listing:
            parts.check(listing.n_parts)
            work = _Work(parts, Columns(model.classes, config.embedding), parts.journal())
            todo = work.unfinished(listing)
            if todo:
                _run(work, listing, todo, config)
            manifest = _manifest(model, listed, listing, work, config)
            return Scored(parts.close(manifest), manifest, listing.n_parts - len(todo))


def _check_places(location: str, out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file", "name a folder with --out")
    if not is_remote(location) and out.resolve().is_relative_to(Path(location).resolve()):
        raise DataError(f"the folder {out} lies in the source {location}", "name a folder outside with --out")


@contextmanager
def _listing(source: Source, part_size: int, folder: Path) -> Iterator[Listing]:
    with advancing("listing images") as advance:
        listing = Listing.of(source.refs(), part_size, folder, advance)
    with listing.spool:
        if not listing.images:
            skipped = ", ".join(f"{suffix} {n:,}" for suffix, n in source.skipped.most_common())
            others = f" (others: {skipped})" if skipped else ""
            raise DataError(f"{source.location} holds no images{others}", "name another source")
        yield listing


@dataclass
class _Work:
    """The parts of a folder: `known`, what its journal says of them; `finished`, those that need not be done."""

    parts: Parts
    columns: Columns
    known: dict[int, PartFacts]
    finished: dict[int, PartFacts] = field(default_factory=dict)

    def unfinished(self, listing: Listing) -> set[int]:
        """The parts that must be done; says which were cut off."""
        todo: set[int] = set()
        for part in listing.parts():
            state = self.parts.finished(part.number, part.digest, len(part.refs), self.known.get(part.number))
            if isinstance(state, PartFacts):
                self.finished[part.number] = state
                continue
            todo.add(part.number)
            if state:
                say(state)
        return todo

    def write(self, part: PartRefs, chunks: list[bytes]) -> None:
        """Writes a part whose rows are all here."""
        table = self.columns.table(chunks)
        names = table.column("file").to_pylist()
        if names != [ref.file for ref in part.refs]:
            raise RuntimeError(f"part {part.number} does not hold the images of its list")
        errors = len(names) - table.column("error").null_count
        data = self.columns.parquet(table, self.parts.belongs.facts(part.number, part.digest))
        self.finished[part.number] = self.parts.write(part.number, data, len(names), errors)


@dataclass
class _Open:
    """A part in work: how many chunks it has, and those that are here, by place."""

    part: PartRefs
    n_chunks: int
    rows: dict[int, bytes] = field(default_factory=dict)


def _run(work: _Work, listing: Listing, todo: set[int], config: ScoreConfig) -> None:
    """Has the parts done that are not; each is written when its last chunk is here."""
    (work.parts.folder / MANIFEST).unlink(missing_ok=True)
    workers = config.workers or (cores() if config.engine == "local" else None)
    size, opened = _chunk_size(listing.images, workers or 1), {}
    done = sum(part.rows for part in work.finished.values())
    with advancing("scoring") as advance:
        engine = _engine(config, workers, listing.images, done, advance)
        for number, rows in engine.run(_chunks(listing, todo, size, opened)):
            current: _Open
            current, place = opened.pop(number)
            current.rows[place] = rows
            if len(current.rows) == current.n_chunks:
                work.write(current.part, [current.rows[place] for place in range(current.n_chunks)])


def _chunk_size(images: int, workers: int) -> int:
    """A multiple of the batch, so that batches are the same with any number of workers."""
    share = -(-images // (workers * SHARES))
    return min(CHUNK, max(1, -(-share // TICK)) * TICK)


def _chunks(
    listing: Listing, todo: set[int], size: int, opened: dict[int, tuple[_Open, int]]
) -> Iterator[Chunk]:
    """The chunks of unfinished parts; notes in `opened` what each belongs to."""
    number = 0
    for part in listing.parts():
        if part.number not in todo:
            continue
        starts = range(0, len(part.refs), size)
        current = _Open(part, len(starts))
        for place, start in enumerate(starts):
            opened[number] = current, place
            yield Chunk(number, part.refs[start : start + size])
            number += 1


def _engine(config: ScoreConfig, workers: int | None, total: int, done: int, advance):  # type: ignore[no-untyped-def]
    settings = Settings(config.model, config.device, config.embedding, config.column, config.runtime)
    if config.engine == "ray":
        from hilum.scale.score_ray import RayEngine

        return RayEngine(settings, workers, total, done, advance)
    from hilum.scale.score_local import LocalEngine

    return LocalEngine(settings, workers or 1, total, done, advance)


def _manifest(
    model: Described, source: Source, listing: Listing, work: _Work, config: ScoreConfig
) -> Manifest:
    parts = [work.finished[number] for number in range(listing.n_parts)]
    return Manifest(
        hilum=version("hilum"),
        model=model.facts,
        pixels=model.pixels,
        embedding=config.embedding,
        runtime=config.runtime,
        part_size=config.part_size,
        source=SourceFacts(
            location=source.location,
            column=source.column,
            images=listing.images,
            digest=listing.digest,
            skipped=dict(sorted(source.skipped.items())),
        ),
        rows=sum(part.rows for part in parts),
        errors=sum(part.errors for part in parts),
        parts=parts,
    )
