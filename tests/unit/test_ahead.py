"""One item ahead: the same items in the same order, errors in their place, and no thread left behind."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from hilum.ahead import ahead


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
