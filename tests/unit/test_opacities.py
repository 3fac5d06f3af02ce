"""Synthetic opacities: where they lie, what they leave unchanged; both halves go through the same changes."""

import cv2
import numpy as np
import pytest

from hilum.anomaly import opacities
from hilum.anomaly.features import pretext
from hilum.anomaly.lungs import Lungs
from hilum.anomaly.opacities import add_distractor, add_opacity, lung_field, ood_image
from hilum.data.sources.phantom import PhantomSettings, phantom_image

SETTINGS = PhantomSettings(patients=20, size=(112, 128))


@pytest.fixture(scope="module")
def healthy() -> list[np.ndarray]:
    return [phantom_image(SETTINGS, "normal", person, 0).image for person in range(6)]


def test_the_lung_field_is_the_lung() -> None:
    """Against the ground truth: most of what is found is lung, and most of the lung is found."""
    right, found_share = [], []
    for person in range(10):
        drawn = phantom_image(SETTINGS, "normal", person, 0)
        found = lung_field(drawn.image)
        near = cv2.dilate(drawn.lung.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        right.append((found & near).sum() / max(found.sum(), 1))
        found_share.append((found & drawn.lung).sum() / drawn.lung.sum())
    assert np.median(right) > 0.8 and np.median(found_share) > 0.6


def test_an_image_without_lungs_has_no_field() -> None:
    assert not lung_field(np.full((64, 64), 90, np.uint8)).any()
    assert not lung_field(np.zeros((64, 64), np.uint8)).any()


def test_pixels_without_strength_are_as_they_were(healthy) -> None:
    for seed in range(40):
        image = healthy[seed % len(healthy)]
        chance = np.random.default_rng(seed)
        changed, strength = add_opacity(image, lung_field(image), chance, healthy[0])
        assert changed.dtype == strength.dtype == np.uint8 and changed.shape == strength.shape == image.shape
        assert np.abs(changed.astype(int) - image)[strength == 0].max() <= 1  # rounding
        assert strength.max() > 5 and (changed != image).any()
        force, _ = add_opacity(image, lung_field(image), np.random.default_rng(seed), healthy[0])
        assert np.array_equal(changed, force)


def test_opacities_lie_on_the_lung_and_make_it_denser(healthy) -> None:
    image = healthy[1]
    lung = lung_field(image)
    near = cv2.dilate(lung.astype(np.uint8), np.ones((15, 15), np.uint8)) > 0
    for kind in opacities._KINDS:
        strength = np.stack([kind(Lungs(lung), np.random.default_rng(seed)) for seed in range(8)])
        assert strength.dtype == np.float32 and strength.min() >= 0 and strength.max() <= 1, kind.__name__
        assert strength[:, near].sum() > 0.95 * strength.sum() > 0, kind.__name__
    brighter = []
    for seed in range(20):
        changed, strength = add_opacity(image, lung, np.random.default_rng(seed))
        strong = (strength > 100) & lung
        if strong.sum() > 20:
            brighter.append(changed[strong].mean() - image[strong].mean())
    assert len(brighter) > 5 and np.mean(np.array(brighter) > 5) > 0.7


def test_without_a_lung_a_piece_is_pasted(healthy) -> None:
    nowhere = np.zeros_like(healthy[0], bool)
    changed, strength = add_opacity(healthy[0], nowhere, np.random.default_rng(0), healthy[1])
    assert 0 < (strength > 0).mean() < 0.3
    assert np.abs(changed.astype(int) - healthy[0])[strength == 0].max() <= 1


def test_ood_images_and_distractors(healthy) -> None:
    kinds = {ood_image(healthy[0], np.random.default_rng(seed))[0].tobytes() for seed in range(30)}
    assert len(kinds) > 5 and healthy[0].tobytes() not in kinds
    changed = [(add_distractor(healthy[0], np.random.default_rng(s)) != healthy[0]).mean() for s in range(30)]
    assert 0 < np.median(changed) < 0.05  # a small thing


def test_the_mask_moves_with_the_image(monkeypatch) -> None:
    monkeypatch.setattr(pretext, "EXPOSURE", pretext.Augment())
    monkeypatch.setattr(pretext, "add_distractor", lambda image, chance: image)
    square = np.zeros((96, 96), np.uint8)
    square[30:50, 40:70] = 255
    for seed in range(10):
        moved, mask = pretext.varied(square, square, np.random.default_rng(seed))
        assert np.abs(moved - mask).mean() < 0.02  # JPEG alone may differ


def test_the_changes_do_not_depend_on_an_opacity(healthy) -> None:
    """The same chance changes an image in the same way with and without a mask: no shortcut can come in."""
    for seed in range(10):
        clear, _ = pretext.varied(healthy[0], np.zeros_like(healthy[0]), np.random.default_rng(seed))
        marked, _ = pretext.varied(healthy[0], np.full_like(healthy[0], 255), np.random.default_rng(seed))
        assert np.array_equal(clear, marked)
