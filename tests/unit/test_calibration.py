"""Calibration: hand-computed errors, planted overconfidence that is found, parts that sum up, bad input."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.artifacts.card import ScalingFacts
from hilum.errors import DataError, ModelError
from hilum.evaluation.calibration import (
    brier_parts,
    calibration_figures,
    cross_fitted,
    ece,
    ece_of_chance,
    fit_temperature,
    fit_vector,
)
from hilum.evaluation.crossfit import folds, patient_parts
from hilum.evaluation.intervals import bootstrap_weights
from hilum.evaluation.metrics import brier, brier_multiclass, log_loss
from hilum.inference.calibrate import Scaling, softmax, temperature_scaling
from hilum.inference.rules import Rules
from tests.unit.cards import calibration, card

CLASSES = ("normal", "bacteria", "virus")


def drawn(n: int = 4000, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose probabilities come true exactly as often as they say, and classes drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    edges = softmax(logits).cumsum(1)
    return logits, (rng.random(n)[:, None] > edges).sum(1).clip(0, classes - 1)


def test_ece_by_hand() -> None:
    # Sorted into three bins of two: means 0.15, 0.45, 0.9; shares 0, 1/2, 1; gaps 0.15, 0.05, 0.1.
    stated, came = [0.9, 0.1, 0.5, 0.2, 0.9, 0.4], [1, 0, 1, 0, 1, 0]
    assert ece(stated, came, bins=3) == pytest.approx((0.15 + 0.05 + 0.1) / 3)


def test_ece_of_weights_is_that_of_repeated_cases_in_the_same_bins() -> None:
    stated, came = np.array([0.1, 0.3, 0.6, 0.8]), np.array([0, 1, 1, 1])
    [one] = np.asarray(ece(stated, came, 2, weights=[[2, 0, 1, 3]]))
    # Bin 1: twice 0.1 said, never seen. Bin 2: 0.6 + 3 x 0.8 said, 4 of 4 seen.
    assert one == pytest.approx((abs(0.2 - 0) + abs(3.0 - 4)) / 6)


def test_calibrated_probabilities_stay_within_what_chance_makes() -> None:
    logits, target = drawn(3000, 2)
    stated = softmax(logits)[:, 1]
    chance = ece_of_chance(stated, target, np.arange(3000), seed=1)
    assert ece(stated, target) < chance.high
    assert ece(softmax(3 * logits)[:, 1], target) > 3 * chance.high
    assert 0 < chance.mean < chance.high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40), st.integers(1, 8))
def test_brier_parts_sum_to_the_score(cases: list[tuple[float, bool]], bins: int) -> None:
    stated, came = np.array([one[0] for one in cases]), np.array([one[1] for one in cases])
    parts = brier_parts(stated, came, bins)
    summed = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"]
    assert summed == pytest.approx(parts["score"], abs=1e-12)
    assert parts["score"] == pytest.approx(brier(stated, came), abs=1e-12)
    assert min(parts[name] for name in ("reliability", "resolution", "uncertainty")) >= -1e-12


def test_within_is_variance_less_covariance_in_the_bins() -> None:
    """Stephenson 2008: what a bin loses is its variance of the statements less twice its covariance."""
    rng = np.random.default_rng(3)
    stated = np.sort(rng.random(60))
    came = rng.random(60) < stated
    parts = brier_parts(stated, came, bins=3)
    expected = 0.0
    for start, end in pairwise((0, 20, 40, 60)):
        p, y = stated[start:end], came[start:end].astype(float)
        expected += len(p) / 60 * (p.var() - 2 * np.cov(p, y, bias=True)[0, 1])
    assert parts["within"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("factor", [3.0, 1.0, 0.4])
def test_planted_temperature_is_found(factor: float) -> None:
    logits, target = drawn()
    assert fit_temperature(factor * logits, target, CLASSES).temperature == pytest.approx(factor, rel=0.06)


def test_temperature_is_where_the_loss_is_lowest() -> None:
    logits, target = drawn(300, seed=5)
    best = fit_temperature(2 * logits, target, CLASSES).temperature
    grid = np.linspace(0.5, 5, 2000)
    losses = [log_loss(softmax(2 * logits / one), target) for one in grid]
    assert best == pytest.approx(grid[int(np.argmin(losses))], abs=0.01)


def test_vector_scaling_finds_planted_scales_and_shifts() -> None:
    logits, target = drawn(20_000)
    spoiled = logits / np.array([0.5, 1.0, 2.0]) - np.array([0.0, 1.0, -1.0])
    scaling = fit_vector(spoiled, target, CLASSES)
    np.testing.assert_allclose(scaling.scale, [0.5, 1, 2], rtol=0.06)
    # spoiled * scale + shift must be the logits but for one number common to all classes
    np.testing.assert_allclose(scaling.shift, [0, 1, -2], atol=0.1)
    assert log_loss(softmax(scaling(spoiled)), target) < log_loss(softmax(spoiled), target)


def test_class_weights_are_what_a_temperature_cannot_mend() -> None:
    """A constant added to one class's logit: vector scaling finds it, temperature does not."""
    logits, target = drawn(8000, 2)
    shifted = logits + np.array([2.0, 0.0])
    after = {
        fit.__name__: ece(softmax(fit(shifted, target, CLASSES[:2])(shifted))[:, 1], target)
        for fit in (fit_temperature, fit_vector)
    }
    assert after["fit_vector"] < 0.02 < 0.05 < after["fit_temperature"]


def test_a_model_without_mistakes_stops_at_the_coldest() -> None:
    logits = np.array([[0.2, 0.0], [0.0, 0.2]])
    assert fit_temperature(logits, [0, 1], CLASSES[:2]).temperature == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("fit", [fit_temperature, fit_vector])
