"""Bounds: places for images in work, bytes in memory, requests of one address. What is over them gets 429, at once."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESSES = 4096
"""Addresses whose rate is remembered; the one that was quiet for longest is forgotten first."""


class Busy(Exception):
    """Over capacity. `seconds`: after which it is worth another try."""

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = max(1, math.ceil(seconds))


class Places:
    """A number of places that are taken and given back, never waited for.

    >>> places = Places(2)
    >>> with places.taken(2):
    ...     places.take(1)
    Traceback (most recent call last):
    hilum.web.limits.Busy: all 2 places are taken; try again in 1 s
    """

    def __init__(self, number: int) -> None:
        self.number, self.used = number, 0
        self._lock = threading.Lock()
        self._rate, self._last = 10.0, time.monotonic()

    def take(self, number: int) -> None:
        """Busy when fewer than `number` are free.

        >>> places = Places(3)
        >>> places.take(2)
        >>> places.used
        2
        """
        with self._lock:
            if self.used + number > self.number:
                seconds = min(30.0, self.used / self._rate)
                wait = max(1, math.ceil(seconds))
                raise Busy(f"all {self.number:,} places are taken; try again in {wait} s", seconds)
            self.used += number

    def give_back(self, number: int) -> None:
        """The places are free again; how fast they become free tells the next `Busy` when to come back.

        >>> places = Places(3)
        >>> places.take(2)
        >>> places.give_back(1)
        >>> places.used
        1
        """
        with self._lock:
            self.used -= number
            now = time.monotonic()
            rate = number / max(now - self._last, 1e-3)
            self._rate, self._last = 0.95 * self._rate + 0.05 * min(rate, 1e3), now

    @contextmanager
    def taken(self, number: int) -> Iterator[None]:
        """The places for the time of a block.

        >>> places = Places(2)
        >>> with places.taken(2):
        ...     places.used
        2
        """
        self.take(number)
        try:
            yield
        finally:
            self.give_back(number)


class Rate:
    """A token bucket for each address: `burst` requests at once, then `per_second`.

    >>> rate = Rate(per_second=0.001, burst=1)
    >>> rate.check("10.0.0.1"), rate.check("10.0.0.2")
    (None, None)
    >>> rate.check("10.0.0.1")
    Traceback (most recent call last):
    hilum.web.limits.Busy: more than 0.001 requests in a second; slow down
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self.per_second, self.burst = per_second, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Counts a request. Busy when the address has used up what it may.

        >>> Rate(per_second=1, burst=2).check("10.0.0.1")
        """
        now = time.monotonic()
        left, last = self._left.pop(address, (float(self.burst), now))
        left = min(float(self.burst), left + (now - last) * self.per_second)
        self._left[address] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        if left < 1:
            raise Busy(
                f"more than {self.per_second:g} requests in a second; slow down", (1 - left) / self.per_second
            )
