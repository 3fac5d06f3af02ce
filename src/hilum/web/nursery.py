"""The process that decoding processes come from: python -m hilum.web.nursery SOCKET.

It loads all that decoding needs, once, and computes nothing. For each message "spawn" it forks a child, which serves
one socket; the child inherits what is loaded, so a killed one is replaced within milliseconds. Each child has limits of
its own on time (an alarm), memory and files; it writes no core file, which would hold an image.
"""

import contextlib
import os
import resource
import shutil
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hilum.web import wire
from hilum.web.tasks import run_task

GRACE = 1
"""Seconds between the service's own time limit and the alarm that ends a child."""


def nursery(control: socket.socket) -> None:
    """Forks and ends children until the other side is gone.

    >>> ours, theirs = socket.socketpair()
    >>> ours.close()
    >>> with theirs:
    ...     nursery(theirs)
    """
    children: set[int] = set()
    with contextlib.suppress(wire.Closed):
        while True:
            message, descriptors = _message(control)
            if "spawn" in message:
                pid = os.fork()
                if pid == 0:
                    control.close()
                    _live(descriptors[0], message["spawn"])
                os.close(descriptors[0])
                children.add(pid)
                wire.send(control, {"pid": pid})
            else:  # a child that is not waited for keeps its number, so that no other process is ended
                if message["end"] in children:
                    children.discard(message["end"])
                    _end(message["end"])
                wire.send(control, {})
    for pid in children:
        _end(pid)


def _end(pid: int) -> None:
    """Ends a child, waits for it, and deletes what it has left."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(str(pid), ignore_errors=True)


def _message(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A message, and the descriptors that came with one byte before it."""
    first, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    if not first:
        raise wire.Closed
    return wire.receive(control)[0], descriptors


def _live(descriptor: int, limits: dict[str, int]) -> None:
    """The whole life of a child."""
    status = 0
    try:
        _limit(limits)
        Path(str(os.getpid())).mkdir()
        os.chdir(str(os.getpid()))
        with socket.socket(fileno=descriptor) as connection, contextlib.suppress(wire.Closed):
            while True:
                header, data = wire.receive(connection)
                signal.alarm(limits["seconds"] + GRACE)
                reply, payload = run_task(header, data)
                signal.alarm(0)
                del data
                wire.send(connection, reply, payload)
    except BaseException:
        status = 1
    finally:
        os._exit(status)


def _limit(limits: dict[str, int]) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits["file_bytes"], limits["file_bytes"]))
    most = _data_in_use() + limits["bytes"]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _data_in_use() -> int:
    """Bytes that count against RLIMIT_DATA now; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) * 1024


def preload() -> None:
    """Loads what decoding needs, so that children have it already; computes nothing.

    >>> preload()
    >>> "cv2" in sys.modules
    True
    """
    import cv2
    import torch

    from hilum.data.dicom import grey, pixels  # noqa: F401
    from hilum.lungs import segment

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    segment.trained()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which then closes the socket
    preload()
    channel = socket.socket(fileno=int(sys.argv[1]))
    with TemporaryDirectory(prefix="hilum-serve-") as place, contextlib.chdir(place), channel:
        wire.send(channel, {"folder": place})
        nursery(channel)
