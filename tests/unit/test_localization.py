"""Maps against known lesions: hand values, the definition written out, and planted maps."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum.evaluation.localization import aupro, localization_figures, pointed


def drawn(seed: int = 0, images: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lesions = np.zeros((images, 20, 24), bool)
    for one in range(images - 2):  # two images stay healthy
        for _ in range(1 + one % 2):
            row, col = rng.integers(2, 12, 2)
            lesions[one, row : row + rng.integers(2, 6), col : col + rng.integers(2, 6)] = True
    maps = rng.random(lesions.shape) + 0.8 * lesions
    return maps, lesions


def slow_aupro(maps: np.ndarray, lesions: np.ndarray, most: float) -> float:
    """Bergmann et al. 2019, section 4.2, threshold by threshold and region by region."""
    regions = []
    for one in range(len(maps)):
        count, labels = cv2.connectedComponents(lesions[one].astype(np.uint8))
        regions += [(one, labels == number) for number in range(1, count)]
    points = [(0.0, 0.0)]
    for line in sorted(np.unique(maps), reverse=True):
        predicted = maps >= line
        false = predicted[~lesions].mean()
        overlap = np.mean([predicted[one][region].mean() for one, region in regions])
        points.append((float(false), float(overlap)))
    x, y = np.array(points).T
    at_most = np.interp(most, x, y)
    kept = x < most
    return float(np.trapezoid([*y[kept], at_most], [*x[kept], most]) / most)


@pytest.mark.parametrize("most", [0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_aupro_is_its_definition(seed: int, most: float) -> None:
    maps, lesions = drawn(seed)
    maps = maps.round(2)  # with ties
    assert aupro(maps, lesions, most) == pytest.approx(slow_aupro(maps, lesions, most), abs=1e-9)


def test_every_lesion_counts_the_same_however_large() -> None:
    """A map that finds the large lesion alone gets half of what it would get by pixels."""
    lesions = np.zeros((1, 30, 30), bool)
    lesions[0, :10, :10] = True
    lesions[0, 20:22, 20:22] = True
    maps = np.zeros((1, 30, 30))
    maps[0, :10, :10] = 1.0
    assert aupro(maps, lesions) == pytest.approx(0.5 + 0.5 * 0.15, abs=0.01)


def patients(lesions: np.ndarray) -> list[str]:
    """A patient per image."""
    return [f"p{number}" for number in range(len(lesions))]


def test_perfect_and_reversed_maps() -> None:
    _, lesions = drawn()
    perfect, wrong = (
        localization_figures(sign * lesions.astype(float), lesions, patients(lesions)) for sign in (1, -1)
    )
    assert (perfect.pixel_auroc, perfect.pointing.value) == (1.0, 1.0)
    assert perfect.aupro == pytest.approx(1.0)
    assert (wrong.pixel_auroc, wrong.pointing.value) == (0.0, 0.0)
    assert wrong.aupro == 0.0


def test_pixel_auroc_is_that_of_all_pixels_together() -> None:
    maps, lesions = drawn(4)
    found = localization_figures(maps, lesions, patients(lesions))
    assert found.pixel_auroc == pytest.approx(roc_auc_score(lesions.ravel(), maps.ravel()))
    assert (found.n_images, found.n_abnormal) == (6, 4)
    assert found.pointing.n == 4
    assert found.pointing.chance == pytest.approx(lesions[:4].mean())


def test_noise_earns_what_chance_earns() -> None:
    rng = np.random.default_rng(0)
    _, lesions = drawn(0, images=30)
    found = localization_figures(rng.random(lesions.shape), lesions, patients(lesions))
    assert found.pixel_auroc == pytest.approx(0.5, abs=0.05)
    assert found.aupro == pytest.approx(0.15, abs=0.04)


def test_pointing_needs_the_highest_pixel() -> None:
    lesion = np.zeros((3, 3), bool)
    lesion[1, 1] = True
    one = np.zeros((3, 3))
    one[1, 1] = 2.0
    assert pointed(one, lesion)
    one[0, 0] = 3.0
    assert not pointed(one, lesion)
    assert not pointed(np.ones((3, 3)), lesion)  # an even map points nowhere


def test_healthy_images_alone_have_no_figures() -> None:
    found = localization_figures(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool), ["ann", "bob"])
    assert (found.pixel_auroc, found.aupro, found.pointing.value) == (None, None, None)


def test_the_pointing_game_counts_patients_in_its_interval() -> None:
    _, lesions = drawn(4)
    maps = lesions.astype(float)
    single, paired = (
        localization_figures(maps, lesions, names).pointing for names in ([*"abcdef"], [*"aabbcc"])
    )
    assert single.k == paired.k == single.n == 4
    assert paired.low < single.low < single.high == 1.0
