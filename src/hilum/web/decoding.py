"""Decoding outside the service's own process: a malicious or damaged file ends a child, never the service.

Children come from a nursery (hilum.web.nursery). One that takes too long or too much memory is ended and replaced. A
file whose child has died is tried once more with a new one, because the child may have been killed from outside.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import LifoQueue
from typing import Any

from hilum.threads import cores
from hilum.web import wire
from hilum.web.nursery import GRACE
from hilum.web.settings import Limits
from hilum.web.tasks import UNREADABLE

PATIENCE = 60.0
"""Seconds in which a nursery must have loaded."""

TRIES = 2
"""So many children may die of one file."""

ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class _Child:
    pid: int
    connection: socket.socket


class Decoders:
    """A few decoding processes. `workers`: how many; 0: one for each core, two or more. `died`: called when one has
    been replaced.

    >>> decoders = Decoders(Limits(), workers=1)
    >>> decoders.run({"task": "preview", "name": "image 1", "side": 64, "pixels": 10**6}, b"GIF89a")[0]["status"]
    415
    >>> decoders.stop()
    """

    def __init__(self, limits: Limits, workers: int = 0, died: Callable[[], None] = lambda: None) -> None:
        self.limits, self._died = limits, died
        self.workers = workers or max(2, cores())
        self.threads = ThreadPoolExecutor(self.workers, thread_name_prefix="decoding")
        self._idle: LifoQueue[_Child | None] = LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._folder = ""
        self._children: set[int] = set()

    @property
    def pids(self) -> list[int]:
        """The decoding processes that are alive, for tests of faults.

        >>> Decoders(Limits(), workers=1).pids
        []
        """
        return sorted(self._children)

    @property
    def nursery_pid(self) -> int | None:
        """The process that the others come from; None before the first image.

        >>> Decoders(Limits(), workers=1).nursery_pid is None
        True
        """
        return self._nursery.pid if self._nursery else None

    def start(self) -> None:
        """Loads the nursery and one child, so that the first image does not wait for them.

        >>> decoders = Decoders(Limits(), workers=1)
        >>> decoders.start()
        >>> len(decoders.pids)
        1
        >>> decoders.stop()
        """
        child = self._idle.get()
        try:
            child = child or self._spawn()
        finally:
            self._idle.put(child)

    def run(self, header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytearray]:
        """A task of hilum.web.tasks in a child. The reply has `error` and `status` when it could not be done.

        >>> decoders = Decoders(Limits(), workers=1)
        >>> decoders.run({"task": "preview", "name": "image 1", "side": 64, "pixels": 10**6}, b"")[0]["error"]
        'image 1 is no readable image (empty); replace the file or take it out'
        >>> decoders.stop()
        """
        child = self._idle.get()
        try:
            for _ in range(TRIES):
                child = child or self._spawn()
                started = time.monotonic()
                try:
                    child.connection.settimeout(self.limits.decode_seconds + 2 * GRACE + 1)
                    wire.send(child.connection, header, data)
                    return wire.receive(child.connection)
                except (wire.Closed, TimeoutError, OSError, ValueError):
                    child = self._end(child)
                    if time.monotonic() - started >= self.limits.decode_seconds:
                        return self._failed(
                            f"{header['name']} took more than {self.limits.decode_seconds} s to decode"
                        )
            return self._failed(f"{header['name']} stopped the decoder")
        finally:
            self._idle.put(child)

    @staticmethod
    def _failed(what: str) -> tuple[dict[str, Any], bytearray]:
        return {"error": f"{what}; replace the file or take it out", "status": UNREADABLE}, bytearray()

    def _spawn(self) -> _Child:
        """A new child; a new nursery too, where there is none alive."""
        with self._lock:
            for attempt in range(TRIES):
                control = self._control or self._new_nursery()
                ours, theirs = socket.socketpair()
                limits = {
                    "seconds": self.limits.decode_seconds,
                    "bytes": self.limits.decode_bytes,
                    "file_bytes": self.limits.upload_bytes,
                }
                try:
                    socket.send_fds(control, [b"\0"], [theirs.fileno()])
                    wire.send(control, {"spawn": limits})
                    pid = wire.receive(control)[0]["pid"]
                except (wire.Closed, OSError):
                    ours.close()
                    self._drop_nursery()
                    if attempt == TRIES - 1:
                        raise
                    continue
                finally:
                    theirs.close()
                self._children.add(pid)
                return _Child(pid, ours)
        raise RuntimeError("no decoding process can be started")

    def _end(self, child: _Child) -> None:
        child.connection.close()
        with self._lock, suppress(wire.Closed, OSError):
            self._children.discard(child.pid)
            if self._control is not None:
                self._control.sendall(b"\0")
                wire.send(self._control, {"end": child.pid})
                wire.receive(self._control)
        self._died()

    def _new_nursery(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._nursery = subprocess.Popen(
                [sys.executable, "-m", "hilum.web.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **ALONE},
            )
        ours.settimeout(PATIENCE)
        try:
            self._folder = wire.receive(ours)[0]["folder"]
        except BaseException:
            ours.close()
            raise
        self._control = ours
        return ours

    def _drop_nursery(self) -> None:
        if self._control is not None:
            self._control.close()
        if self._nursery is not None:
            self._nursery.kill()
            self._nursery.wait()
            shutil.rmtree(self._folder, ignore_errors=True)
        self._control = self._nursery = None

    def stop(self) -> None:
        """Ends all processes.

        >>> Decoders(Limits(), workers=1).stop()
        """
        self.threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            if self._control is not None:
                self._control.close()
            if self._nursery is not None:
                with suppress(subprocess.TimeoutExpired):
                    self._nursery.wait(5)
            self._drop_nursery()
            self._children.clear()
            while not self._idle.empty():
                child = self._idle.get_nowait()
                if child is not None:
                    child.connection.close()
