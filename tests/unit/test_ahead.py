"""Work ahead: the same items in the same order, errors in their place, and no thread left behind."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hilum.ahead import ahead, look_ahead


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_items_and_order_are_those_of_the_plain_loop() -> None:
    def drawn(chance: np.random.Generator) -> Iterator[float]:
        for _ in range(20):
            yield chance.random()

    assert list(ahead(drawn(np.random.default_rng(3)))) == list(drawn(np.random.default_rng(3)))
    assert list(ahead([])) == []
    assert list(ahead([None, 0, ""])) == [None, 0, ""]
    assert _threads() == []


def test_the_next_item_is_made_while_the_caller_works() -> None:
    second = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        second.set()
        yield 2

    source = ahead(items())
    assert next(source) == 1
    assert second.wait(timeout=30)
    assert list(source) == [2]


def test_it_is_never_more_than_one_item_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            yield number

    for number in ahead(items()):
        assert number in made
        assert len(made) <= number + 2


def test_an_error_comes_where_its_item_would() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second item")

    source = ahead(items())
    assert next(source) == 1
    with pytest.raises(ValueError, match="the second item"):
        next(source)
    assert _threads() == []


def test_a_caller_that_stops_early_leaves_no_thread() -> None:
    for number in ahead(iter(range(1000))):
        if number == 3:
            break
    del number
    assert _threads() == []
    source = ahead(range(5))
    next(source)
    source.close()
    assert _threads() == []


def test_a_caller_that_fails_leaves_no_thread() -> None:
    def work() -> None:
        for _ in ahead(range(1000)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    del caught
    assert _threads() == []


def test_look_ahead_keeps_the_order_whichever_thread_is_faster() -> None:
    waits = [0.02, 0.0, 0.01, 0.0]
    begun: list[str] = []

    def slow(number: int) -> int:
        threading.Event().wait(waits[number])
        return number

    begin = lambda: begun.append(threading.current_thread().name)  # noqa: E731
    assert list(look_ahead(slow, range(4), 2, 4, begin)) == [0, 1, 2, 3]
    assert len(begun) == len(set(begun)) >= 1


def test_look_ahead_raises_an_error_where_its_item_would_come() -> None:
    outputs = look_ahead(lambda number: 1 // number, [1, 0, 1], 2, 2)
    assert next(outputs) == 1
    with pytest.raises(ZeroDivisionError):
        next(outputs)
