"""The bootstrap draws patients, reproducibly; its intervals are as wide as they should be."""

import numpy as np
import pytest

from hilum.evaluation.intervals import bootstrap, bootstrap_weights, percentile_interval, with_interval

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


def test_replicates_without_a_class_are_counted_and_kept() -> None:
    patients, target = ["a", "b", "c"], [0, 1, 1]
    values, short = bootstrap(lambda w: {"healthy": w[:, 0]}, patients, target, replicates=3000, seed=0)
    without_a, only_a = (2 / 3) ** 3, (1 / 3) ** 3
    assert short / 3000 == pytest.approx(without_a + only_a, abs=0.03)
    assert set(values["healthy"].tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert len(values["healthy"]) == 3000


def test_undefined_replicates_are_said_and_many_leave_no_interval() -> None:
    some = with_interval(50.0, [*range(101), *[np.nan] * 5])
    assert (some.low, some.high) == pytest.approx((2.5, 97.5))
    assert some.note == "not defined in 5 of 106 bootstrap samples"
    many = with_interval(50.0, [*range(101), *[np.inf] * 6])
    assert (many.low, many.high, many.note) == (None, None, None)
    assert many.reason == "not defined in 6 of 107 bootstrap samples: too few patients for an interval"


def test_no_interval_is_a_point() -> None:
    assert np.isnan(percentile_interval([1.0] * 1000 + [0.9])).all()
    assert with_interval(1.0, [1.0] * 100).low is None
    assert np.isnan(percentile_interval([])).all()


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
