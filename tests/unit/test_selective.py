"""Refusing: curves by hand, the best and the blind order, ties, weights as repeated cases, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from hilum.errors import DataError
from hilum.evaluation.intervals import bootstrap_weights
from hilum.evaluation.selective import (
    aurc,
    aurc_interval,
    aurc_of,
    confidence_scores,
    lowest_aurc,
    risk_coverage,
    selective_figures,
)


def test_perfect_order_by_hand() -> None:
    # 5 cases, 2 mistakes, both least sure: risks 0, 0, 0, 1/4, 2/5.
    sure, wrong = [0.9, 0.8, 0.7, 0.2, 0.1], [0, 0, 0, 1, 1]
    assert aurc(sure, wrong) == pytest.approx((1 / 4 + 2 / 5) / 5)
    assert aurc(sure, wrong) == pytest.approx(lowest_aurc(wrong))
    # Turned round: risks 1, 1, 2/3, 2/4, 2/5.
    assert aurc([-one for one in sure], wrong) == pytest.approx((1 + 1 + 2 / 3 + 2 / 4 + 2 / 5) / 5)


def test_an_order_that_abstains_earns_the_share_of_mistakes() -> None:
    wrong = np.random.default_rng(0).random(500) < 0.2
    assert aurc(np.zeros(500), wrong) == pytest.approx(wrong.mean())
    blind = [aurc(np.random.default_rng(seed).random(500), wrong) for seed in range(200)]
    assert np.mean(blind) == pytest.approx(wrong.mean(), abs=0.01)


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans()), min_size=1, max_size=30))
def test_no_order_beats_the_best_and_full_coverage_is_the_error(cases: list[tuple[float, bool]]) -> None:
    sure, wrong = np.array([one[0] for one in cases]), np.array([one[1] for one in cases])
    coverage, risk = risk_coverage(sure, wrong)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(wrong.mean())
    assert (np.diff(coverage) >= 0).all()
    assert aurc(sure, wrong) >= lowest_aurc(wrong) - 1e-12


def test_weights_are_repeated_cases() -> None:
    rng = np.random.default_rng(1)
    sure, wrong = rng.integers(0, 9, 40) / 9, rng.random(40) < 0.3
    weights = np.concatenate(list(bootstrap_weights(np.arange(40), 25, seed=0)))
    fast = np.asarray(aurc(sure, wrong, weights))
    for value, row in zip(fast, weights.astype(int), strict=True):
        cases = np.repeat(np.arange(40), row)
        assert value == pytest.approx(aurc(sure[cases], wrong[cases]), abs=1e-12)


def test_two_classes_have_one_order_and_three_may_have_more() -> None:
    p = np.random.default_rng(0).dirichlet([1, 1], 50)
    orders = [np.argsort(one).tolist() for one in confidence_scores(p).values()]
    assert orders[0] == orders[1] == orders[2]
    three = confidence_scores([[0.5, 0.5, 0.0], [0.49, 0.26, 0.25]])
    assert three["probability"][0] > three["probability"][1]
    assert three["margin"][0] < three["margin"][1]


def test_block_reads_the_curve_and_gives_no_interval_without_width() -> None:
    sure = np.linspace(1, 0, 100)
    wrong = np.arange(100) >= 90
    block = selective_figures(sure, wrong, np.arange(100), coverages=(0.5, 0.95))
    assert block.aurc.value == pytest.approx(block.lowest_aurc)
    half, nearly = block.risk_at
    assert half.risk.value == 0
    assert half.risk.high == pytest.approx(0.0713, abs=1e-3)  # Wilson, 0 of 50
    assert nearly.risk.value == pytest.approx(5 / 95)
    assert (block.error.k, block.error.n) == (10, 100)
    assert block.curve.risk[-1] == pytest.approx(0.1)


def test_the_interval_of_the_area_holds_it_near_perfection() -> None:
    """Two errors in a hundred, of patients with one or two images: a percentile bootstrap held it in 79 %."""
    rng, held = np.random.default_rng(0), 0
    truth, apart = aurc_of(0.9, 0.02), np.sqrt(2) * norm.ppf(0.9)
    for _ in range(150):
        patient = np.repeat(np.arange(300), rng.integers(1, 3, 300))
        shared = rng.normal(size=(2, 300))[:, patient]
        noise = np.sqrt(0.5) * (shared + rng.normal(size=shared.shape))
        wrong = norm.cdf(noise[0]) < 0.02
        low, high = aurc_interval(noise[1] + apart * ~wrong, wrong, patient)
        held += low <= truth <= high
    assert 138 <= held <= 150


def test_no_error_is_no_proof_of_perfection() -> None:
    figures = selective_figures(np.arange(100), np.zeros(100, bool), np.arange(100))
    assert (figures.aurc.value, figures.aurc.low) == (0, 0) and figures.aurc.high == pytest.approx(
        0.037, abs=1e-3
    )
    often = aurc_interval(np.repeat(np.arange(20), 5), np.zeros(100, bool), np.repeat(np.arange(20), 5))
    assert often[1] > 0.15  # twenty patients


def test_bad_input_is_named() -> None:
    with pytest.raises(
        DataError, match=r"the confidence of case 1 \(counted from 0\) is NaN; score that image"
    ):
        aurc([0.1, np.nan], [0, 1])
    with pytest.raises(DataError, match="there are no cases to answer or to leave to a person"):
        risk_coverage([], [])
