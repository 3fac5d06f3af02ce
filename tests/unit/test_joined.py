"""Two networks that answer together: where both agree, so do they; what is divided adds up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.inference.joined import joined
from hilum.inference.rules import Rules

THREE, TWO = ("normal", "bacteria", "virus"), ("normal", "pneumonia")
SHARES = st.floats(0.0, 1.0)


def both(
    first: float, second: float, kinds: float = 0.5, limits: tuple[float, float] = (0.5, 0.5)
) -> tuple[Rules, Rules, np.ndarray, np.ndarray]:
    """Rules of two networks with their thresholds, and what each says of an image: P(abnormal) `first`, `second`."""
    three = np.array([[1 - first, first * kinds, first * (1 - kinds)]])
    two = np.array([[1 - second, second]])
    with np.errstate(divide="ignore"):
        logits = np.log(three), np.log(two)
    return Rules(THREE, threshold=limits[0]), Rules(TWO, threshold=limits[1]), *logits


@given(SHARES, SHARES, st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.1, 0.9))
@settings(max_examples=200, deadline=None)
def test_where_both_agree_so_does_the_joined_answer(
    first: float, second: float, limit: float, other: float, kinds: float
) -> None:
    three, two, logits, others = both(first, second, kinds, (limit, other))
    own, more = three.decide(logits), two.decide(others)
    answer = joined(own, more)
    assert answer.probabilities.sum() == pytest.approx(1) and answer.probabilities.min() >= 0
    assert 1 - answer.probabilities[0, 0] == pytest.approx(answer.abnormal[0])
    assert (
        answer.positive[0]
        == (answer.abnormal[0] >= answer.thresholds[0])
        == (answer.predicted[0] != "normal")
    )
    if own.positive[0] == more.positive[0] and min(abs(first - limit), abs(second - other)) > 1e-6:
        assert answer.positive[0] == own.positive[0]
    if first > 1e-3:
        assert answer.probabilities[0, 1] == pytest.approx(kinds * answer.abnormal[0], abs=1e-5)


def test_the_surer_of_two_that_contradict_each_other_decides() -> None:
    for first, second, expected in ((0.999, 0.4, True), (0.001, 0.6, False), (0.6, 0.001, False)):
        three, two, logits, others = both(first, second)
        answer = joined(three.decide(logits), two.decide(others))
        assert answer.positive is not None and answer.positive[0] == expected


def test_without_a_healthy_class_nothing_is_joined() -> None:
    three, two, logits, others = both(0.7, 0.2)
    foreign = Rules(("covid", "virus")).decide(np.log([[0.3, 0.7]]))
    assert joined(foreign, two.decide(others)) is foreign
    own = three.decide(logits)
    assert joined(own, foreign) is own
