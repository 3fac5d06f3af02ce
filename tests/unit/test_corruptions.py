"""Corruptions: hand-computed on tiny images, deterministic, growing with the severity."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hilum.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt


def image(rows: int = 120, cols: int = 128) -> np.ndarray:
    """A bright spot off the middle on a ramp, with grain."""
    y, x = np.mgrid[:rows, :cols]
    spot = 100 * np.exp(-(((y - 50) / 25) ** 2) - ((x - 50) / 30) ** 2)
    grain = np.random.default_rng(1).integers(0, 256, (rows, cols)).astype(np.uint8)
    return (20 + spot / 2 + x / 4 + cv2.GaussianBlur(grain, (0, 0), 1.2) / 3).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", SEVERITIES)
def test_same_size_same_type_same_at_every_call(name: str, severity: int) -> None:
    before = image()
    kept = before.copy()
    first = corrupt(before, name, severity, 0, "a")
    assert first.shape == before.shape
    assert first.dtype == np.uint8
    assert (corrupt(before, name, severity, 0, "a") == first).all()
    assert (before == kept).all(), "the image itself must stay as it is"
    assert (first != before).any()


@given(name=st.sampled_from(sorted(CORRUPTIONS)), rows=st.integers(20, 50), cols=st.integers(20, 50))
@settings(max_examples=40, deadline=None)
def test_any_size_and_severity_0_changes_nothing(name: str, rows: int, cols: int) -> None:
    before = image(rows, cols)
    assert (corrupt(before, name, 0, 3, "x") == before).all()
    assert corrupt(before, name, 5, 3, "x").shape == (rows, cols)


@pytest.mark.parametrize("shape", [(224, 224), (37, 53), (41, 161), (7, 5)])
@pytest.mark.parametrize("severity", SEVERITIES)
def test_low_resolution_takes_the_pixels_of_medmnist_c(shape: tuple[int, int], severity: int) -> None:
    """Its 'pixelate' is two calls of Pillow: BOX to int(factor * side), BOX back (medmnistc 0.1, compression.py)."""
    before = np.random.default_rng(severity).integers(0, 256, shape).astype(np.uint8)
    factor = CORRUPTIONS["low_resolution"].strengths[severity - 1]
    small = int(shape[1] * factor), int(shape[0] * factor)
    theirs = Image.fromarray(before).resize(small, Image.Resampling.BOX)
    theirs = theirs.resize((shape[1], shape[0]), Image.Resampling.BOX)
    assert (corrupt(before, "low_resolution", severity, 0, "a") == np.array(theirs)).all()


def test_every_severity_is_stronger_than_the_one_before() -> None:
    for name in CORRUPTIONS:
        away = [np.abs(corrupt(image(), name, s, 0, "a").astype(int) - image()).mean() for s in SEVERITIES]
        assert away[-1] > 1.2 * away[0], name


def test_holes_only_grow() -> None:
    for name in ("random_pixels", "left_gone", "right_gone", "collimator"):
        holes = [corrupt(image(), name, severity, 0, "a") == 0 for severity in SEVERITIES]
        for smaller, larger in pairwise(holes):
            assert (larger | ~smaller).all(), name


def test_by_hand() -> None:
    grey = np.full((20, 20), 200, np.uint8)
    assert (corrupt(grey, "random_pixels", 3, 0, "a") == 0).sum() == 80  # 20 % of 400
    assert (corrupt(grey, "block", 3, 0, "a") == 0).sum() == 81  # the side is round(20 * sqrt(0.2)) = 9
    left = corrupt(grey, "left_gone", 5, 0, "a")
    assert (left[:, :10] == 0).all()
    assert (left[:, 10:] == 200).all()
    right = corrupt(grey, "right_gone", 5, 0, "a")
    assert (right == left[:, ::-1]).all()
    frame = corrupt(grey, "collimator", 3, 0, "a")  # 10 % of 20 px on each side
    assert (frame == 200).sum() == 16 * 16
    assert (frame[2:18, 2:18] == 200).all()
    assert set(np.unique(corrupt(grey, "brighter", 3, 0, "a"))) == {215}  # 255 (200/255)^0.7
    assert set(np.unique(corrupt(grey, "darker", 5, 0, "a"))) == {173}  # 255 (200/255)^1.6
    steps = np.repeat(np.arange(0, 100, 10, dtype=np.uint8), 2)[None].repeat(20, 0)  # pairs of columns
    coarse = corrupt(steps, "low_resolution", 4, 0, "a")  # half: each pair is one box
    assert (coarse == steps).all()
    assert (corrupt(np.eye(2, dtype=np.uint8) * 200, "low_resolution", 4, 0, "a") == 100).all()


def test_low_dose_has_the_mean_and_spread_of_photons() -> None:
    grey = np.full((200, 200), 102, np.uint8)  # 40 % of white: 120 of 300 photons
    noisy = corrupt(grey, "low_dose", 1, 0, "a").astype(float)
    assert noisy.mean() == pytest.approx(102, abs=0.3)
    assert noisy.std() == pytest.approx(255 * np.sqrt(120) / 300, rel=0.03)


def test_jpeg_is_that_of_the_library_and_crop_keeps_the_middle() -> None:
    _, data = cv2.imencode(".jpg", image(), [cv2.IMWRITE_JPEG_QUALITY, 7])
    assert (corrupt(image(), "jpeg", 5, 0, "a") == cv2.imdecode(data, 0)).all()
    dot = np.zeros((40, 40), np.uint8)
    dot[19:21, 19:21] = 250
    cut = corrupt(dot, "crop", 5, 0, "a")
    y, x = np.argwhere(cut > 100).mean(0)
    assert (y, x) == (19.5, 19.5)
    assert (cut > 100).sum() > 4


def test_severities_of_medmnist_c_are_those_of_its_authors() -> None:
    """Typed from medmnistc/corruptions/registry.py, entry 'pneumoniamnist'."""
    theirs = {
        "low_resolution": (0.8, 0.7, 0.6, 0.5, 0.4),
        "low_dose": (300, 200, 150, 100, 80),
        "jpeg": (50, 30, 15, 10, 7),
        "darker": (1.1, 1.2, 1.3, 1.4, 1.6),
        "brighter": (0.9, 0.8, 0.7, 0.6, 0.4),
        # kernels of 3, 5, 7, 9, 11 px; torchvision takes sd = 0.3 ((k - 1) / 2 - 1) + 0.8
        "blur": tuple(round(0.3 * ((k - 1) / 2 - 1) + 0.8, 1) for k in (3, 5, 7, 9, 11)),
    }
    assert {n for n, one in CORRUPTIONS.items() if one.source == "MedMNIST-C"} == set(theirs)
    assert {name: CORRUPTIONS[name].strengths for name in theirs} == theirs
