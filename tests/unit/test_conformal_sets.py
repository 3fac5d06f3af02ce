"""Conformal sets: the rank by hand, coverage on drawn exchangeable data, by class as promised, bad input."""

import numpy as np
import pytest
from scipy.stats import binomtest

from hilum.errors import DataError
from hilum.evaluation.conformal_sets import (
    Sizes,
    clopper_pearson,
    coverage_of_chance,
    fit_quantiles,
    prediction_sets,
    repeated_halves,
    set_figures,
)
from hilum.inference.calibrate import softmax

CLASSES = ("normal", "bacteria", "virus")


def images(
    n: int, seed: int = 0, shares: tuple[float, ...] = (0.6, 0.3, 0.1)
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a middling model that is surer of the common class, and the true classes."""
    rng = np.random.default_rng(seed)
    target = rng.choice(3, size=n, p=shares)
    logits = rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[target] + np.array([1.0, 0.3, -0.5])
    return softmax(logits), target


def test_quantile_is_the_rank_of_the_paper() -> None:
    # 9 cases with scores 0.1 ... 0.9: ceil(10 * 0.8) = 8th smallest = 0.8; at alpha 0.05 the 10th: not there.
    scores = np.arange(1, 10) / 10
    p = np.column_stack([1 - scores, scores])
    target = np.zeros(9, int)
    p = np.vstack([p, [[0.5, 0.5]]])
    target = np.append(target, 1)
    by_class = fit_quantiles(p, target, ("a", "b"), 0.2, "class_conditional")
    assert by_class["a"] == pytest.approx(0.8)
    assert by_class["b"] == 1.0  # one case is too few for any promise: the class always stays
    assert fit_quantiles(p, target, ("a", "b"), 0.05, "class_conditional")["a"] == 1.0


def test_coverage_on_exchangeable_data_is_within_its_binomial_interval() -> None:
    p, target = images(40_000)
    quantiles = fit_quantiles(p[:20_000], target[:20_000], CLASSES, 0.1, "marginal")
    sets, truth = prediction_sets(p[20_000:], quantiles, CLASSES), target[20_000:]
    hits = int(sets[np.arange(20_000), truth].sum())
    low, high = clopper_pearson(hits, 20_000)
    assert low <= 0.9 <= high
    assert sets.sum(1).mean() < 2


def test_class_conditional_sets_keep_the_promise_for_the_rare_class() -> None:
    p, target = images(40_000)
    per_class = {}
    for kind in ("marginal", "class_conditional"):
        quantiles = fit_quantiles(p[:20_000], target[:20_000], CLASSES, 0.1, kind)
        sets, truth = prediction_sets(p[20_000:], quantiles, CLASSES), target[20_000:]
        per_class[kind] = [sets[truth == one, one].mean() for one in range(3)]
    assert per_class["marginal"][2] < 0.8
    np.testing.assert_allclose(per_class["class_conditional"], 0.9, atol=0.025)


def test_mean_coverage_of_small_samples_is_nominal_whatever_the_model() -> None:
    """Even for a model that knows nothing the sets hold the truth in 1 - alpha, at the price of size."""
    rng = np.random.default_rng(0)
    p, target = softmax(rng.normal(size=(400, 2))), rng.integers(0, 2, 400)
    many = repeated_halves(p, target, p.argmax(1), np.arange(400), ("a", "b"), 0.1, "marginal", divisions=200)
    assert many.coverage.value == pytest.approx(0.9, abs=0.01)
    assert many.mean_size.value > 1.7
    assert many.coverage.low < 0.9 < many.coverage.high and many.within.n == 200
    assert many.divisions == 200


def test_coverage_of_chance_is_what_repeated_draws_show() -> None:
    found = []
    for seed in range(300):
        p, target = images(300, seed)
        quantiles = fit_quantiles(p[:150], target[:150], CLASSES, 0.1, "marginal")
        sets = prediction_sets(p[150:], quantiles, CLASSES)
        found.append(sets[np.arange(150), target[150:]].mean())
    low, high = coverage_of_chance([Sizes(150, 150, 150, 150)], 0.1)
    inside = np.mean([(low <= one <= high) for one in found])
    assert 0.92 <= inside <= 0.99


def test_block_by_hand() -> None:
    sets = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 0]], bool)
    block = set_figures(
        sets,
        np.array([0, 1, 0, 1, 1]),
        np.array([0, 1, 0, 1, 0]),
        [*"abcde"],
        ("normal", "abnormal"),
        replicates=100,
    )
    assert (block.coverage.k, block.coverage.n) == (3, 5)
    assert block.mean_size.value == pytest.approx(1.0)
    assert block.abstained.value == pytest.approx(0.4)
    assert (block.correct_if_single.k, block.correct_if_single.n) == (2, 3)
    assert block.per_class["abnormal"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (90, 100)])
def test_clopper_pearson_is_scipys(k: int, n: int) -> None:
    exact = binomtest(k, n).proportion_ci(method="exact")
    assert clopper_pearson(k, n) == pytest.approx((exact.low, exact.high))


def test_bad_input_is_one_sentence() -> None:
    p, target = images(30)
    with pytest.raises(DataError, match=r"alpha 1 is not between 0 and 1; write 0\.1 for a coverage of 90 %"):
        fit_quantiles(p, target, CLASSES, 1, "marginal")
    with pytest.raises(DataError, match="none of 2 calibration cases is 'virus'; use a split that holds"):
        fit_quantiles(p[:2], [0, 1], CLASSES, 0.1, "marginal")
    with pytest.raises(DataError, match="there is no conformal quantile for class 'virus'"):
        prediction_sets(p, {"normal": 0.1, "bacteria": 0.1}, CLASSES)
