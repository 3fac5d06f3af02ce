"""Processes that share a work among themselves, on this machine or on Ray, each with one thread."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Generic, TypeVar

from hilum.errors import HilumError, RunError
from hilum.threads import compute_alone

Work = TypeVar("Work")


def alone() -> None:
    """One thread for this process, in every library: workers share the cores among themselves.

    >>> import torch
    >>> from hilum.threads import one_thread_each
    >>> with one_thread_each():
    ...     alone()
    ...     torch.get_num_threads()
    1
    """
    if "torch" not in sys.modules:
        os.environ["OMP_NUM_THREADS"] = "1"
    import cv2

    cv2.setNumThreads(1)
    compute_alone()  # torch that is loaded later reads the variable, as other runtimes do


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Processes that are started in the block have these variables, from their first import on.

    >>> with environment(OMP_NUM_THREADS="1"):
    ...     os.environ["OMP_NUM_THREADS"]
    '1'
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# -- processes of this machine -------------------------------------------------------------------------------


@dataclass(eq=False)
class Worker(Generic[Work]):
    """One process. `place`: the lowest number that no other worker has; `work`: what it was given; `ready`: its first
    message has been dealt with."""

    place: int
    process: BaseProcess
    pipe: Connection
    work: Work | None = None
    ready: bool = False

    def send(self, message: object) -> None:
        """Sends, or not where the process has ended: the next look at it says so.

        >>> from multiprocessing import Pipe, current_process
        >>> ours, theirs = Pipe()
        >>> Worker(0, current_process(), ours).send("go")
        >>> theirs.recv()
        'go'
        """
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(message)


@dataclass(frozen=True)
class Ended:
    """The last that is heard of a worker. `code`: as a process gives it, below 0 for a signal.

    >>> str(Ended(-9)), str(Ended(1))
    ('signal 9', 'exit code 1')
    """

    code: int

    def __str__(self) -> str:
        return f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"


@dataclass
class Workers(Generic[Work]):
    """Processes that run `target(pipe, *given)`. `daemon`: they may have no processes of their own."""

    target: Callable[..., None]
    given: tuple[object, ...] = ()
    daemon: bool = False
    running: list[Worker[Work]] = field(default_factory=list)

    def free_place(self) -> int:
        """The place of the next worker.

        >>> Workers(print).free_place()
        0
        """
        taken = {worker.place for worker in self.running}
        return next(place for place in range(len(taken) + 1) if place not in taken)

    def start(self, **variables: str) -> Worker[Work]:
        """One more process, with one thread and these environment variables.

        >>> workers = Workers(Connection.close)  # all that this one does is to close its pipe
        >>> worker = workers.start(CUDA_VISIBLE_DEVICES="")
        >>> [message for _, message in workers.heard()], workers.running
        ([Ended(code=0)], [])
        """
        ours, theirs = get_context("spawn").Pipe()
        given = (self.target, theirs, *self.given)
        process = get_context("spawn").Process(target=_begin, args=given, daemon=self.daemon)
        with environment(OMP_NUM_THREADS="1", **variables):
            process.start()
        theirs.close()
        worker: Worker[Work] = Worker(self.free_place(), process, ours)
        self.running.append(worker)
        return worker

    def heard(self, timeout: float | None = None) -> Iterator[tuple[Worker[Work], Any]]:
        """Waits, so many seconds at most, and gives what workers send, or `Ended` for one that is gone from then on.

        >>> list(Workers(print).heard(0.0))
        []
        """
        pipes = wait([worker.pipe for worker in self.running], timeout)
        for worker in [worker for worker in self.running if worker.pipe in pipes]:
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                message = self._ended(worker)
            yield worker, message
            worker.ready = (
                True  # after the yield: who deals with the first message can tell that it is the first
            )

    def _ended(self, worker: Worker[Work]) -> Ended:
        self.running.remove(worker)
        worker.pipe.close()
        worker.process.join()
        return Ended(worker.process.exitcode or 0)

    def end(self) -> None:
        """Ends every process, whatever it does.

        >>> workers = Workers(Connection.recv)  # waits for ever
        >>> worker = workers.start()
        >>> workers.end()
        >>> worker.process.is_alive()
        False
        """
        for worker in self.running:
            worker.pipe.close()
            worker.process.kill()
        for worker in self.running:
            worker.process.join()
        self.running.clear()


def _begin(target: Callable[..., None], *given: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the main process, which ends the workers
    Thread(target=_end_with_parent, daemon=True).start()
    target(*given)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# -- Ray -----------------------------------------------------------------------------------------------------


def connected(workers: int | None) -> Any:
    """The package ray, connected: to the cluster that RAY_ADDRESS names or that runs here, else to one of its own on
    this machine, with `workers` CPUs. HilumError where ray is not installed, RunError where RAY_ADDRESS names a cluster
    that does not answer.

    >>> from unittest.mock import patch
    >>> with patch.dict(sys.modules, ray=None):
    ...     connected(2)
    Traceback (most recent call last):
    hilum.errors.HilumError: the engine ray needs the package ray; install it: pip install 'hilum[ray]'
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
    except ImportError:
        raise HilumError(
            "the engine ray needs the package ray", "install it: pip install 'hilum[ray]'"
        ) from None
    quiet = {"logging_level": "error", "log_to_driver": False}
    if not ray.is_initialized():
        try:
            ray.init(address="auto", **quiet)
        except ConnectionError:
            address = os.environ.get("RAY_ADDRESS", "local")
            if address != "local":
                raise RunError(
                    f"the Ray cluster {address} does not answer", "start it, or unset RAY_ADDRESS"
                ) from None
            ray.init(num_cpus=workers, include_dashboard=False, **quiet)
    return ray
