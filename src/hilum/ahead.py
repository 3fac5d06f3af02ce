"""Work ahead: threads make the next items while the caller works with the present one.

Preparing images (numpy, OpenCV) and a step of a network (torch) both leave Python's lock alone for most of their time,
so they share the cores without processes. The order is that of the plain loop.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from hilum.threads import compute_alone, one_thread_each

Item = TypeVar("Item")
Output = TypeVar("Output")


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, each begun when the one before is handed over. One thread draws them all, so
    a random generator that only the items use gives the same numbers.

    An error of `items` is raised where its item would come. A caller that stops early waits for the item that is
    being made, never longer. What `items` reads must not be changed by the caller meanwhile.

    >>> [square for square in ahead(number**2 for number in range(4))]
    [0, 1, 4, 9]
    """
    source = iter(items)
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield item  # type: ignore[misc]


def look_ahead(
    function: Callable[[Item], Output],
    items: Iterable[Item],
    workers: int,
    window: int,
    begin: Callable[[], object] | None = None,
) -> Iterator[Output]:
    """`function` of each item, in order, worked out in `workers` threads at most `window` items before it is asked
    for. `begin`: what each thread does first. The context variables of the caller hold in the threads.

    >>> list(look_ahead(abs, [-1, 2], workers=2, window=2))
    [1, 2]
    """
    pending: deque[Future[Output]] = deque()
    with ThreadPoolExecutor(workers, initializer=begin) as pool:
        try:
            for item in items:
                pending.append(pool.submit(copy_context().run, function, item))
                del item  # the pool alone holds it, and lets it go when it is done
                if len(pending) >= window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def on_cores(
    step: Callable[[Item], Output], items: Iterable[Item], workers: int, window: int | None = None
) -> Iterator[Output]:
    """`step` of each item, in order, by threads that compute alone; by the caller where `workers` is 1. `window`: as
    in `look_ahead`; None: as many as there are workers.

    >>> list(on_cores(abs, [-1, 2], workers=1))
    [1, 2]
    """
    if workers == 1:
        yield from map(step, items)
        return
    with one_thread_each():
        yield from look_ahead(step, items, workers, window or workers, compute_alone)
