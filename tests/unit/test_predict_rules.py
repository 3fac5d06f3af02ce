"""From logits to a decision: thresholds, calibrated probabilities, sets and why a set is a reason to abstain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.artifacts.card import ScalingFacts
from hilum.errors import DataError, ModelError
from hilum.inference.calibrate import Scaling, prediction_sets, softmax, temperature_scaling
from hilum.inference.rules import Rules, classes_in_two_steps
from tests.unit.cards import calibration, card, conformal, threshold, two_steps

TWO = ("normal", "pneumonia")
THREE = ("normal", "bacteria", "virus")


def test_the_card_gives_threshold_calibration_and_quantiles() -> None:
    rules = Rules.of(
        card(
            TWO,
            threshold=threshold(0.3),
            calibration=calibration(ScalingFacts(method="temperature", temperature=2.0)),
            conformal=conformal({"normal": 0.4, "pneumonia": 0.75}),
        ),
        TWO,
    )
    # P(pneumonia) = 0.31, 0.29, 0.9; the set keeps normal from P = 0.6 and pneumonia from P = 0.25.
    found = rules.decide(np.log([[0.69, 0.31], [0.71, 0.29], [0.1, 0.9]]))
    assert found.predicted == ["pneumonia", "normal", "pneumonia"]
    assert found.sets == [["normal", "pneumonia"], ["normal", "pneumonia"], ["pneumonia"]]
    assert found.uninformative[0] == "The prediction set holds every class at a coverage of 0.9."
    assert found.uninformative[2] == ""
    assert found.probabilities[2] == pytest.approx([0.25, 0.75])  # odds of 9 become odds of 3
    assert found.positive is not None and found.positive.tolist() == [True, False, True]
    odds = np.sqrt(0.3 / 0.7)
    assert found.thresholds == pytest.approx([odds / (1 + odds)] * 3)
    assert rules.coverage == 0.9


def test_an_empty_set_and_a_set_without_the_predicted_class_are_named() -> None:
    rules = Rules(THREE, quantiles={"normal": 0.2, "bacteria": 0.3, "virus": 0.6}, coverage=0.95)
    found = rules.decide(np.log([[0.4, 0.3, 0.3], [0.5, 0.1, 0.4]]))
    assert found.sets == [[], ["virus"]]
    assert found.uninformative == [
        "The prediction set is empty: at a coverage of 0.95 no class is probable enough.",
        "The prediction set does not hold the predicted class, normal.",
    ]


def test_three_classes_are_decided_in_two_steps_where_the_card_says_so() -> None:
    logits = np.log([[0.4, 0.35, 0.25], [0.7, 0.1, 0.2]])
    plain, stepped = Rules(THREE), Rules.of(card(THREE, two_steps=two_steps(0.5)), THREE)
    assert plain.decide(logits).predicted == ["normal", "normal"]
    assert stepped.decide(logits).predicted == ["bacteria", "normal"]
    found = plain.decide(logits)
    assert found.abnormal == pytest.approx([0.6, 0.3])
    assert found.thresholds == pytest.approx([0.5, 0.5])
    assert found.positive is not None and found.positive.tolist() == [True, False]


def test_a_model_without_a_healthy_class_says_nothing_about_abnormal() -> None:
    found = Rules(("bacteria", "virus")).decide(np.zeros((1, 2)))
    assert (found.abnormal, found.thresholds, found.positive) == (None, None, None)
    assert found.predicted == ["virus"]


scalings = st.one_of(
    st.floats(0.1, 10).map(lambda t: temperature_scaling(t, 3)),
    st.tuples(*[st.tuples(st.floats(0.1, 10), st.floats(-3, 3))] * 3).map(
        lambda pairs: Scaling("vector", tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    ),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.floats(0.05, 0.95), scalings)
def test_positive_is_always_at_or_above_the_threshold(
    logits: list[float], threshold: float, scaling: Scaling
) -> None:
    """Whatever the calibration: the decision on the model's own scale is that on the stated one."""
    found = Rules(THREE, threshold, scaling).decide(np.array([logits]))
    assert found.abnormal is not None and found.thresholds is not None and found.positive is not None
    own = 1 - softmax([logits])[0, 0]
    assert bool(found.positive[0]) == (own >= threshold)
    distance = found.abnormal[0] - found.thresholds[0]
    assert abs(distance) < 1e-9 or (distance > 0) == bool(found.positive[0])


def test_entries_for_other_weights_or_without_a_quantile_are_refused() -> None:
    with pytest.raises(
        ModelError, match="the card's conformal was made for other weights; run: hilum evaluate"
    ):
        Rules.of(card(TWO, conformal=conformal({}, "b")), TWO)
    with pytest.raises(DataError, match="no conformal quantile for class 'pneumonia'"):
        prediction_sets([[0.5, 0.5]], {"normal": 0.1}, TWO)


def test_two_steps_by_hand() -> None:
    found = classes_in_two_steps([[0.51, 0.2, 0.29], [0.5, 0.3, 0.2]], THREE, 0.5)
    assert found.tolist() == ["normal", "bacteria"]
