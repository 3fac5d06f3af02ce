"""Paired tests against plain loops, published formulas typed out, and what must hold for any data."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hilum.errors import DataError
from hilum.evaluation.metrics import auroc
from hilum.evaluation.paired import delong, difference, holm, permutation

CHANCE = np.random.default_rng(0)


def drawn(n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    target = CHANCE.permutation([0] * (n // 3) + [1] * (n - n // 3))
    a, b = target + CHANCE.normal(0, 1.2, n), target + CHANCE.normal(0, 2, n)
    return (a.round(1), b.round(1), target) if ties else (a, b, target)


def delong_by_loops(a: np.ndarray, b: np.ndarray, target: np.ndarray) -> float:
    """Eqs. 4 to 6 of DeLong 1988: kernel, structural components, covariances S10 and S01; the z of A - B."""
    abnormal, well = np.flatnonzero(target == 1), np.flatnonzero(target == 0)

    def kernel(x: float, y: float) -> float:
        return 1.0 if x > y else 0.5 if x == y else 0.0

    table = [[[kernel(s[i], s[j]) for j in well] for i in abnormal] for s in (a, b)]
    v10 = [np.mean(one, axis=1) for one in table]
    v01 = [np.mean(one, axis=0) for one in table]
    s = np.cov(v10) / len(abnormal) + np.cov(v01) / len(well)
    areas = [np.mean(one) for one in table]
    return (areas[0] - areas[1]) / np.sqrt(s[0, 0] + s[1, 1] - 2 * s[0, 1])


@pytest.mark.parametrize("ties", [True, False])
def test_delong_equals_the_formulas_of_the_paper(ties: bool) -> None:
    for _ in range(5):
        a, b, target = drawn(ties=ties)
        found = delong(a, b, target)
        assert found.z == pytest.approx(delong_by_loops(a, b, target))
        assert found.first == pytest.approx(auroc(a, target == 1))
        assert found.second == pytest.approx(auroc(b, target == 1))
        assert found.p == pytest.approx(2 * stats.t.sf(abs(found.z), np.bincount(target).min() - 1))


def test_delong_of_probabilities_is_that_of_scores() -> None:
    a, b, target = drawn()
    two = [np.stack([1 - s, s], axis=1) for s in (a, b)]
    assert delong(*two, target) == delong(a, b, target)


def test_delong_with_three_classes_has_the_spread_of_repeated_samples() -> None:
    """The standard error of the mean one-against-rest AUROC's difference against 400 fresh samples."""
    chance, n = np.random.default_rng(1), 150
    target = np.repeat([0, 1, 2], n // 3)

    def sample() -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.eye(3)[target] * pull + chance.normal(0, 1, (n, 3)) for pull in (1.0, 0.7))

    found = [delong(*sample(), target) for _ in range(400)]
    gaps = np.array([one.first - one.second for one in found])
    assert np.mean([one.se for one in found]) == pytest.approx(gaps.std(), rel=0.1)
    assert abs(gaps.mean()) > 0.03


def test_delong_keeps_its_level_when_nothing_differs() -> None:
    chance, target = np.random.default_rng(2), np.repeat([0, 1], 60)
    p = [delong(*(target + chance.normal(0, 1.5, (2, 120))), target).p for _ in range(500)]
    assert 0.025 < np.mean(np.array(p) < 0.05) < 0.08


def test_delong_of_equals_is_no_difference_and_of_too_few_an_error() -> None:
    a, _, target = drawn()
    same = delong(a, 3 * a + 1, target)  # the same ranks
    assert (same.z, same.p) == (0.0, 1.0)
    with pytest.raises(DataError, match="class number 1 has 1 patients, too few"):
        delong([0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0, 0, 1])


def test_with_one_image_a_patient_the_permutation_test_is_mcnemars() -> None:
    """Every outcome of up to ten tosses enumerated."""
    for only_a, only_b in product(range(6), repeat=2):
        right = [1] * only_a + [0] * only_b
        found = permutation(right, [1 - one for one in right])
        n, k = only_a + only_b, min(only_a, only_b)
        by_hand = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
        assert (found.only_first, found.only_second) == (only_a, only_b)
        assert found.p == pytest.approx(by_hand)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=15))
