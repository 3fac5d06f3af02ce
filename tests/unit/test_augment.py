"""Every strength earns its place: turning it on changes images, and nothing else does."""

import numpy as np
import pytest

from hilum.data.augment import Augment
from hilum.data.augmented import augmented
from hilum.data.random_markers import with_random_markers

IMAGE = (np.random.default_rng(0).random((48, 64)) * 100 + 50).astype(np.uint8)
DONOR = (IMAGE // 2).T.copy()
STRENGTH = {"rotate": 20, "blur": 2, "sharpen": 2, "gamma": 0.5, "flip": 1.0, "cutout": 0.8, "tone": 1.0}
STRENGTH["markers"] = 1.0
LEAST = {"markers": 0.003}
"""Mean change of a grey level, in units of 0..1: letters are small."""


@pytest.mark.parametrize("field", list(Augment.model_fields))
def test_each_field_changes_the_image(field: str) -> None:
    augment = Augment(**{field: STRENGTH.get(field, 0.3)})
    differences = []
    for seed in range(5):
        changed = augmented(augment, IMAGE, np.random.default_rng(seed), DONOR)
        assert changed.shape == IMAGE.shape
        assert changed.dtype == np.float32
        assert changed.min() >= 0
        assert changed.max() <= 1
        differences.append(np.abs(changed - IMAGE / 255).mean())
    assert max(differences) > LEAST.get(field, 0.01)


def test_nothing_changes_when_all_is_off() -> None:
    np.testing.assert_allclose(augmented(Augment(), IMAGE, np.random.default_rng(0)), IMAGE / 255, atol=1e-6)


def test_same_chance_same_image() -> None:
    augment = Augment(rotate=10, translate=0.1, crop=0.2, noise=0.1, cutout=0.3, blur=1, sharpen=1, gamma=0.3)
    first, second = (augmented(augment, IMAGE, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - augmented(augment, IMAGE, np.random.default_rng(6))).max() > 0.01


def test_flip_mirrors_left_and_right_exactly() -> None:
    flipped = augmented(Augment(flip=1.0), IMAGE, np.random.default_rng(0))
    np.testing.assert_allclose(flipped, IMAGE[:, ::-1] / 255, atol=1e-5)


def test_default_never_mirrors() -> None:
    """An image that is bright on its right half stays so under strong geometry: the heart keeps its side."""
    image = np.zeros((64, 64), np.uint8)
    image[16:48, 32:] = 200
    augment = Augment(rotate=15, translate=0.05, scale=0.2, aspect=0.35, crop=0.2)
    for seed in range(50):
        changed = augmented(augment, image, np.random.default_rng(seed))
        assert changed[:, 32:].sum() > changed[:, :32].sum()


def test_rotation_keeps_the_centre_in_place() -> None:
    image = np.zeros((65, 65), np.uint8)
    image[30:35, 30:35] = 255
    turned = augmented(Augment(rotate=45), image, np.random.default_rng(3))
    rows, cols = np.indices(image.shape)
    assert abs((turned * rows).sum() / turned.sum() - 32) < 0.1
    assert abs((turned * cols).sum() / turned.sum() - 32) < 0.1


def test_crop_enlarges_and_never_shows_the_outside() -> None:
    """The kept window lies inside the image, so no black border comes in."""
    image = np.full((64, 64), 200, np.uint8)
    for seed in range(30):
        cropped = augmented(Augment(crop=0.5), image, np.random.default_rng(seed))
        assert cropped[2:-2, 2:-2].min() > 0.7


def test_the_tone_of_the_donor_is_taken_over_in_full_or_in_part() -> None:
    """Every donor's grey is half of the image's, so the mean falls towards a half; the order of greys stays."""
    means = []
    for seed in range(12):
        changed = augmented(Augment(tone=1.0), IMAGE, np.random.default_rng(seed), DONOR)
        order = np.argsort(IMAGE, axis=None, kind="stable")
        assert (np.diff(changed.ravel()[order]) >= -1e-6).all()
        means.append(changed.mean() / (IMAGE.mean() / 255))
    assert min(means) == pytest.approx(0.5, abs=0.02) and max(means) > 0.6


def test_nothing_of_a_frame_comes_in_from_outside() -> None:
    """Turned and moved, a bright image stays bright to its edges: what comes in is its reflection."""
    bright = np.full((40, 50), 200, np.uint8)
    settings = Augment(rotate=20, translate=0.3, scale=0.3)
    for seed in range(5):
        changed = augmented(settings, bright, np.random.default_rng(seed))
        np.testing.assert_allclose(changed, 200 / 255, atol=1e-3)


def test_markers_stay_out_of_the_middle_and_leave_the_original_alone() -> None:
    """A letter over the lungs would hide them; one that the image has by itself stays."""
    image = np.full((96, 80), 60, np.uint8)
    touched = np.zeros(image.shape, bool)
    for seed in range(200):
        marked = with_random_markers(image, np.random.default_rng(seed))
        assert (marked >= image).all() and (marked > image).any()
        touched |= marked > image
    assert not touched[40:72].any()
    assert touched[:32, :20].any() and touched[:32, 60:].any() and touched[84:].any()
    assert (image == 60).all()
