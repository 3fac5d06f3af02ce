"""The bootstrap draws patients, reproducibly; its intervals are as wide as they should be."""

import numpy as np
import pytest
from scipy import stats

from hilum.evaluation.intervals import bootstrap, bootstrap_weights, percentile_interval, wilson_interval

PATIENTS = ["ann", "bob", "ann", "cem", "bob", "ann"]


def all_weights(**options: int) -> np.ndarray:
    settings = {"replicates": 50, "seed": 3} | options
    return np.concatenate(list(bootstrap_weights(PATIENTS, **settings)))


def test_images_of_a_patient_come_and_go_together() -> None:
    weights = all_weights()
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, 0] + weights[:, 1] + weights[:, 3] == 3).all()  # as many patients as there are
    assert len(np.unique(weights, axis=0)) > 5


def test_the_seed_decides_and_the_block_size_does_not() -> None:
    assert (all_weights() == all_weights()).all()
    assert (all_weights() == all_weights(block=1)).all()
    assert (all_weights() == all_weights(block=100)).all()
    assert (all_weights() != all_weights(seed=4)).any()


def test_blocks_bound_the_memory() -> None:
    assert [len(block) for block in bootstrap_weights(PATIENTS, replicates=7, seed=0, block=18)] == [3, 3, 1]


def test_patients_are_drawn_as_a_multinomial() -> None:
    counts = np.concatenate(list(bootstrap_weights(range(10), replicates=4000, seed=0)))
    assert counts.mean() == 1.0
    assert counts.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.1)  # n p (1 - p)
    assert np.corrcoef(counts.T)[0, 1:] == pytest.approx(np.full(9, -1 / 9), abs=0.06)


def test_replicates_without_a_class_are_dropped_and_counted() -> None:
    patients, target = ["a", "b", "c"], [0, 1, 1]
    values, dropped = bootstrap(lambda w: {"healthy": w[:, 0]}, patients, target, replicates=3000, seed=0)
    without_a, only_a = (2 / 3) ** 3, (1 / 3) ** 3
    assert dropped / 3000 == pytest.approx(without_a + only_a, abs=0.03)
    assert len(values["healthy"]) == 3000 - dropped
    assert set(values["healthy"].tolist()) == {1.0, 2.0}


def test_percentiles_leave_undefined_replicates_out_unless_most_are() -> None:
    assert percentile_interval([*range(101), *[np.nan] * 50], level=0.9) == pytest.approx((5, 95))
    assert np.isnan(percentile_interval([1.0, np.nan, np.nan])).all()
    assert np.isnan(percentile_interval([])).all()


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 8), (8, 8), (437, 624), (521, 624), (3, 7)])
def test_wilson_equals_scipy(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_only_the_patient_interval_covers_the_truth_when_images_agree() -> None:
    """60 patients with 5 equal images each: 300 images tell no more than 60 patients."""
    rng = np.random.default_rng(0)
    truth, rounds, patients = 0.8, 150, np.repeat(np.arange(60), 5)
    covered, widths = {"patient": 0, "image": 0}, {"patient": 0.0, "image": 0.0}
    for number in range(rounds):
        right = np.repeat(rng.random(60) < truth, 5)
        for unit, groups in (("patient", patients), ("image", np.arange(300))):
            drawn = np.concatenate(
                [w @ right / w.sum(1) for w in bootstrap_weights(groups, 200, seed=number)]
            )
            low, high = percentile_interval(drawn)
            covered[unit] += low <= truth <= high
            widths[unit] += (high - low) / rounds
    assert covered["patient"] / rounds > 0.88
    assert covered["image"] / rounds < 0.75
    assert widths["patient"] / widths["image"] == pytest.approx(5**0.5, rel=0.1)
