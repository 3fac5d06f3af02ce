"""How many threads numerical libraries get here: they do not agree by themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


def threads() -> int:
    """OMP_NUM_THREADS if it is set, else the cores that this process may use.

    >>> threads() >= 1
    True
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def limited_threads() -> Iterator[None]:
    """BLAS and OpenMP pools of every loaded library at `threads()`: two pools of all cores, one inside the
    other, are slower than one.

    >>> from threadpoolctl import threadpool_info
    >>> with limited_threads():
    ...     all(pool["num_threads"] <= threads() for pool in threadpool_info())
    True
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=threads()):
        yield