def test_one_class_cannot_be_calibrated(fit) -> None:
    with pytest.raises(DataError) as caught:
        fit(np.zeros((4, 2)), [0, 0, 0, 0], ("normal", "pneumonia"))
    assert str(caught.value) == (
        "calibration needs cases of every class, and none of 4 is 'pneumonia'; "
        "fit on a split that holds them all"
    )
    with pytest.raises(DataError, match=r"a logit of case 1 \(counted from 0\) is no number"):
        fit([[0.0, 1.0], [np.nan, 0.0]], [0, 1], ("normal", "pneumonia"))


def test_bad_probabilities_are_named() -> None:
    with pytest.raises(DataError, match=r"probability of case 1 \(counted from 0\) is 1.5"):
        ece([0.1, 1.5], [0, 1])
    with pytest.raises(DataError, match="there are no cases to judge calibration on"):
        brier_parts([], [])


def test_block_agrees_with_the_metrics_and_its_intervals_hold_the_value() -> None:
    logits, target = drawn(400)
    patients = np.arange(400) // 2
    block = calibration_figures(2 * logits, target, patients, replicates=300)
    assert block.brier.score.value == pytest.approx(brier_multiclass(softmax(2 * logits), target))
    entries = [block.ece, block.log_loss, *dict(block.brier).values()]
    assert all(figure.low <= figure.value <= figure.high for figure in entries)


def test_cross_fitting_lets_no_patient_judge_itself() -> None:
    patients = np.array([f"p{number // 3}" for number in range(90)])
    target = np.array([f"c{number // 3 % 3}" for number in range(90)])
    seen = np.zeros(90, int)
    for fit, judge in folds(patients, target, 5, seed=0):
        assert not set(patients[fit]) & set(patients[judge])
        assert set(target[fit]) == set(target[judge]) == set(target)
        seen += judge
    assert (seen == 1).all()


def test_cross_fitted_logits_are_those_of_the_other_parts() -> None:
    logits, target = drawn(60, seed=2)
    patients = np.arange(60)
    scaled = cross_fitted(fit_temperature, logits, target, patients, CLASSES, 5, seed=4)
    part = patient_parts(patients, np.array(CLASSES)[target], 5, seed=4)
    for one in range(5):
        own = fit_temperature(logits[part != one], target[part != one], CLASSES)
        np.testing.assert_allclose(scaled[part == one], own(logits[part == one]))


def test_parts_do_not_depend_on_the_order_of_the_cases() -> None:
    patients, target = np.arange(40), np.arange(40) % 2
    order = np.random.default_rng(0).permutation(40)
    part = patient_parts(patients, target, 4, seed=1)
    np.testing.assert_array_equal(patient_parts(patients[order], target[order], 4, seed=1), part[order])
    with pytest.raises(DataError, match="class 'abnormal' has 1 patients: too few for 2 parts by patient"):
        patient_parts(["a", "a", "b", "c"], ["abnormal", "abnormal", "well", "well"], 2, seed=0)


@pytest.mark.parametrize("scaling", [temperature_scaling(1.7, 2), Scaling("vector", (1.0, 0.5), (0.0, 2.0))])
def test_scaling_survives_the_card(scaling: Scaling) -> None:
    known = card(["normal", "pneumonia"], calibration=calibration(scaling.facts()))
    rules = Rules.of(known, known.classes)
    logits = np.array([[1.0, -2.0], [0.3, 0.1]])
    assert rules.scaling is not None
    np.testing.assert_allclose(rules.scaling(logits), scaling(logits))
    np.testing.assert_allclose(rules.decide(logits).probabilities, softmax(scaling(logits)))


def test_a_card_of_other_weights_is_refused() -> None:
    plain = card(["a", "b"], "new")
    assert Rules.of(plain, plain.classes) == Rules.of(None, plain.classes) == Rules(("a", "b"))
    assert Rules.of(plain, plain.classes).decide(np.zeros((1, 2))).sets is None
    old = calibration(temperature_scaling(2.0, 2).facts(), "old")
    with pytest.raises(ModelError, match="the card's calibration was made for other weights"):
        Rules.of(card(["a", "b"], "new", calibration=old), ["a", "b"])
    for wrong in (ScalingFacts(method="temperature", temperature=-1), ScalingFacts(method="vector")):
        with pytest.raises(ModelError, match="can't be used; run: hilum evaluate RUN"):
            Rules.of(card(["a", "b"], "new", calibration=calibration(wrong, "new")), ["a", "b"])


def test_vector_scaling_has_no_temperature() -> None:
    with pytest.raises(ValueError, match="no single temperature"):
        _ = Scaling("vector", (1.0, 1.0), (0.0, 0.0)).temperature


def test_vectorised_ece_equals_a_plain_loop() -> None:
    logits, target = drawn(80, 2)
    stated = softmax(logits)[:, 1]
    order = np.argsort(stated, kind="stable")
    bins = np.empty(80, int)
    bins[order] = np.arange(80) * 4 // 80
    weights = np.concatenate(list(bootstrap_weights(np.arange(80), 20, seed=0)))
    for fast, row in zip(np.asarray(ece(stated, target, 4, weights)), weights.astype(int), strict=True):
        cases = np.repeat(np.arange(80), row)
        slow = sum(
            (bins[cases] == b).sum()
            / len(cases)
            * abs(stated[cases][bins[cases] == b].mean() - target[cases][bins[cases] == b].mean())
            for b in set(bins[cases])
        )
        assert fast == pytest.approx(slow, abs=1e-12)
