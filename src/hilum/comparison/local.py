"""The trainings of a comparison in worker processes of this machine, one thread each.

A worker trains one network after the other and writes into the folder of the training, as this process would. A worker
that ends in the middle costs its training alone: the next training gets a new one. Where there are several CUDA
devices, each worker has one of them.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import torch

from hilum.comparison.train import Job, Look, Training, attempt
from hilum.progress import console
from hilum.workers import Ended, Worker, Workers, alone

SECONDS = 1.0
"""So often the progress is looked at."""


def serve(pipe: Connection) -> None:
    """What a worker process runs: trains what it is sent, and answers why it failed, None where it did not.

    >>> from multiprocessing import Pipe
    >>> ours, theirs = Pipe()
    >>> ours.send(None)
    >>> serve(theirs)
    >>> ours.recv()
    'ready'
    """
    alone()
    with suppress(BrokenPipeError, ConnectionResetError, EOFError):  # the main process is gone
        pipe.send("ready")
        while (training := pipe.recv()) is not None:
            pipe.send(attempt(training))


def _main(pipe: Connection) -> None:
    console.quiet = True  # the main process shows the progress of all
    serve(pipe)


@dataclass
class LocalEngine:
    """Worker processes, `workers` of them at most. `target`: what a process runs."""

    workers: int
    target: Callable[[Connection], None] = _main
    processes: Workers[Job] = field(init=False)

    def __post_init__(self) -> None:
        self.processes = Workers(self.target)

    def run(self, jobs: Iterable[Job], look: Look) -> Iterator[tuple[int, str | None]]:
        """(number, why it failed or None) of each job as it ends; jobs are asked for as workers become free. `look` is
        called about every second with the trainings that run.

        >>> list(LocalEngine(2).run([], lambda trainings: None))
        []
        """
        jobs = iter(jobs)
        try:
            while self._give(jobs):
                yield from self._heard()
                look(self._trainings())
        finally:
            self.processes.end()

    def _trainings(self) -> list[Training]:
        return [worker.work[1] for worker in self.processes.running if worker.work is not None]

    def _give(self, jobs: Iterator[Job]) -> bool:
        """Gives each free worker a job, starts workers for others; false when nothing is left to do."""
        running = self.processes.running
        for worker in running:
            if worker.work is None and (job := next(jobs, None)) is not None:
                worker.work = job
                worker.send(job[1])
        while len(running) < self.workers and (job := next(jobs, None)) is not None:
            self.processes.start(**_device_of(self.processes.free_place())).work = job
        return any(worker.work is not None for worker in running)

    def _heard(self) -> Iterator[tuple[int, str | None]]:
        """What workers say; one that is ready gets the job that it was started for."""
        for worker, message in self.processes.heard(SECONDS):
            if isinstance(message, Ended):
                message = f"the process that trained it ended ({message}); the same command trains it again"
            elif not worker.ready and worker.work is not None:
                worker.send(worker.work[1])
                continue
            yield from self._done(worker, message)

    def _done(self, worker: Worker[Job], failure: str | None) -> Iterator[tuple[int, str | None]]:
        if worker.work is not None:
            number, worker.work = worker.work[0], None
            yield number, failure


def _device_of(place: int) -> dict[str, str]:
    """The variable that shows the worker at `place` its CUDA device alone; {} where there are not several."""
    count = torch.cuda.device_count()
    if count < 2:
        return {}
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    return {"CUDA_VISIBLE_DEVICES": shown[place % count]}
