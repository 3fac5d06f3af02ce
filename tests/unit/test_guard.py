"""The guard on a network's layers: distances by hand, p-values that keep their rate, files that fit no model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, ModelError
from hilum.files import read_arrays, write_arrays
from hilum.inference.guard import FeatureGuard, layers_to_judge


def fitted(seed: int = 0, held_out: int = 99, rate: float = 0.05) -> FeatureGuard:
    """Five dimensions that are correlated and of different size."""
    return FeatureGuard.fit(LAYERS, drawn(300, seed), drawn(held_out, seed + 1), rate)


LAYERS = ("features.1", "features.2")


def named(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """As the network gives them: two dimensions of one layer, three of another."""
    return {"features.2": vectors[:, 2:], "features.1": vectors[:, :2], "pool": np.zeros((len(vectors), 9))}


MIXED = (np.eye(5) + 0.3 * np.random.default_rng(9).normal(size=(5, 5))) * np.array([0.5, 1, 1, 2, 3])


def drawn(count: int, seed: int) -> np.ndarray:
    """float32 vectors "images 5"."""
    return (np.random.default_rng(seed).normal(size=(count, 5)) @ MIXED + 4).astype(np.float32)


def test_the_distance_is_that_of_mean_and_covariance() -> None:
    vectors, guard = drawn(300, 0), fitted()
    np.testing.assert_allclose(guard.mean, vectors.mean(0), rtol=1e-4)
    covariance = np.cov(vectors.T.astype(float), bias=True)
    found = np.linalg.inv(guard.precision.astype(float))
    assert np.abs(found - covariance).max() < 0.1 * np.abs(covariance).max()  # but for the shrinkage
    apart = vectors.astype(float) - vectors.astype(float).mean(0)
    square = np.einsum("ij,jk,ik->i", apart, guard.precision.astype(float), apart)
    np.testing.assert_allclose(guard.distances(vectors), np.sqrt(square), rtol=1e-3)


def test_layers_lie_in_the_middle_and_near_the_end_of_the_trunk() -> None:
    names = [*(f"features.{place}" for place in range(12)), "pool", "embedding"]
    assert layers_to_judge(names) == ("features.6", "features.7", "features.10")
    assert layers_to_judge(["features.0", "pool", "embedding"]) == ("features.0",)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(19, 60), st.floats(0.01, 100))
def test_p_values_are_ranks_that_no_unit_changes(seed: int, held_out: int, unit: float) -> None:
    """Each is a multiple of 1 / (n + 1); the farther the vector, the smaller; scaling all vectors changes nothing."""
    chance = np.random.default_rng(seed)
    train, known, new = (chance.normal(size=(count, 3)) for count in (50, held_out, 20))
    guard = FeatureGuard.fit(("pool",), train, known, 0.05)
    p, far = guard.p_values({"pool": new}), guard.distances(new)
    assert ((p >= 1 / (held_out + 1)) & (p <= 1)).all()
    np.testing.assert_allclose(p * (held_out + 1), np.round(p * (held_out + 1)), atol=1e-9)
    assert (np.diff(p[np.argsort(far)]) <= 0).all()
    scaled = FeatureGuard.fit(("pool",), unit * train, unit * known, 0.05).p_values({"pool": unit * new})
    assert np.abs(scaled - p).max() <= 1.0 / (held_out + 1) + 1e-9  # a tie may fall to either side


def test_images_like_the_held_out_ones_are_flagged_at_the_rate() -> None:
    """Mean over guards of the share flagged: 0.05 expected, sd of the mean about 0.0035."""
    shares = [
        (fitted(3 * seed).p_values(named(drawn(500, 3 * seed + 2))) <= 0.05).mean() for seed in range(40)
    ]
    assert 0.035 < np.mean(shares) < 0.065


def test_vectors_far_from_the_mean_are_flagged() -> None:
    guard = fitted()
    assert (guard.p_values(named(drawn(50, 7) + 100 * MIXED[1])) == 0.01).all()


def test_half_the_bytes_keep_the_p_values() -> None:
    guard, held_out, new = fitted(), drawn(99, 1), drawn(400, 5)
    half = guard.halved(held_out)
    assert {half.mean.dtype, half.precision.dtype} == {np.dtype(np.float16)}
    assert np.isfinite(half.precision).all() and np.isfinite(half.mean).all()
    assert np.abs(half.p_values(named(new)) - guard.p_values(named(new))).max() < 0.03


def test_a_file_gives_the_same_guard(tmp_path: Path) -> None:
    guard = fitted()
    guard.save(tmp_path / "guard.npz", "abc")
    loaded = FeatureGuard.load(tmp_path / "guard.npz", "abc")
    assert (loaded.p_values(named(drawn(20, 3))) == guard.p_values(named(drawn(20, 3)))).all()
    assert loaded.rate == 0.05 and loaded.layers == LAYERS


def test_files_that_are_no_guard_of_this_model_are_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "guard.npz"
    fitted().save(file, "abc")
    with pytest.raises(
        ModelError, match=r"guard\.npz was fitted on other weights than the model has; run: hilum"
    ):
        FeatureGuard.load(file, "other")
    arrays = read_arrays(file)
    for changed, words in [
        ({"known": np.array([])}, "there are no held-out scores"),
        ({"known": np.array([1.0, np.nan])}, "number 1 is nan"),
        (
            {"mean": np.zeros(4)},
            r"a mean of shape \(4,\) and a precision of shape \(5, 5\) do not fit",
        ),
        ({"precision": np.full((5, 5), np.inf)}, "hold NaN or infinity"),
        ({"rate": np.array(2.0)}, "a rate of 2 is not between 0 and 1"),
        ({"rate": np.array([0.1, 0.2])}, "is no guard"),
    ]:
        write_arrays(file, {**arrays, **changed})
        with pytest.raises(ModelError, match=words):
            FeatureGuard.load(file, "abc")
    write_arrays(file, {name: value for name, value in arrays.items() if name != "mean"})
    with pytest.raises(
        ModelError, match=r"guard\.npz is no guard \(it lacks 'mean'\); run: hilum reliability"
    ):
        FeatureGuard.load(file, "abc")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ModelError, match="is damaged"):
        FeatureGuard.load(file, "abc")


def test_vectors_that_can_not_be_judged_are_one_sentence() -> None:
    vectors = drawn(40, 0)
    with pytest.raises(DataError, match="10 held-out images are too few to flag 5 % of images; hold out 19"):
        FeatureGuard.fit(LAYERS, vectors, vectors[:10], 0.05)
    with pytest.raises(DataError, match="the layers of the training images do not vary"):
        FeatureGuard.fit(LAYERS, np.ones((40, 3)), np.ones((40, 3)), 0.05)
    with pytest.raises(DataError, match="a layer holds NaN or infinity"):
        FeatureGuard.fit(LAYERS, np.full((40, 3), np.nan), np.ones((40, 3)), 0.05)
    with pytest.raises(DataError, match=r"vectors of shape \(2, 4\) are not images x 5 numbers"):
        fitted().distances(np.zeros((2, 4)))
