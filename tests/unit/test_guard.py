"""The guard on the embedding: distances by hand, p-values that keep their rate, files that fit no model."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.errors import DataError, ModelError
from hilum.files import read_arrays, write_arrays
from hilum.inference.guard import EmbeddingGuard


def fitted(seed: int = 0, held_out: int = 99, rate: float = 0.05) -> EmbeddingGuard:
    """Two classes in five dimensions that are correlated and of different size."""
    return EmbeddingGuard.fit(drawn(300, seed), np.arange(300) % 2, drawn(held_out, seed + 1), rate)


MIXED = (np.eye(5) + 0.3 * np.random.default_rng(9).normal(size=(5, 5))) * np.array([0.5, 1, 1, 2, 3])


def drawn(count: int, seed: int) -> np.ndarray:
    """float32 vectors "images 5"; the classes alternate."""
    chance = np.random.default_rng(seed)
    latent = chance.normal(size=(count, 5))
    latent[:, 0] += 6 * (np.arange(count) % 2)
    return (latent @ MIXED).astype(np.float32)


def test_the_distance_is_that_of_the_covariance_within_classes() -> None:
    vectors, targets = drawn(300, 0), np.arange(300) % 2
    guard = fitted()
    means = np.stack([vectors[targets == one].mean(0) for one in (0, 1)])
    np.testing.assert_allclose(guard.means, means, rtol=1e-4)
    # the covariance within classes but for the shrinkage, and not that of all vectors
    spread = (vectors - means[targets]).astype(float)
    within, total = np.cov(spread.T, bias=True), np.cov(vectors.T.astype(float), bias=True)
    fitted_covariance = np.linalg.inv(guard.precision.astype(float))
    assert np.abs(fitted_covariance - within).max() < 0.1 * np.abs(within).max()
    assert np.abs(total - within).max() > 0.2 * np.abs(within).max()
    square = np.einsum("ij,jk,ik->i", spread, guard.precision.astype(float), spread)
    nearest = guard.distances(vectors)
    assert (nearest <= np.sqrt(square) + 1e-3).all()  # the nearest class is no farther than one's own


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(19, 60), st.floats(0.01, 100))
def test_p_values_are_ranks_that_no_unit_changes(seed: int, held_out: int, unit: float) -> None:
    """Each is a multiple of 1 / (n + 1); the farther the vector, the smaller; scaling all vectors changes nothing."""
    chance = np.random.default_rng(seed)
    train, known, new = (chance.normal(size=(count, 3)) for count in (50, held_out, 20))
    targets = np.arange(50) % 2
    guard = EmbeddingGuard.fit(train, targets, known, 0.05)
    p, far = guard.p_values(new), guard.distances(new)
    assert ((p >= 1 / (held_out + 1)) & (p <= 1)).all()
    np.testing.assert_allclose(p * (held_out + 1), np.round(p * (held_out + 1)), atol=1e-9)
    assert (np.diff(p[np.argsort(far)]) <= 0).all()
    scaled = EmbeddingGuard.fit(unit * train, targets, unit * known, 0.05).p_values(unit * new)
    assert np.abs(scaled - p).max() <= 1.0 / (held_out + 1) + 1e-9  # a tie may fall to either side


def test_images_like_the_held_out_ones_are_flagged_at_the_rate() -> None:
    """Mean over guards of the share flagged: 0.05 expected, sd of the mean about 0.0035."""
    shares = [(fitted(3 * seed).p_values(drawn(500, 3 * seed + 2)) <= 0.05).mean() for seed in range(40)]
    assert 0.035 < np.mean(shares) < 0.065


def test_vectors_far_from_every_class_are_flagged() -> None:
    guard = fitted()
    assert (guard.p_values(drawn(50, 7) + 100 * MIXED[1]) == 0.01).all()


def test_half_the_bytes_keep_the_p_values() -> None:
    guard, held_out, new = fitted(), drawn(99, 1), drawn(400, 5)
    half = guard.halved(held_out)
    assert {half.means.dtype, half.precision.dtype} == {np.dtype(np.float16)}
    assert np.isfinite(half.precision).all() and np.isfinite(half.means).all()
    assert np.abs(half.p_values(new) - guard.p_values(new)).max() < 0.03


def test_a_file_gives_the_same_guard(tmp_path: Path) -> None:
    guard = fitted()
    guard.save(tmp_path / "guard.npz", "abc")
    loaded = EmbeddingGuard.load(tmp_path / "guard.npz", "abc")
    assert (loaded.p_values(drawn(20, 3)) == guard.p_values(drawn(20, 3))).all()
    assert loaded.rate == 0.05


def test_files_that_are_no_guard_of_this_model_are_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "guard.npz"
    fitted().save(file, "abc")
    with pytest.raises(
        ModelError, match=r"guard\.npz was fitted on other weights than the model has; run: hilum"
    ):
        EmbeddingGuard.load(file, "other")
    arrays = read_arrays(file)
    for changed, words in [
        ({"known": np.array([])}, "there are no held-out scores"),
        ({"known": np.array([1.0, np.nan])}, "number 1 is nan"),
        (
            {"means": np.zeros((2, 4))},
            r"means of shape \(2, 4\) and a precision of shape \(5, 5\) do not fit",
        ),
        ({"precision": np.full((5, 5), np.inf)}, "hold NaN or infinity"),
        ({"rate": np.array(2.0)}, "a rate of 2 is not between 0 and 1"),
        ({"rate": np.array([0.1, 0.2])}, "is no guard"),
    ]:
        write_arrays(file, {**arrays, **changed})
        with pytest.raises(ModelError, match=words):
            EmbeddingGuard.load(file, "abc")
    write_arrays(file, {name: value for name, value in arrays.items() if name != "means"})
    with pytest.raises(
        ModelError, match=r"guard\.npz is no guard \(it lacks 'means'\); run: hilum reliability"
    ):
        EmbeddingGuard.load(file, "abc")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ModelError, match="is damaged"):
        EmbeddingGuard.load(file, "abc")


def test_vectors_that_can_not_be_judged_are_one_sentence() -> None:
    vectors, targets = drawn(40, 0), np.arange(40) % 2
    with pytest.raises(DataError, match="10 held-out images are too few to flag 5 % of images; hold out 19"):
        EmbeddingGuard.fit(vectors, targets, vectors[:10], 0.05)
    with pytest.raises(DataError, match="does not vary within a class"):
        EmbeddingGuard.fit(np.ones((40, 3)), targets, np.ones((40, 3)), 0.05)
    with pytest.raises(DataError, match="the embedding holds NaN or infinity"):
        EmbeddingGuard.fit(np.full((40, 3), np.nan), targets, np.ones((40, 3)), 0.05)
    with pytest.raises(DataError, match=r"vectors of shape \(2, 4\) are not images x 5 numbers"):
        fitted().distances(np.zeros((2, 4)))
