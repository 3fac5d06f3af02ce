"""Shares, areas and ratios near 0 and 1: true to scipy and to typed values, monotone, and never a point. Coverage by
simulation, seeded; docs/intervals.md has more of it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from hilum.evaluation.areas import area_figure, area_interval, precision_of, ranking_figures
from hilum.evaluation.clusters import effective_size, intraclass_correlation
from hilum.evaluation.metrics import f1, mcc
from hilum.evaluation.ratios import probability_after, ratio_interval
from hilum.evaluation.shares import (
    hit_correlation,
    mean_figure,
    share_figure,
    share_interval,
    wilson_interval,
)
from hilum.evaluation.tables import table_interval


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 8), (8, 8), (437, 624), (521, 624), (3, 7)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson_interval(0, 0) == share_interval([], []) == (0.0, 1.0)
    assert share_figure([], []).reason == "there is no such image"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # tests do not time
@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.floats(0, 1)), min_size=2, max_size=40))
def test_one_hit_more_never_lowers_an_end(rows: list[tuple[int, bool, float]]) -> None:
    patients, hits, scores = (np.array(column) for column in zip(*rows, strict=True))
    for behind in (None, scores):
        before = share_interval(hits, patients, behind)
        more = hits.copy()
        more[np.argmin(hits)] = True
        after = share_interval(more, patients, behind)
        assert after[0] >= before[0] - 1e-9
        assert after[1] >= before[1] - 1e-9
        assert before[0] < before[1]


def test_99_of_100_is_less_certain_than_100_of_100() -> None:
    rng = np.random.default_rng(0)
    patients, scores = np.repeat(np.arange(25), 4), rng.random(100)
    for behind in (None, scores):
        some, all_hits = (share_figure(np.arange(100) >= missed, patients, behind) for missed in (1, 0))
        assert some.high - some.low > all_hits.high - all_hits.low


def test_one_patient_with_100_images_tells_no_more_than_one() -> None:
    figure = share_figure(np.arange(100) >= 3, ["ann"] * 100, np.arange(100))
    assert (figure.value, figure.counts) == (0.97, "97/100")
    assert (figure.low, figure.high) == pytest.approx(wilson_interval(0.97, 1))


def test_correlation_by_hand() -> None:
    # between: 2 (1 - 2)^2 + 2 (3 - 2)^2 = 4 of 1; within: 4 * 0.5^2 = 1 of 2; (4 - 0.5) / (4 + 0.5)
    assert intraclass_correlation([0.5, 1.5, 2.5, 3.5], [*"aabb"]) == pytest.approx(3.5 / 4.5)
    assert intraclass_correlation([1, 2, 3], [*"abc"]) == 0
    assert intraclass_correlation([1, 1, 1], [*"aab"]) == 1
    assert effective_size([*"aaab"], 0.5) == pytest.approx(4 / (1 + 1.5 * 0.5))  # (9 + 1) / 4 images


def test_correlation_of_hits_equals_that_of_drawn_ones() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=400_000), rng.normal(size=(2, 400_000))
    hits = np.sqrt(0.7) * shared + np.sqrt(0.3) * own < stats.norm.ppf(0.95)
    assert hit_correlation(0.7, 0.95) == pytest.approx(np.corrcoef(hits)[0, 1], abs=0.01)


def test_ratios_of_the_log_method() -> None:
    assert ratio_interval(0, 100, 1, 100) == pytest.approx((0, 0.0370), abs=5e-5)  # misses / specificity
    assert ratio_interval(1, 100, 1 / 100, 100) == pytest.approx((14.2, 703), rel=2e-3)
    assert ratio_interval(569 / 585, 585, 1 / 201, 201) == pytest.approx((27.67, 1381), rel=1e-3)
    low, high = ratio_interval(1, 100, 0, 100)
    assert (low, high) == (pytest.approx(27.03, abs=0.01), np.inf)
    assert [round(probability_after(ratio, 0.05), 3) for ratio in (low, high)] == [0.587, 1.0]
    assert round(1 - probability_after(0.0370, 0.05), 3) == 0.998
    assert ratio_interval(0, 5, 0, 5) == (0, np.inf)


def test_an_area_of_one_has_an_interval() -> None:
    low, high = area_interval(1.0, 50, 50)
    assert (low, high) == (pytest.approx(0.974, abs=1e-3), 1.0)
    assert area_interval(0.0, 50, 50) == (0.0, pytest.approx(1 - low))
    for m, n in ((1, 1), (1, 1000), (3, 4)):
        assert area_interval(1.0, m, n)[0] < 0.97


def test_area_far_from_one_is_that_of_hanley_and_mcneil() -> None:
    low, high = area_interval(0.7, 10_000, 10_000)
    d = np.sqrt(2) * stats.norm.ppf(0.7)
    x = stats.norm.expect(lambda y: stats.norm.cdf(d - y) ** 2) - 0.49
    error = np.sqrt((0.21 + 2 * 9_999 * x) / 1e8)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=1e-3)


def test_average_precision_of_normal_scores_equals_drawn_ones() -> None:
    rng = np.random.default_rng(0)
    positive = rng.random(200_000) < 0.2
    score = rng.normal(size=200_000) + np.sqrt(2) * stats.norm.ppf(0.9) * positive
    area, precision = ranking_figures(score, positive, np.arange(200_000))
    assert precision_of(area.value, 0.2) == pytest.approx(precision.value, abs=3e-3)
    assert precision.high - precision.low < 0.02


def test_a_perfect_matrix_has_an_interval() -> None:
    for metric, worst in ((f1, 0.0), (mcc, -1.0)):
        low, high = table_interval(metric, [[50, 0], [0, 50]], [50, 50], [50, 50], worst)
        assert 0.9 < low < 0.98 and high == 1
        fewer = table_interval(metric, [[50, 0], [0, 50]], [10, 10], [10, 10], worst)
        assert fewer[0] < low - 0.05


def test_equal_predictions_differ_by_nothing_but_not_surely() -> None:
    figure = mean_figure(np.zeros(50), np.arange(50))
    assert (figure.low, figure.value, figure.high) == (
        -wilson_interval(0, 50)[1],
        0,
        pytest.approx(wilson_interval(0, 50)[1]),
    )


def drawn_cases(
    rng: np.random.Generator, patients: int, most: int, shift: float, alike: float, share: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score, abnormal, patient: normal scores with 1 to `most` images a patient and their correlation `alike`."""
    abnormal = np.arange(patients) < max(2, round(share * patients))
    patient = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    score = np.sqrt(alike) * rng.normal(size=patients)[patient]
    score += np.sqrt(1 - alike) * rng.normal(size=len(patient)) + shift * abnormal[patient]
    return score, abnormal[patient], patient


@pytest.mark.parametrize(
    ("patients", "most", "area", "alike"),
    [(192, 2, 0.997, 0.5), (120, 1, 0.997, 0.0), (100, 10, 0.95, 0.8), (100, 1, 0.9998, 0.0)],
)
def test_auroc_intervals_hold_the_truth_about_95_times_in_100(
    patients: int, most: int, area: float, alike: float
) -> None:
    rng = np.random.default_rng(0)
    shift = np.sqrt(2) * stats.norm.ppf(area)
    held = 0
    for _ in range(200):
        figure = area_figure(*drawn_cases(rng, patients, most, shift, alike, 0.5))
        held += figure.low <= area <= figure.high
    assert 0.91 <= held / 200 <= 0.995


@pytest.mark.parametrize(("patients", "most", "share", "alike"), [(40, 10, 0.95, 0.9), (150, 10, 0.98, 0.5)])
def test_shares_hold_the_truth_about_95_times_in_100(
    patients: int, most: int, share: float, alike: float
) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        score, _, patient = drawn_cases(rng, patients, most, 0.0, alike, 0.5)
        figure = share_figure(score < stats.norm.ppf(share), patient, score)
        held += figure.low <= share <= figure.high
    assert 0.91 <= held / 200 <= 0.99
