"""Matched films: a score that lives on shortcuts alone must fall to guessing among them."""

import itertools

import numpy as np
import pandas as pd
import pytest

from hilum.data.shortcuts import NAMES
from hilum.evaluation.matching import CALIPER_MOST, Pairs, match, pair, shortcut_figures
from hilum.evaluation.metrics import auroc


def planted(
    films: int = 900, strength: float = 1.5, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Facts of which `sharpness` and `bytes` tell sick from healthy, the sick labels, and a true finding that
    has nothing to do with them."""
    rng = np.random.default_rng(seed)
    sick = rng.random(films) < 0.6
    facts = pd.DataFrame({name: np.full(films, 7.0) for name in NAMES})
    facts["sharpness"] = rng.standard_normal(films) + strength * sick
    facts["bytes"] = rng.standard_normal(films) + 0.7 * strength * sick
    facts["mean"] = rng.standard_normal(films)
    return facts, sick, rng.standard_normal(films) + 1.5 * sick


def series(sick: np.ndarray) -> tuple[pd.Series, pd.Series]:
    return pd.Series(np.where(sick, "virus", "normal")), pd.Series([f"p{n}" for n in range(len(sick))])


def test_a_pure_shortcut_falls_to_guessing_and_a_true_finding_does_not() -> None:
    facts, sick, finding = planted()
    found = match(facts, *series(sick), np.ones(len(sick), bool))
    assert isinstance(found, Pairs)
    assert len(found.sick) > 100
    cheat = facts["sharpness"].to_numpy() + 0.7 * facts["bytes"].to_numpy()
    assert auroc(cheat, sick) > 0.85
    truth = np.arange(2 * len(found.sick)) >= len(found.sick)
    assert abs(auroc(cheat[found.rows], truth) - 0.5) < 0.04
    assert auroc(finding[found.rows], truth) > 0.8
    assert abs(found.left - 0.5) < 0.02
    left = shortcut_figures(facts.iloc[found.rows], *(one.iloc[found.rows] for one in series(sick)))
    assert max(one["auroc"] for one in left["single"]) < 0.6
    assert left["joint"]["auroc"] < 0.62


def test_pairs_are_one_to_one_of_both_kinds_and_inside_the_caliper() -> None:
    facts, sick, _ = planted(400)
    asked = np.arange(400) % 2 == 0
    found = match(facts, *series(sick), asked)
    assert isinstance(found, Pairs)
    assert len(set(found.healthy)) == len(found.healthy) == len(set(found.sick))
    assert sick[found.sick].all() and not sick[found.healthy].any()
    assert asked[found.rows].all()
    assert found.caliper <= CALIPER_MOST


def brute(values: np.ndarray, sick: np.ndarray, caliper: float) -> tuple[int, float]:
    """As many pairs as there can be and their smallest sum, by trying everything."""
    healthy, ill = np.flatnonzero(~sick), np.flatnonzero(sick)
    best = (0, 0.0)
    for size in range(1, min(len(healthy), len(ill)) + 1):
        for some in itertools.combinations(healthy, size):
            for others in itertools.permutations(ill, size):
                far = np.abs(values[list(some)] - values[list(others)])
                if (far <= caliper).all() and (size > best[0] or float(far.sum()) < best[1]):
                    best = (size, float(far.sum()))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_pairing_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, sick = rng.random(8), np.array([0, 0, 0, 0, 1, 1, 1, 1], bool)
    found = pair(values, sick, caliper=0.15)
    size, total = brute(values, sick, 0.15)
    assert len(found.sick) == size
    assert np.abs(values[found.healthy] - values[found.sick]).sum() == pytest.approx(total)


def test_the_left_over_auroc_is_that_of_the_propensity() -> None:
    found = pair(np.array([0.0, 1.0, 0.1, 1.1]), np.array([0, 0, 1, 1], bool), caliper=0.2)
    assert found.left == auroc([0.0, 1.0, 0.1, 1.1], [0, 0, 1, 1]) == 0.75


def test_reasons_why_there_are_no_pairs() -> None:
    facts, sick, _ = planted(100)
    labels, patients = series(sick)
    everything = np.ones(100, bool)
    assert "both healthy and sick" in match(facts, labels, patients, ~sick)
    assert "both healthy and sick" in match(facts, pd.Series(["virus"] * 100), patients, everything)
    assert "no number varies" in match(
        facts[["width"]].reindex(columns=list(NAMES), fill_value=1.0), labels, patients, everything
    )
    apart = facts.assign(sharpness=np.where(sick, 1000.0, -1000.0) + np.arange(100))
    assert match(apart, labels, patients, everything) == "no healthy film has a sick one with like numbers"
