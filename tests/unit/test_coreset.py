"""Greedy k-centre: the same picks as a brute-force search in float64, whatever is left out on the way."""

import numpy as np
import pytest
import torch

from hilum.anomaly import coreset
from hilum.anomaly.coreset import k_center
from hilum.errors import DataError


def brute_force(points: np.ndarray, k: int, first: int) -> list[int]:
    """Every point against every pick, by differences in float64; ties go to the lowest index."""
    points = points.astype(np.float32).astype(np.float64)
    nearest = np.full(len(points), np.inf)
    picks = [first]
    while True:
        nearest = np.minimum(nearest, np.square(points - points[picks[-1]]).sum(1))
        nearest[picks] = -1
        if len(picks) == k:
            return picks
        picks.append(int(nearest.argmax()))


def cloud(n: int, dim: int, seed: int) -> np.ndarray:
    """Points in clusters on a few directions, far from the origin, as features lie."""
    chance = np.random.default_rng(seed)
    centers = 3 * chance.standard_normal((12, dim))
    flat = chance.standard_normal((n, 3)) @ chance.standard_normal((3, dim))
    points = centers[chance.integers(0, 12, n)] + flat + 0.05 * chance.standard_normal((n, dim)) + 40
    return points.astype(np.float32)


@pytest.mark.parametrize("n, dim, k", [(1, 3, 1), (40, 2, 40), (700, 5, 200), (3000, 24, 300)])
@pytest.mark.parametrize("candidates", [8, 64, 8192])
def test_picks_are_those_of_brute_force(
    n: int, dim: int, k: int, candidates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few candidates and small blocks make every branch work."""
    monkeypatch.setattr(coreset, "CANDIDATES", candidates)
    monkeypatch.setattr(coreset, "BLOCK", 500)
    points = cloud(n, dim, seed=n)
    picks = k_center(points, k, seed=1)
    assert picks.tolist() == brute_force(points, k, int(picks[0]))


def test_structureless_points_too() -> None:
    points = np.random.default_rng(0).standard_normal((2000, 48)).astype(np.float32)
    picks = k_center(points, 250, seed=0)
    assert picks.tolist() == brute_force(points, 250, int(picks[0]))


def test_ties_go_to_the_lowest_index() -> None:
    """Points on a small grid: most distances tie, and there are copies."""
    points = np.random.default_rng(1).integers(0, 3, (400, 3)).astype(float)
    picks = k_center(points, 300, seed=0)
    assert picks.tolist() == brute_force(points, 300, int(picks[0]))
    assert len(set(picks.tolist())) == 300


def test_all_points_equal() -> None:
    picks = k_center(np.ones((5, 2)), 5, seed=0)
    assert sorted(picks.tolist()) == [0, 1, 2, 3, 4]


def test_a_hand_made_line() -> None:
    points = np.array([[0.0], [1.0], [9.0], [4.0]])
    starts = {int(k_center(points, 1, seed)[0]) for seed in range(40)}
    assert starts == {0, 1, 2, 3}  # the seed draws the first pick
    seed = next(seed for seed in range(40) if k_center(points, 1, seed)[0] == 0)
    assert k_center(points, 4, seed).tolist() == [0, 2, 3, 1]


def test_tensors_and_arrays_give_the_same_picks() -> None:
    points = cloud(300, 8, seed=0)
    as_tensor = torch.from_numpy(points).double().requires_grad_()
    assert k_center(as_tensor, 30, 0).tolist() == k_center(points, 30, 0).tolist()


def test_bad_input_is_named() -> None:
    points = cloud(20, 3, seed=0)
    with pytest.raises(
        DataError, match="a coreset of 21 of 20 points is not possible; choose k from 1 to 20"
    ):
        k_center(points, 21, 0)
    with pytest.raises(DataError, match="a coreset of 0"):
        k_center(points, 0, 0)
    with pytest.raises(DataError, match=r"points of shape \(3,\) are not a table"):
        k_center(np.ones(3), 1, 0)
    points[7, 1] = np.nan
    with pytest.raises(DataError, match="point 7 holds NaN or infinity"):
        k_center(points, 2, 0)
