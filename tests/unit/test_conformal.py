"""The threshold from healthy scores: hand-counted values, and the two ways of saying 'flagged' agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.anomaly.conformal import threshold
from hilum.errors import DataError
from hilum.inference.p_values import bonferroni, fewest, p_values

scores = st.lists(st.integers(-5, 5), min_size=1, max_size=60)


def test_p_values_counted_by_hand() -> None:
    healthy = np.array([3.0, 1.0, 2.0, 2.0])
    # at or above 2: three of four, so (1 + 3) / 5
    assert p_values(np.array([2.0, 3.1, 0.0]), healthy).tolist() == [0.8, 0.2, 1.0]


def test_threshold_counted_by_hand() -> None:
    healthy = np.arange(39.0)  # 40 * 0.95 = 38th smallest
    assert threshold(healthy[::-1], 0.05) == 37.0


@given(scores, scores, st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.7]))
def test_above_the_threshold_means_p_at_most_alpha(asked: list[int], healthy: list[int], rate: float) -> None:
    """Also with ties, of which small integers make many."""
    known, new = np.array(healthy, float), np.array(asked, float)
    if len(known) < fewest(rate):
        with pytest.raises(DataError, match="too few for a false-alarm rate"):
            threshold(known, rate)
    else:
        flagged = new > threshold(known, rate)
        assert flagged.tolist() == (p_values(new, known) <= rate).tolist()


def test_healthy_images_are_flagged_at_the_promised_rate() -> None:
    """Exchangeable draws, without ties: the rate is at most alpha, and not much below it."""
    chance = np.random.default_rng(0)
    flagged = [chance.standard_normal() > threshold(chance.standard_normal(59), 0.05) for _ in range(4000)]
    assert 0.04 < np.mean(flagged) < 0.06  # 60 * 0.05 = 3 exactly, so the rate is 0.05; sd 0.0034


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(DataError, match=r"is not between 0 and 1; try 0"):
        threshold(np.arange(100.0), rate)


def test_bad_scores_are_named() -> None:
    with pytest.raises(DataError, match="healthy scores: number 1 is nan; score that image again"):
        threshold(np.array([1.0, np.nan]), 0.5)
    with pytest.raises(DataError, match="there are no held-out scores"):
        p_values(np.array([1.0]), np.array([]))
    with pytest.raises(
        DataError, match=r"18 healthy images are too few for a false-alarm rate of 0.05; hold out 19"
    ):
        threshold(np.arange(18.0), 0.05)


@given(st.lists(st.tuples(*[st.floats(0.001, 1)] * 3), min_size=1, max_size=20))
def test_combined_p_values_are_no_smaller_than_bonferroni_allows(rows: list[tuple[float, ...]]) -> None:
    values = np.array(rows).T
    combined = bonferroni(values)
    assert ((combined >= values.min(0)) & (combined <= 1)).all()
    assert (bonferroni(values[:1]) == values[0]).all()  # one guard is left as it is
    for alpha in (0.01, 0.03, 0.2):
        flagged = (values * 3 <= alpha).any(0)
        clear = np.abs(combined - alpha) > 1e-12  # at the limit itself the last digit decides
        assert ((combined <= alpha) == flagged)[clear].all()


@pytest.mark.parametrize("shared", [0.0, 1.0])
def test_two_guards_together_keep_the_rate(shared: float) -> None:
    """Scores of two guards that have nothing, or everything, in common: at most 6 % are flagged; sd 0.5 %."""
    chance = np.random.default_rng(1)
    known, new = chance.standard_normal((2, 999)), chance.standard_normal((2, 2000))
    known[1], new[1] = (shared * values[0] + (1 - shared) * values[1] for values in (known, new))
    p = np.stack([p_values(new[guard], known[guard]) for guard in (0, 1)])
    flagged = (bonferroni(p) <= 0.06).mean()
    assert 0.01 < flagged < 0.075