def test_the_permutation_test_counts_every_exchange_of_the_models(rows: list[tuple[int, bool, bool]]) -> None:
    patients, a, b = (np.array(column) for column in zip(*rows, strict=True))
    gains = [int((a[patients == one]).sum()) - int((b[patients == one]).sum()) for one in np.unique(patients)]
    ways = [
        abs(sum(s * g for s, g in zip(signs, gains, strict=True)))
        for signs in product((-1, 1), repeat=len(gains))
    ]
    assert permutation(a, b, patients).p == pytest.approx(np.mean(np.array(ways) >= abs(sum(gains))))


def clustered(chance: np.random.Generator, patients: int, most: int) -> tuple[np.ndarray, ...]:
    """Two equally good models, images of a patient alike: patient, target, and the score of each model."""
    patient = np.repeat(np.arange(patients), chance.integers(1, most + 1, patients))
    target = (np.arange(patients) % 2)[patient]
    own = chance.normal(0, 1, (2, patients))[:, patient]
    return patient, target, *(target * 1.2 + own + chance.normal(0, 0.5, (2, len(patient))))


def test_tests_by_patient_keep_their_level_where_those_by_image_do_not() -> None:
    """300 comparisons of equal models with 1 to 10 images a patient; Monte-Carlo error 1.3 points."""
    chance = np.random.default_rng(5)
    p: dict[str, list[float]] = {name: [] for name in ("delong", "image", "permutation", "mcnemar")}
    for _ in range(300):
        patient, target, a, b = clustered(chance, 80, 10)
        right = [(score > 0.6) == (target == 1) for score in (a, b)]
        p["delong"].append(delong(a, b, target, patient).p)
        p["image"].append(delong(a, b, target).p)
        p["permutation"].append(permutation(*right, patient).p)
        p["mcnemar"].append(permutation(*right).p)
    rate = {name: float(np.mean(np.array(values) < 0.05)) for name, values in p.items()}
    assert 0.02 < rate["delong"] < 0.08 and 0.02 < rate["permutation"] < 0.08
    assert rate["image"] > 0.2 and rate["mcnemar"] > 0.2


def test_the_clustered_variance_is_that_of_repeated_samples() -> None:
    chance = np.random.default_rng(6)
    found = []
    for _ in range(300):
        patient, target, a, b = clustered(chance, 60, 5)
        found.append(delong(a, b, target, patient))
    gaps = np.array([one.first - one.second for one in found])
    assert np.sqrt(np.mean([one.se**2 for one in found])) == pytest.approx(gaps.std(), rel=0.1)


def test_holm_by_hand_and_with_gaps() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([0.02, np.nan, 0.03]) == pytest.approx([0.04, np.nan, 0.04], nan_ok=True)
    assert holm([]).size == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_the_bare_p_and_bonferronis(p: list[float]) -> None:
    corrected, bare = holm(p), np.array(p)
    assert (corrected >= bare - 1e-15).all()
    assert (corrected <= np.minimum(1, len(p) * bare) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(bare, kind="stable")]) >= 0).all()


def test_the_interval_of_a_difference_is_over_patients_and_pairs() -> None:
    """One image per patient: the interval agrees with DeLong's. Every image four times: DeLong's p shrinks, the
    interval over patients does not."""
    chance, n = np.random.default_rng(3), 240
    target = np.repeat([0, 1], n // 2)
    a, b = target + chance.normal(0, 1.2, n), target + chance.normal(0, 1.5, n)
    right = [(s > 0.5) == (target == 1) for s in (a, b)]
    once = difference(a, b, *right, target, np.arange(n), 2000)
    gap, test = once["auroc"], delong(a, b, target)
    assert gap["value"] == pytest.approx(test.first - test.second)
    assert gap["high"] - gap["low"] == pytest.approx(2 * 1.96 * test.se, rel=0.1)
    four = np.tile(np.arange(n), 4)
    force = difference(a[four], b[four], *(one[four] for one in right), target[four], four, 2000)
    for name in ("auroc", "accuracy"):
        assert force[name]["value"] == pytest.approx(once[name]["value"])
        assert force[name]["low"] == pytest.approx(once[name]["low"], abs=1e-9)
    assert delong(a[four], b[four], target[four]).se == pytest.approx(test.se / 2, rel=0.02)
    assert once["accuracy"]["value"] == pytest.approx(right[0].mean() - right[1].mean())
