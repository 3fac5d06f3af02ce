"""Operating points and net benefit: hand-typed values, identities, and figures that do not exist."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import Decisions
from hilum.errors import DataError
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.operating import (
    decision_curve,
    decision_figures,
    likelihood_ratios,
    net_benefit,
    predictive_values,
    treat_all,
)
from hilum.evaluation.shares import wilson_interval


def test_precision_rule_finds_the_most_abnormal_at_that_precision() -> None:
    #  from above: 0.9 abnormal 1/1, 0.8 abnormal 2/2, 0.7 well 2/3, 0.6 abnormal 3/4, 0.5 well 3/5
    score, abnormal = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 0, 1, 0]
    assert choose_threshold(score, abnormal, "precision>=0.75") == pytest.approx(0.55)
    assert choose_threshold(score, abnormal, "precision>=0.9") == pytest.approx(0.75)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=30))
def test_chosen_precision_is_reached_or_said_to_be_out_of_reach(cases: list[tuple[float, bool]]) -> None:
    score, abnormal = np.array([one[0] for one in cases]), np.array([one[1] for one in cases])
    assume(abnormal.any() and not abnormal.all())
    reached = [abnormal[score >= one].mean() for one in score]
    try:
        threshold = choose_threshold(score, abnormal, "precision>=0.8")
    except DataError:
        assert max(reached) < 0.8
        return
    predicted = score >= threshold
    assert abnormal[predicted].mean() >= 0.8
    best = max(
        abnormal[score >= one].sum() for one, share in zip(score, reached, strict=True) if share >= 0.8
    )
    assert (predicted & abnormal).sum() == best


def test_a_precision_out_of_reach_is_one_sentence() -> None:
    with pytest.raises(DataError) as caught:
        choose_threshold([0.9, 0.8, 0.2], [0, 1, 0], "precision>=0.9")
    assert str(caught.value) == (
        "no threshold has a precision of 0.9 on these cases; the highest is 0.5; ask for a lower precision"
    )


def test_predictive_values_by_hand() -> None:
    # Of 1000 people 20 are abnormal: 18 found, 2 missed; 980 healthy: 49 false alarms, 931 cleared.
    ppv, npv = predictive_values(0.9, 0.95, 0.02)
    assert ppv == pytest.approx(18 / 67)
    assert npv == pytest.approx(931 / 933)
    with pytest.raises(DataError, match=r"prevalence 0 is not between 0 and 1; write 0\.05 for 5 %"):
        predictive_values(0.9, 0.9, 0)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_likelihood_ratios_turn_prior_odds_into_predictive_values(
    found: float, cleared: float, share: float
) -> None:
    up, down = likelihood_ratios(found, cleared)
    ppv, npv = predictive_values(found, cleared, share)
    odds = share / (1 - share)
    assert odds * up == pytest.approx(ppv / (1 - ppv), rel=1e-6)
    assert odds * down == pytest.approx((1 - npv) / npv, rel=1e-6)


def test_point_counts_patients_and_says_why_a_ratio_is_missing() -> None:
    abnormal = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    predicted = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    people = np.array([*"aabbccdd"])
    point = decision_figures(predicted, abnormal, people, [0.2])
    assert (point.sensitivity.k, point.sensitivity.n) == (3, 4)
    assert point.specificity.value == 1
    assert (point.specificity.low, point.specificity.high) == wilson_interval(2, 2)
    assert point.lr_positive == Figure(
        value=None,
        reason="no normal case was classified as abnormal: the ratio has no finite value, and is at least 0.512"
        " (95 %)",
    )
    assert point.lr_negative.value == pytest.approx(0.25)
    assert point.at_prevalence[0].ppv.value == 1
    nobody = decision_figures(np.zeros(8, bool), abnormal, people, [0.2])
    assert (
        nobody.precision.reason == nobody.at_prevalence[0].ppv.reason == "no case was classified as abnormal"
    )
    with pytest.raises(DataError, match="all 8 cases are abnormal; judge an operating point on both kinds"):
        decision_figures(predicted, np.ones(8, bool), people)


def of_counts(missed: int, abnormal: int, alarms: int, healthy: int) -> Decisions:
    """Decisions on as many images, one per patient, at a prevalence of 5 %."""
    truth = np.arange(abnormal + healthy) < abnormal
    positive = np.concatenate([np.arange(abnormal) >= missed, np.arange(healthy) < alarms])
    return decision_figures(positive, truth, np.arange(len(truth)), [0.05])


def percents(figure: Figure) -> list[float | None]:
    return [end if end is None else round(100 * end, 1) for end in (figure.low, figure.high)]


def test_perfect_decisions_keep_an_interval() -> None:
    perfect = of_counts(0, 100, 0, 100)
    [at] = perfect.at_prevalence
    assert (at.npv.value, percents(at.npv)) == (1, [99.8, 100])
    assert (at.ppv.value, percents(at.ppv)) == (1, [58.7, 100])
    assert (perfect.lr_negative.value, perfect.lr_negative.low) == (0, 0)
    assert perfect.lr_negative.high == pytest.approx(0.037, abs=5e-4)
    assert perfect.lr_positive.value is None and "at least 27" in str(perfect.lr_positive.reason)


@pytest.mark.parametrize(("counts", "ends"), [((0, 100, 1, 100), (14, 703)), ((16, 585, 1, 201), (28, 1381))])
def test_one_false_alarm_leaves_the_ratio_wide_open(
    counts: tuple[int, int, int, int], ends: tuple[int, int]
) -> None:
    ratio = of_counts(*counts).lr_positive
    assert ratio.low is not None and ratio.high is not None
    assert (round(ratio.low), round(ratio.high)) == ends


def test_predictive_values_lie_in_their_intervals() -> None:
    for counts in ((3, 50, 4, 80), (50, 50, 4, 80), (0, 50, 80, 80), (1, 50, 80, 80)):
        [at] = of_counts(*counts).at_prevalence
        figures = [figure for figure in (at.ppv, at.npv) if figure.value is not None]
        assert figures
        assert all(figure.low <= figure.value <= figure.high for figure in figures)  # type: ignore[operator]
    assert of_counts(0, 50, 80, 80).at_prevalence[0].npv.reason == "no case was classified as normal"


def test_net_benefit_by_hand() -> None:
    # 10 images, 4 abnormal. At 0.2: called 6, of which 4 abnormal: 4/10 - 2/10 * 0.25 = 0.35.
    # At 0.6: called 3, of which 2 abnormal: 2/10 - 1/10 * 1.5 = 0.05.
    score = [0.9, 0.8, 0.3, 0.25, 0.7, 0.4, 0.1, 0.1, 0.05, 0.0]
    abnormal = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(net_benefit(score, abnormal, [0.2, 0.6]), [0.35, 0.05])
    np.testing.assert_allclose(treat_all(0.4, [0.2, 0.6]), [0.4 - 0.6 * 0.25, 0.4 - 0.6 * 1.5])


def test_a_model_that_calls_everybody_is_treating_everybody() -> None:
    abnormal = np.arange(20) % 3 == 0
    at = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(net_benefit(np.ones(20), abnormal, at), treat_all(abnormal.mean(), at))
    np.testing.assert_allclose(net_benefit(np.zeros(20), abnormal, at), 0)
    np.testing.assert_allclose(net_benefit(abnormal.astype(float), abnormal, at), abnormal.mean())


def test_decision_curve_holds_its_values_and_refuses_bad_thresholds() -> None:
    rng = np.random.default_rng(0)
    abnormal = rng.random(200) < 0.4
    score = np.clip(rng.normal(0.3 + 0.4 * abnormal, 0.2), 0, 1)
    curve = decision_curve(score, abnormal, np.arange(200) // 2, [0.1, 0.5], replicates=300)
    assert all(
        low <= value <= high for low, value, high in zip(curve.low, curve.model, curve.high, strict=True)
    )
    everybody = np.maximum(treat_all(abnormal.mean(), [0.1, 0.5]), 0)
    np.testing.assert_allclose(curve.gain, np.array(curve.model) - everybody, atol=2e-6)
    with pytest.raises(DataError, match="are not all between 0 and 1; give probabilities"):
        net_benefit(score, abnormal, [0.5, 1.0])
