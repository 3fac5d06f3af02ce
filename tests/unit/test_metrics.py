"""Each metric against scikit-learn with weights, against repeated rows, and against numbers typed by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from hilum.errors import DataError
from hilum.evaluation import metrics as m

REPEATABLE = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def ranked(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores on a coarse grid (many ties), both classes present, counts with zeros but no class lost."""
    n = draw(st.integers(2, 30))
    score = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 6))) / 6
    positive = draw(hnp.arrays(np.bool_, n))
    positive[0], positive[1] = False, True
    weights = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 4)))
    weights[:2] = np.maximum(weights[:2], 1)
    return score, positive, weights


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Targets and predictions of 2 to 4 classes in which every class occurs and is predicted, and counts."""
    classes = draw(st.integers(2, 4))
    n = draw(st.integers(2 * classes, 40))
    target, predicted = (draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1))) for _ in (0, 1))
    target[:classes] = predicted[classes : 2 * classes] = np.arange(classes)
    weights = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 4)))
    weights[: 2 * classes] = np.maximum(weights[: 2 * classes], 1)
    return target, predicted, weights, classes


def near(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-12, abs=1e-12)


# -- against scikit-learn ------------------------------------------------------------------------------------


@REPEATABLE
@given(ranked())
def test_ranking_equals_scikit_learn(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    score, positive, weights = drawn
    assert m.auroc(score, positive) == near(sk.roc_auc_score(positive, score))
    assert m.auroc(score, positive, weights) == near(sk.roc_auc_score(positive, score, sample_weight=weights))
    assert m.average_precision(score, positive) == near(sk.average_precision_score(positive, score))
    assert m.average_precision(score, positive, weights) == near(
        sk.average_precision_score(positive, score, sample_weight=weights)
    )


@REPEATABLE
@given(classified())
def test_counts_equal_scikit_learn(drawn: tuple[np.ndarray, np.ndarray, np.ndarray, int]) -> None:
    target, predicted, weights, classes = drawn
    table = m.confusion_matrix(target, predicted, classes, weights)
    about: dict[str, Any] = {"y_true": target, "y_pred": predicted, "sample_weight": weights}
    assert table.tolist() == sk.confusion_matrix(**about).tolist()
    assert m.accuracy(table) == near(sk.accuracy_score(**about))
    assert m.balanced_accuracy(table) == near(sk.balanced_accuracy_score(**about))
    assert m.mcc(table) == near(sk.matthews_corrcoef(**about))
    assert m.macro(m.sensitivity, table) == near(sk.recall_score(**about, average="macro"))
    assert m.macro(m.precision, table) == near(sk.precision_score(**about, average="macro"))
    assert m.macro(m.f1, table) == near(sk.f1_score(**about, average="macro"))
    for one in range(classes):
        rest: dict[str, Any] = {"y_true": target != one, "y_pred": predicted != one, "sample_weight": weights}
        assert m.sensitivity(table, one) == near(sk.recall_score(**rest, pos_label=False))
        assert m.specificity(table, one) == near(sk.recall_score(**rest))
        assert m.precision(table, one) == near(sk.precision_score(**rest, pos_label=False))
        assert m.negative_predictive_value(table, one) == near(sk.precision_score(**rest))
        assert m.f1(table, one) == near(sk.f1_score(**rest, pos_label=False))


def test_probability_scores_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), size=200)
    target, weights = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    loss = sk.log_loss(target, probabilities, sample_weight=weights)
    assert m.log_loss(probabilities, target, weights) == near(loss)
    summed: dict[str, Any] = {"sample_weight": weights, "scale_by_half": False}
    several = sk.brier_score_loss(target, probabilities, **summed)
    assert m.brier_multiclass(probabilities, target, weights) == near(several)
    abnormal, probability = target == 1, probabilities[:, 1]
    two = sk.brier_score_loss(abnormal, probability, sample_weight=weights)
    assert m.brier(probability, abnormal, weights) == near(two)


# -- weights mean repeated rows, replicates mean a loop ------------------------------------------------------


@REPEATABLE
@given(ranked())
def test_a_weight_is_a_repeated_row(drawn: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    score, positive, weights = drawn
    rows = np.repeat(np.arange(len(score)), weights)
    assert m.ranking_metrics(score, positive, weights) == m.ranking_metrics(score[rows], positive[rows])
    assert m.brier(score, positive, weights) == near(m.brier(score[rows], positive[rows]))


def test_replicates_equal_a_loop() -> None:
    rng = np.random.default_rng(1)
    n, classes = 40, 3
    probabilities = rng.dirichlet(np.ones(classes), size=n).round(1) + 1e-3
    target, predicted = rng.integers(0, classes, n), probabilities.argmax(1)
    weights = rng.integers(0, 3, (25, n))

    def everything(some: np.ndarray) -> list[Any]:
        table = m.confusion_matrix(target, predicted, classes, some)
        return [
            *m.ranking_metrics(probabilities[:, 1], target == 1, some),
            m.brier(probabilities[:, 1], target == 1, some),
            m.brier_multiclass(probabilities, target, some),
            m.log_loss(probabilities, target, some),
            *(metric(table) for metric in (m.accuracy, m.balanced_accuracy, m.mcc, m.f1, m.precision)),
            *(metric(table) for metric in (m.sensitivity, m.specificity, m.negative_predictive_value)),
        ]

    at_once = np.array(everything(weights))
    one_by_one = np.array([everything(row) for row in weights]).T
    assert at_once.shape == (13, 25)
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-13)
    assert all(isinstance(value, float) for value in everything(weights[0]))


# -- by hand -------------------------------------------------------------------------------------------------


def test_ties_count_one_half() -> None:
    assert m.auroc([0.5, 0.5], [0, 1]) == 0.5
    assert m.auroc([0.2, 0.5, 0.5], [0, 0, 1]) == 0.75
    assert m.average_precision([0.5, 0.5], [0, 1]) == 0.5


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(2)
    score, positive = rng.integers(0, 8, 50), rng.random(50) < 0.4
    pairs = [
        (abnormal > healthy) + (abnormal == healthy) / 2
        for abnormal in score[positive]
        for healthy in score[~positive]
    ]
    assert m.auroc(score, positive) == near(np.mean(pairs))
    assert m.auroc(-score, ~positive) == near(np.mean(pairs))


def test_the_seed_reports_matrix() -> None:
    table = [[189, 17, 28], [9, 231, 2], [14, 33, 101]]
    assert m.accuracy(table) == 521 / 624
    assert m.sensitivity(table, 0) == 189 / 234
    assert m.specificity(table, 0) == (231 + 2 + 33 + 101) / 390
    assert m.precision(table, 2) == 101 / 131
    assert m.negative_predictive_value(table, 2) == (189 + 17 + 9 + 231) / 493
    assert m.balanced_accuracy(table) == near((189 / 234 + 231 / 242 + 101 / 148) / 3)


def test_sure_and_wrong_costs_a_finite_log_loss() -> None:
    assert m.log_loss([[1.0, 0.0]], [1]) == near(-math.log(1e-7))


def test_two_class_brier_is_half_of_the_summed_one() -> None:
    probability = np.array([0.2, 0.9, 0.4])
    both = np.stack([1 - probability, probability], axis=1)
    assert m.brier(probability, [0, 1, 1]) == near(m.brier_multiclass(both, [0, 1, 1]) / 2)


# -- 0/0 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [[0, 0], [1, 1]])
def test_one_class_has_no_ranking(positive: list[int]) -> None:
    assert math.isnan(m.auroc([0.1, 0.2], positive))
    assert math.isnan(m.average_precision([0.1, 0.2], positive))


def test_nothing_divided_by_nothing_is_nan() -> None:
    never_predicted = [[3, 0], [2, 0]]
    assert math.isnan(m.precision(never_predicted))
    assert math.isnan(m.mcc(never_predicted))
    assert m.f1(never_predicted) == 0.0
    assert m.negative_predictive_value(never_predicted) == 0.6
    absent = [[3, 0], [0, 0]]
    assert math.isnan(m.sensitivity(absent))
    assert math.isnan(m.f1(absent))
    assert math.isnan(m.balanced_accuracy(absent))
    assert m.specificity(absent) == 1.0
    assert math.isnan(m.brier([0.5], [1], [0]))


def test_only_the_undefined_replicate_is_nan() -> None:
    values = np.asarray(m.auroc([0.1, 0.9], [0, 1], [[1, 1], [2, 0], [0, 1]]))
    assert values[0] == 1.0
    assert np.isnan(values[1:]).all()


def test_weights_must_fit() -> None:
    with pytest.raises(ValueError, match=r"weights of shape \(3,\) do not fit 2 cases"):
        m.auroc([0.1, 0.9], [0, 1], [1, 1, 1])


def test_a_score_that_is_nan_is_one_sentence() -> None:
    for metric in (m.auroc, m.average_precision):
        with pytest.raises(DataError, match=r"the score of case 1 \(counted from 0\) is NaN"):
            metric([0.1, np.nan, 0.3], [0, 1, 1])


def test_fractions_as_weights_are_those_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    score, positive, weights = rng.random(50).round(1), rng.random(50) < 0.3, rng.random(50) / 5
    average = sk.average_precision_score(positive, score, sample_weight=weights)
    assert m.average_precision(score, positive, weights) == pytest.approx(average)
    assert m.auroc(score, positive, weights) == pytest.approx(
        sk.roc_auc_score(positive, score, sample_weight=weights)
    )
    with pytest.raises(DataError, match=r"weight 0\.5 is no whole number"):
        m.confusion_matrix([0, 1], [0, 1], 2, weights=[0.5, 1])
