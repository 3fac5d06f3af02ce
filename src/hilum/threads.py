"""How many threads compute, and how they wait, so that a busy machine slows hilum in proportion.

OpenMP's threads meet at barriers many times in each step of a network. On cores that other work shares, each barrier
waits for a thread that has no core: two threads on two cores with two busy loops beside them are much slower than one
thread (benchmarks/busy.py). So a new run takes as many threads as cores are idle when it starts, and its threads sleep
at barriers instead of spinning. The number is part of what makes a figure repeatable to the last digit: run.json
records it, and `--resume` uses it again. A user's own OMP_NUM_THREADS is left alone.

Where batches do not depend on each other, as in prediction, there is a better way than barriers: each core takes a
batch of its own, with one thread (hilum/inference/forward.py). Such figures do not depend on the number of threads.
"""

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAT = Path("/proc/stat")


def wait_passively() -> bool:
    """Asks OpenMP to let waiting threads sleep, unless the user has chosen; false when torch is loaded already
    and it is too late.

    >>> wait_passively() or "torch" in sys.modules
    True
    """
    if "torch" in sys.modules:
        return False
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return True


_MALLOPT = (
    (
        -8,
        1,
    ),  # M_ARENA_MAX: the threads share one heap; those of their own are small and give large arrays back
    (-3, 1 << 30),  # M_MMAP_THRESHOLD, bytes: arrays below it come from the heap
    (-1, 1 << 30),  # M_TRIM_THRESHOLD, bytes: so much may lie free at its end
)
"""Option and value, as in glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Lets the process keep up to 1 GiB of freed memory for its next arrays; false where the C library has no such
    choice. By default glibc gives each large array back to the system and asks for it again in the next step of a
    network: a fifth of an evaluation's processor time (docs/log.md, 27 November 2026).

    >>> keep_freed_memory() in (True, False)
    True
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    answers = [mallopt(option, value) for option, value in _MALLOPT]
    return answers == [1] * len(answers)


def choose_threads(seconds: float = 0.4) -> int:
    """Threads for a new run: the cores that are idle now, 1 or more; OMP_NUM_THREADS where the user has set it.
    `seconds`: how long the cores are watched.

    >>> 1 <= choose_threads(0.05) <= (os.cpu_count() or 1) or "OMP_NUM_THREADS" in os.environ
    True
    """
    return _given() or max(1, min(round(idle_cores(seconds)), os.cpu_count() or 1))


def cores() -> int:
    """Threads that may work on batches of their own: OMP_NUM_THREADS where the user has set it, else all cores. More
    threads than idle cores do no harm here: none waits for another.

    >>> 1 <= cores()
    True
    """
    return _given() or os.cpu_count() or 1


def _given() -> int:
    """OMP_NUM_THREADS as the user has set it; 0 without."""
    word = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(word) if word.isdigit() else 0


def idle_cores(seconds: float) -> float:
    """Cores that did nothing during the next `seconds`, from the kernel's own count; where there is none, the
    cores less the load of the last minute.

    >>> 0 <= idle_cores(0.05) <= (os.cpu_count() or 1) or not STAT.exists()
    True
    """
    cores = os.cpu_count() or 1
    if not STAT.exists():
        return cores - os.getloadavg()[0] if hasattr(os, "getloadavg") else cores
    before = _ticks()
    time.sleep(seconds)
    idle, total = (after - first for after, first in zip(_ticks(), before, strict=True))
    return cores * idle / total if total else cores


def _ticks() -> tuple[int, int]:
    """Clock ticks of all cores since the start: idle (or waiting for a disk), and all. In containers of several
    tenants stolen time counts as busy."""
    fields = [int(field) for field in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def use_threads(count: int | None) -> None:
    """Lets torch compute with so many threads, at most as many as there are cores; None: as torch has chosen.
    Loads torch. Holds for the whole process.

    >>> import torch
    >>> with one_thread_each():
    ...     use_threads(1)
    ...     torch.get_num_threads()
    1
    """
    import torch

    if count:
        torch.set_num_threads(min(count, os.cpu_count() or 1))


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Around worker threads that call `compute_alone` first: afterwards torch computes with as many threads as
    before. Nothing happens where torch is not loaded: other engines have threads of their own.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with one_thread_each():
    ...     torch.set_num_threads(1)
    >>> torch.get_num_threads() == before
    True
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_alone() -> None:
    """Lets the present thread compute without helpers, where torch is loaded.

    >>> import torch
    >>> with one_thread_each():
    ...     compute_alone()
    ...     torch.get_num_threads()
    1
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
