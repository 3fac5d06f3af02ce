"""The engine "local": worker processes on this machine, one thread each.

A worker holds the model and does one chunk of images at a time. It writes nothing: its rows come back through a pipe,
so a worker that is killed leaves nothing half done. Its chunk is done again by another, and a new worker takes its
place. A chunk whose workers ended twice is done image by image; an image with which two workers have ended is left
out with an error, so that one image that brings down its decoder does not stop a million others.
"""

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from hilum.errors import HilumError, RunError
from hilum.progress import Advance
from hilum.scale.score_worker import Chunk, Scorer, Settings, alone

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


def _main(pipe: Connection, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the main process, which ends the workers
    serve(pipe, settings)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    chunk: Chunk | None = None
    at: int = 0
    ready: bool = False


@dataclass
class LocalEngine:
    """Worker processes. `total`: images in all; `done`: images that are finished already; `advance`: called as images
    are done; `target`: what a process runs."""

    settings: Settings
    workers: int
    total: int
    done: int
    advance: Advance
    target: Callable[[Connection, Settings], None] = _main
    _running: list[_Worker] = field(default_factory=list)
    _repeated: deque[Chunk] = field(default_factory=deque)
    _ends: Counter[int] = field(default_factory=Counter)
    _blamed: Counter[tuple[int, int]] = field(default_factory=Counter)
    _in_a_row: int = 0

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
            with _without_threads():
                for _ in range(self.workers):
                    self._start()
            while self._give(chunks):
                yield from self._heard()
        finally:
            self._end()

    def _start(self) -> None:
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(target=self.target, args=(theirs, self.settings), daemon=True)
        process.start()
        theirs.close()
        self._running.append(_Worker(process, ours))

    def _give(self, chunks: Iterator[Chunk]) -> bool:
        """Gives each free worker a chunk; false when nothing is left to do."""
        for worker in self._running:
            if worker.chunk is not None or not worker.ready:
                continue
            worker.chunk = self._repeated.popleft() if self._repeated else next(chunks, None)
            if worker.chunk is None:
                break
            worker.at = 0
            with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: the next look at it says so
                worker.pipe.send(worker.chunk)
        starting = not any(worker.ready for worker in self._running)
        return starting or any(worker.chunk is not None for worker in self._running)

    def _heard(self) -> Iterator[tuple[int, bytes]]:
        """Waits for workers and takes what they send."""
        ready = wait([worker.pipe for worker in self._running])
        for worker in [worker for worker in self._running if worker.pipe in ready]:
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if kind == "failed":
                raise value
            worker.ready = True
            if kind == "at":
                worker.at = value
            elif kind == "rows" and (chunk := worker.chunk) is not None:
                worker.chunk, worker.at, self._in_a_row = None, 0, 0
                self.done += len(chunk.refs)
                yield chunk.number, value
        self.advance(self.done + sum(worker.at for worker in self._running), self.total)

    def _replace(self, worker: _Worker) -> None:
        """Another worker for one that has ended; its chunk comes again."""
        self._running.remove(worker)
        worker.pipe.close()
        worker.process.join()
        self._in_a_row += 1
        if worker.chunk is not None:
            self._repeated.append(self._once_more(worker.chunk, worker.at))
        if self._in_a_row >= IN_A_ROW * self.workers:
            raise RunError(
                f"{self._in_a_row} worker processes ended one after the other (the last with exit code"
                f" {worker.process.exitcode}); finished parts are kept",
                "give fewer --workers if memory is short, then the same command goes on",
            )
        with _without_threads():
            self._start()

    def _once_more(self, chunk: Chunk, at: int) -> Chunk:
        self._ends[chunk.number] += 1
        if not chunk.singly:
            return replace(chunk, singly=self._ends[chunk.number] >= SINGLY)
        self._blamed[chunk.number, at] += 1
        if self._blamed[chunk.number, at] < SINGLY:
            return chunk
        reason = (
            f"{chunk.refs[at].file} was left out: {SINGLY} processes that read it ended; replace the file"
        )
        return replace(chunk, left_out={**chunk.left_out, at: reason})

    def _end(self) -> None:
        for worker in self._running:
            worker.pipe.close()
            worker.process.kill()
        for worker in self._running:
            worker.process.join()
        self._running.clear()


@contextmanager
def _without_threads() -> Iterator[None]:
    """Processes that are started in the block compute with one thread from their first import on."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
