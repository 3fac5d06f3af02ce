"""Curves against scikit-learn, bands by hand and by simulation, calibration bins by hand."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from hilum.errors import DataError
from hilum.evaluation import metrics as m
from hilum.evaluation.curves import calibration_bins, pr_band, pr_curve, roc_band, roc_curve
from hilum.evaluation.shares import wilson_interval


@pytest.fixture
def cases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores with ties, truth, patients."""
    rng = np.random.default_rng(0)
    abnormal = rng.random(80) < 0.6
    return (rng.normal(size=80) + abnormal).round(1), abnormal, rng.integers(0, 40, 80)


def test_roc_equals_scikit_learn(cases: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    score, abnormal, _ = cases
    fpr, tpr, thresholds = sk.roc_curve(abnormal, score, drop_intermediate=False)
    curve = roc_curve(score, abnormal)
    assert curve["fpr"] == pytest.approx(fpr)
    assert curve["tpr"] == pytest.approx(tpr)
    assert (curve["thresholds"] == thresholds).all()
    assert sk.auc(curve["fpr"], curve["tpr"]) == pytest.approx(m.auroc(score, abnormal))


def test_pr_equals_scikit_learn(cases: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    score, abnormal, _ = cases
    precision, recall, thresholds = sk.precision_recall_curve(abnormal, score)
    curve = pr_curve(score, abnormal)
    # scikit-learn runs the other way, and its extra point has precision 1.
    assert curve["precision"][1:] == pytest.approx(precision[-2::-1])
    assert curve["recall"] == pytest.approx(recall[::-1])
    assert (curve["thresholds"][1:] == thresholds[::-1]).all()
    assert np.isinf(curve["thresholds"][0])
    steps = (np.diff(curve["recall"]) * curve["precision"][1:]).sum()
    assert steps == pytest.approx(m.average_precision(score, abnormal))


def test_the_band_of_a_perfect_model_has_a_width() -> None:
    score, abnormal, patients = np.arange(40), np.arange(40) >= 20, np.arange(40)
    roc, pr = roc_band(score, abnormal, patients), pr_band(score, abnormal, patients)
    lowest = wilson_interval(20, 20)[0]
    for band in (roc, pr):
        assert band["high"].max() == band["high"].min() == 1
        assert band["low"].max() < 0.96
    assert roc["low"][-1] == pytest.approx(lowest) and pr["low"][-1] == pytest.approx(lowest)


def test_the_bands_hold_the_true_curves_of_normal_scores() -> None:
    grid, held = np.array([0.05, 0.3, 0.8]), []
    rng = np.random.default_rng(0)
    for _ in range(60):
        abnormal = np.arange(120) % 2 == 0
        score = 2 * abnormal + rng.normal(size=120)
        roc = roc_band(score, abnormal, np.arange(120), grid)
        pr = pr_band(score, abnormal, np.arange(120), grid)
        height = stats.norm.cdf(2 + stats.norm.ppf(grid))
        alarms = stats.norm.sf(2 - stats.norm.ppf(grid))
        held.append([(roc["low"] <= height) & (height <= roc["high"])])
        precision = grid / (grid + alarms)
        held.append([(pr["low"] <= precision) & (precision <= pr["high"])])
    assert 0.92 < np.mean(held) < 0.99


def test_the_band_holds_the_curve_and_is_wider_over_patients(
    cases: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    score, abnormal, _ = cases
    curve, band = roc_curve(score, abnormal), roc_band(score, abnormal, np.arange(80))
    assert len(band["fpr"]) == 101
    upper = np.array([curve["tpr"][curve["fpr"] <= x].max() for x in band["fpr"]])
    assert (upper <= band["high"] + 1e-9).all()
    assert (upper >= band["low"] - 0.1).all()
    # The same images shown four times: as 80 patients the band stays, as 320 it halves.
    score, abnormal = np.tile(score, 4), np.tile(abnormal, 4)
    by_patient, by_image = (roc_band(score, abnormal, who) for who in (np.arange(320) % 80, np.arange(320)))
    width, narrow = ((band["high"] - band["low"])[10:50].mean() for band in (by_patient, by_image))
    assert width / narrow == pytest.approx(2, rel=0.2)


def test_calibration_by_hand() -> None:
    probability = [0.05, 0.15, 0.30, 0.40, 0.80, 0.90]
    low, middle, high = calibration_bins(probability, [0, 0, 1, 0, 1, 1], bins=3)
    assert (low.lowest, low.highest, low.k, low.n) == (0.05, 0.15, 0, 2)
    assert (middle.probability, middle.observed) == (pytest.approx(0.35), 0.5)
    assert (middle.low, middle.high) == wilson_interval(1, 2)
    assert (high.k, high.n) == (2, 2)


def test_calibration_never_parts_equal_probabilities() -> None:
    probability = np.array([0.0] * 7 + [0.4, 0.6, 1.0])
    abnormal = np.array([0, 1, 0, 1, 0, 0, 0, 1, 1, 1])
    bins = calibration_bins(probability, abnormal, bins=5)
    assert [group.n for group in bins] == [7, 1, 2]
    assert calibration_bins(probability[::-1], abnormal[::-1], bins=5) == bins
    # A tie goes to the bin that its middle lies in.
    assert [group.n for group in calibration_bins([0.1, 0.2, 0.2, 0.2, 0.3, 0.4], [0] * 6, bins=3)] == [
        1,
        3,
        2,
    ]


def test_calibration_of_a_calibrated_model() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(4000)
    bins = calibration_bins(probability, rng.random(4000) < probability)
    assert [group.n for group in bins] == [400] * 10
    assert sum(group.low <= group.probability <= group.high for group in bins) >= 9


def test_curves_need_both_classes_and_numbers() -> None:
    with pytest.raises(
        DataError, match="a curve needs cases of both classes, here all are the same; use a split"
    ):
        roc_curve([0.1, 0.2], [1, 1])
    with pytest.raises(DataError, match="a curve needs cases of both classes"):
        pr_band([], [], [])
    with pytest.raises(DataError, match=r"the score of case 1 \(counted from 0\) is NaN"):
        pr_curve([0.1, float("nan")], [0, 1])
    with pytest.raises(DataError, match="the probability of case 0"):
        calibration_bins([1.2, 0.1], [0, 1])
