"""Matched images: a score that lives on shortcuts alone must fall to guessing among them."""

import itertools

import numpy as np
import pandas as pd
import pytest

from hilum.artifacts.audit import JointShortcut
from hilum.data.shortcuts import NAMES, joint_chances, questions
from hilum.evaluation.matching import CALIPER_MOST, Pairs, match, pair, shortcut_figures
from hilum.evaluation.metrics import auroc


def planted(
    images: int = 900, strength: float = 1.5, seed: int = 0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Facts of which `sharpness` and `bytes` tell abnormal from healthy, the abnormal labels, and a true finding that
    has nothing to do with them."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(images) < 0.6
    facts = pd.DataFrame({name: np.full(images, 7.0) for name in NAMES})
    facts["sharpness"] = rng.standard_normal(images) + strength * abnormal
    facts["bytes"] = rng.standard_normal(images) + 0.7 * strength * abnormal
    facts["mean"] = rng.standard_normal(images)
    return facts, abnormal, rng.standard_normal(images) + 1.5 * abnormal


def series(abnormal: np.ndarray) -> tuple[pd.Series, pd.Series]:
    return pd.Series(np.where(abnormal, "virus", "normal")), pd.Series(
        [f"p{n}" for n in range(len(abnormal))]
    )


def test_a_pure_shortcut_falls_to_guessing_and_a_true_finding_does_not() -> None:
    facts, abnormal, finding = planted()
    found = match(facts, *series(abnormal), np.ones(len(abnormal), bool))
    assert isinstance(found, Pairs)
    assert len(found.abnormal) > 100
    cheat = facts["sharpness"].to_numpy() + 0.7 * facts["bytes"].to_numpy()
    assert auroc(cheat, abnormal) > 0.85
    truth = np.arange(2 * len(found.abnormal)) >= len(found.abnormal)
    assert abs(auroc(cheat[found.rows], truth) - 0.5) < 0.04
    assert auroc(finding[found.rows], truth) > 0.8
    assert found.left is not None and abs(found.left.value - 0.5) < 0.02
    left = shortcut_figures(facts.iloc[found.rows], *(one.iloc[found.rows] for one in series(abnormal)))
    assert max(shortcut.auroc.value for shortcut in left.single) < 0.6
    assert isinstance(left.joint, JointShortcut) and left.joint.auroc.value < 0.62


def test_pairs_are_one_to_one_of_both_kinds_and_inside_the_caliper() -> None:
    facts, abnormal, _ = planted(400)
    asked = np.arange(400) % 2 == 0
    found = match(facts, *series(abnormal), asked)
    assert isinstance(found, Pairs)
    assert len(set(found.healthy)) == len(found.healthy) == len(set(found.abnormal))
    assert abnormal[found.abnormal].all() and not abnormal[found.healthy].any()
    assert asked[found.rows].all()
    assert found.caliper <= CALIPER_MOST


def brute(values: np.ndarray, abnormal: np.ndarray, caliper: float) -> tuple[int, float]:
    """As many pairs as there can be and their smallest sum, by trying everything."""
    healthy, abnormal = np.flatnonzero(~abnormal), np.flatnonzero(abnormal)
    best = (0, 0.0)
    for size in range(1, min(len(healthy), len(abnormal)) + 1):
        for some in itertools.combinations(healthy, size):
            for others in itertools.permutations(abnormal, size):
                far = np.abs(values[list(some)] - values[list(others)])
                if (far <= caliper).all() and (size > best[0] or float(far.sum()) < best[1]):
                    best = (size, float(far.sum()))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_pairing_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, abnormal = rng.random(8), np.array([0, 0, 0, 0, 1, 1, 1, 1], bool)
    found = pair(values, abnormal, caliper=0.15)
    size, total = brute(values, abnormal, 0.15)
    assert len(found.abnormal) == size
    assert np.abs(values[found.healthy] - values[found.abnormal]).sum() == pytest.approx(total)


def test_the_left_over_auroc_is_that_of_the_propensity() -> None:
    facts, abnormal, _ = planted(300)
    labels, patients = series(abnormal)
    found = match(facts, labels, patients, np.ones(300, bool))
    question = next(item for item in questions(labels)[0] if item.task == "binary")
    propensity = joint_chances(question, facts, patients)
    assert isinstance(found, Pairs) and not isinstance(propensity, str)
    truth = np.arange(2 * len(found.abnormal)) >= len(found.abnormal)
    assert found.left is not None
    assert found.left.value == pytest.approx(auroc(propensity.chances[found.rows], truth))
    assert found.left.low < 0.5 < found.left.high


def test_reasons_why_there_are_no_pairs() -> None:
    facts, abnormal, _ = planted(100)
    labels, patients = series(abnormal)
    everything = np.ones(100, bool)
    assert "both normal and abnormal" in match(facts, labels, patients, ~abnormal)
    assert "both normal and abnormal" in match(facts, pd.Series(["virus"] * 100), patients, everything)
    assert "no number varies" in match(
        facts[["width"]].reindex(columns=list(NAMES), fill_value=1.0), labels, patients, everything
    )
    apart = facts.assign(sharpness=np.where(abnormal, 1000.0, -1000.0) + np.arange(100))
    assert (
        match(apart, labels, patients, everything)
        == "no normal image has an abnormal counterpart within the caliper"
    )
