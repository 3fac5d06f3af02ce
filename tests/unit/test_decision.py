"""The chosen threshold is the best of all, found by trying them all, and sits in the middle of its gap."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, RecipeError
from hilum.evaluation.decision import choose_threshold

CASES = st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30).filter(
    lambda cases: len({abnormal for _, abnormal in cases}) == 2
)
REPEATABLE = settings(max_examples=100, deadline=None, derandomize=True)


def rates(score: np.ndarray, abnormal: np.ndarray, threshold: float) -> tuple[Fraction, Fraction]:
    """Sensitivity and specificity, exactly."""
    predicted = score >= threshold
    found, spared = int((predicted & abnormal).sum()), int((~predicted & ~abnormal).sum())
    return Fraction(found, int(abnormal.sum())), Fraction(spared, int((~abnormal).sum()))


def all_rates(score: np.ndarray, abnormal: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    return [rates(score, abnormal, threshold) for threshold in [*np.unique(score), 2.0]]


@REPEATABLE
@given(CASES)
def test_youden_is_the_greatest_of_all(cases: list[tuple[int, bool]]) -> None:
    score, abnormal = np.array([case[0] for case in cases]) / 20, np.array([case[1] for case in cases])
    threshold = choose_threshold(score, abnormal)
    assert 0 <= threshold <= 1
    assert sum(rates(score, abnormal, threshold)) == max(map(sum, all_rates(score, abnormal)))


@REPEATABLE
@given(CASES, st.sampled_from(["0.07", "0.5", ".9", "0.95", "1", "1.0"]))
def test_sensitivity_is_kept_at_the_greatest_specificity(cases: list[tuple[int, bool]], least: str) -> None:
    score, abnormal = np.array([case[0] for case in cases]) / 20, np.array([case[1] for case in cases])
    found, spared = rates(score, abnormal, choose_threshold(score, abnormal, f"sensitivity>={least}"))
    enough = [pair for pair in all_rates(score, abnormal) if pair[0] >= Fraction(least)]
    assert found >= Fraction(least)
    assert spared == max(pair[1] for pair in enough)
    assert found == max(pair[0] for pair in enough if pair[1] == spared)


@REPEATABLE
@given(CASES, st.integers(0, 9))
def test_the_order_of_cases_does_not_matter(cases: list[tuple[int, bool]], seed: int) -> None:
    score, abnormal = np.array([case[0] for case in cases]) / 20, np.array([case[1] for case in cases])
    order = np.random.default_rng(seed).permutation(len(cases))
    for rule in ("youden", "sensitivity>=0.9"):
        assert choose_threshold(score[order], abnormal[order], rule) == choose_threshold(
            score, abnormal, rule
        )


def test_the_middle_of_the_gap() -> None:
    assert choose_threshold([0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1]) == pytest.approx(0.4)
    assert choose_threshold([0.4, 0.9, 0.2], [1, 1, 0], "sensitivity>=0.5") == pytest.approx(0.3)


def test_of_equal_gaps_the_widest_then_the_lowest() -> None:
    # Youden is 1/2 between 0.2 and 0.3, and between 0.4 and 0.8.
    assert choose_threshold([0.2, 0.3, 0.4, 0.8], [0, 1, 0, 1]) == pytest.approx(0.6)
    # The same with gaps of one width: 1/8 and 5/8 are equally good.
    assert choose_threshold([0.0, 0.25, 0.5, 0.75], [0, 1, 0, 1]) == 0.125


def test_all_abnormal_is_an_answer_too() -> None:
    assert choose_threshold([0.3, 0.8], [1, 0]) == 0.15
    assert choose_threshold([0.0, 0.0], [1, 0]) == 0.0


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert choose_threshold([low, high], [0, 1]) == high


def test_weights_are_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    score, abnormal, weights = rng.integers(0, 10, 40) / 10, rng.random(40) < 0.5, rng.integers(1, 4, 40)
    repeated = choose_threshold(np.repeat(score, weights), np.repeat(abnormal, weights))
    assert choose_threshold(score, abnormal, weights=weights) == repeated


def test_a_share_is_meant_exactly() -> None:
    # 0.07 of 100 abnormal are 7, although 0.07 * 100 is 7.000000000000001 in floating point.
    score = np.append(np.linspace(0.2, 1, 100), 0.1 + 0.9 * np.arange(100) / 100)
    abnormal = np.arange(200) < 100
    expected = choose_threshold(score, abnormal, "sensitivity>=0.0651")  # 7 of 100 as well
    assert choose_threshold(score, abnormal, "sensitivity>=0.07") == expected


def test_half_asks_nobody() -> None:
    assert choose_threshold([0.9], [1], "half") == 0.5


@pytest.mark.parametrize(("abnormal", "word"), [([0, 0], "normal"), ([1, 1], "abnormal")])
def test_one_class_alone(abnormal: list[int], word: str) -> None:
    with pytest.raises(DataError) as caught:
        choose_threshold([0.1, 0.9], abnormal)
    assert str(caught.value) == (
        f"all cases that the threshold should be chosen on are {word}; "
        "use a validation split that holds both classes, or the rule 'half'"
    )


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.5])
def test_no_probability(value: float) -> None:
    with pytest.raises(DataError) as caught:
        choose_threshold([0.1, value], [0, 1])
    sentence = f"the probability of case 1 (counted from 0) is {value:g}; pass probabilities in 0..1"
    assert str(caught.value).startswith(sentence)


def test_no_cases() -> None:
    with pytest.raises(DataError, match="there are no cases; use a split that holds both classes"):
        choose_threshold([], [])


@pytest.mark.parametrize("rule", ["yuden", "sensitivity>=0", "sensitivity>=1.01", "sensitivity>=x", ""])
def test_unknown_rule(rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        choose_threshold([0.1, 0.9], [0, 1], rule)
    assert str(caught.value) == (
        f"threshold rule {rule!r} is not known; "
        "known are 'youden', 'half', 'sensitivity>=X' and 'precision>=X' with X above 0 and at most 1"
    )
