"""The engine "local": worker processes on this machine, one thread each.

A worker holds the model and does one chunk of images at a time. It writes nothing: its rows come back through a pipe,
so a worker that is killed leaves nothing half done. Its chunk is done again by another, and a new worker takes its
place. A chunk whose workers ended twice is done image by image; an image with which two workers have ended is left
out with an error, so that one image that brings down its decoder does not stop a million others.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing.connection import Connection

from hilum.errors import HilumError, RunError
from hilum.progress import Advance
from hilum.scale.score_worker import Chunk, Scorer, Settings
from hilum.workers import Ended, Worker, Workers, alone

SINGLY = 2
"""Ends of a worker after which a chunk is done image by image; so many ends in a row blame one image."""

IN_A_ROW = 5
"""Ends of workers, for each worker, without a finished chunk between them, after which the work is given up."""


def serve(pipe: Connection, settings: Settings) -> None:
    """What a worker process runs: answers chunks with their rows until it is told to end.

    >>> from multiprocessing import Pipe
    >>> from pathlib import Path
    >>> ours, theirs = Pipe()
    >>> serve(theirs, Settings(Path("gone"), "cpu", None, None))
    >>> kind, error = ours.recv()
    >>> print(kind, error)
    failed gone holds no model (no model.json); name a run's task, e.g. runs/NAME/binary
    """
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the main process is gone
        try:
            alone()
            scorer = Scorer(settings)
            pipe.send(("ready", None))
            while (chunk := pipe.recv()) is not None:
                pipe.send(("rows", scorer.score(chunk, lambda done: pipe.send(("at", done)))))
        except HilumError as error:
            pipe.send(("failed", error))


@dataclass
class LocalEngine:
    """Worker processes. `total`: images in all; `done`: images that are finished already; `advance`: called as images
    are done; `target`: what a process runs."""

    settings: Settings
    workers: int
    total: int
    done: int
    advance: Advance
    target: Callable[[Connection, Settings], None] = serve
    processes: Workers[Chunk] = field(init=False)
    at: Counter[int] = field(default_factory=Counter)
    _repeated: deque[Chunk] = field(default_factory=deque)
    _ends: Counter[int] = field(default_factory=Counter)
    _blamed: Counter[tuple[int, int]] = field(default_factory=Counter)
    _in_a_row: int = 0

    def __post_init__(self) -> None:
        self.processes = Workers(self.target, (self.settings,), daemon=True)

    def run(self, chunks: Iterator[Chunk]) -> Iterator[tuple[int, bytes]]:
        """(number, rows) of each chunk as it is finished, each exactly once, in any order; chunks are asked for as
        workers become free. HilumError as a worker raises it; RunError when workers end one after the other.

        >>> list(LocalEngine(Settings(None, "cpu", None, None), 2, 0, 0, lambda done, total: None).run(iter([])))
        []
        """
        if (first := next(chunks, None)) is None:
            return
        chunks = chain([first], chunks)
        try:
            for _ in range(self.workers):
                self.processes.start()
            while self._give(chunks):
                yield from self._heard()
        finally:
            self.processes.end()

    def _give(self, chunks: Iterator[Chunk]) -> bool:
        """Gives each free worker a chunk; false when nothing is left to do."""
        running = self.processes.running
        for worker in running:
            if worker.work is not None or not worker.ready:
                continue
            worker.work = self._repeated.popleft() if self._repeated else next(chunks, None)
            if worker.work is None:
                break
            worker.send(worker.work)
        starting = not any(worker.ready for worker in running)
        return starting or any(worker.work is not None for worker in running)

    def _heard(self) -> Iterator[tuple[int, bytes]]:
        """Waits for workers and takes what they send."""
        for worker, message in self.processes.heard():
            if isinstance(message, Ended):
                self._replace(worker, message)
                continue
            kind, value = message
            if kind == "failed":
                raise value
            if (chunk := worker.work) is None:
                continue
            if kind == "at":
                self.at[chunk.number] = value
            elif kind == "rows":
                del self.at[chunk.number]
                worker.work, self._in_a_row = None, 0
                self.done += len(chunk.refs)
                yield chunk.number, value
        self.advance(self.done + self.at.total(), self.total)

    def _replace(self, worker: Worker[Chunk], ended: Ended) -> None:
        """Another worker for one that has ended; its chunk comes again."""
        self._in_a_row += 1
        if (chunk := worker.work) is not None:
            self._repeated.append(self._once_more(chunk, self.at.pop(chunk.number, 0)))
        if self._in_a_row >= IN_A_ROW * self.workers:
            raise RunError(
                f"{self._in_a_row} worker processes ended one after the other (the last with {ended}); finished"
                " parts are kept",
                "give fewer --workers if memory is short, then the same command goes on",
            )
        self.processes.start()

    def _once_more(self, chunk: Chunk, at: int) -> Chunk:
        self._ends[chunk.number] += 1
        if not chunk.singly:
            return replace(chunk, singly=self._ends[chunk.number] >= SINGLY)
        self._blamed[chunk.number, at] += 1
        if self._blamed[chunk.number, at] < SINGLY:
            return chunk
        self._in_a_row = 0  # the image was the reason, and it does not come again
        reason = (
            f"{chunk.refs[at].file} was left out: {SINGLY} processes that read it ended; replace the file"
        )
        return replace(chunk, left_out={**chunk.left_out, at: reason})
