"""One item ahead: a second thread makes the next item while the caller works with the present one.

Preparing images (numpy, OpenCV) and a step of a network (torch) both leave Python's lock alone for most of their time,
so they share the cores without processes. The items and their order are those of the plain loop: one thread draws them
all, one after the other, so a random generator that only the items use gives the same numbers.
"""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order, each begun when the one before is handed over.

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
