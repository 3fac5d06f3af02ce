"""Maps against known lesions: hand values, the definition written out, and planted maps."""

import cv2
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hilum.evaluation.localization import added_by_image, aupro, localization_figures, pointed


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
    assert (perfect.pixel_auroc.value, perfect.pointing.value) == (1.0, 1.0)
    assert perfect.aupro.value == pytest.approx(1.0)
    assert (wrong.pixel_auroc.value, wrong.pointing.value) == (0.0, 0.0)
    assert wrong.aupro.value == 0.0
    assert 0.3 < perfect.aupro.low < perfect.aupro.high == 1 and 0 == wrong.aupro.low < wrong.aupro.high


def test_pixel_auroc_is_that_of_all_pixels_together() -> None:
    maps, lesions = drawn(4)
    found = localization_figures(maps, lesions, patients(lesions))
    assert found.pixel_auroc.value == pytest.approx(roc_auc_score(lesions.ravel(), maps.ravel()))
    assert (found.n_images, found.n_abnormal) == (6, 4)
    assert found.pointing.n == 4
    assert found.pointing.chance == pytest.approx(lesions[:4].mean())


def test_noise_earns_what_chance_earns() -> None:
    rng = np.random.default_rng(0)
    _, lesions = drawn(0, images=30)
    found = localization_figures(rng.random(lesions.shape), lesions, patients(lesions))
    assert found.pixel_auroc.value == pytest.approx(0.5, abs=0.05)
    assert found.aupro.value == pytest.approx(0.15, abs=0.04)


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
    assert (found.pixel_auroc.value, found.aupro.value, found.pointing.value) == (None, None, None)
    assert found.aupro.reason == "there are not both lesions and pixels outside"


def test_the_pointing_game_counts_patients_in_its_interval() -> None:
    _, lesions = drawn(4)
    maps = lesions.astype(float)
    single, paired = (
        localization_figures(maps, lesions, names).pointing for names in ([*"abcdef"], [*"aabbcc"])
    )
    assert single.k == paired.k == single.n == 4
    assert paired.low < single.low < single.high == 1.0


def test_what_images_add_is_the_change_without_them() -> None:
    """The square root of the summed squares is near the jackknife's standard error."""
    maps, lesions = drawn(7, images=60)
    for most in (1.0, 0.3):
        weights = lesions / lesions.sum() if most == 1 else region_shares(lesions)
        added = added_by_image(maps, lesions, weights, most)
        value = {1.0: pixel_area, 0.3: aupro}[most]
        without = np.array(
            [value(*(np.delete(each, one, 0) for each in (maps, lesions))) for one in range(60)]
        )
        jackknife = np.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
        assert np.sqrt((added**2).sum()) == pytest.approx(jackknife, rel=0.1)
        assert added.sum() == pytest.approx(0, abs=1e-9)


def pixel_area(maps: np.ndarray, lesions: np.ndarray) -> float:
    return float(roc_auc_score(lesions.ravel(), maps.ravel()))


def region_shares(lesions: np.ndarray) -> np.ndarray:
    """1 / (size of the pixel's region x regions)."""
    shares, regions = np.zeros(lesions.shape), 0
    for one in range(len(lesions)):
        count, labels = cv2.connectedComponents(lesions[one].astype(np.uint8))
        regions += count - 1
        for number in range(1, count):
            shares[one][labels == number] = 1 / (labels == number).sum()
    return shares / regions


def test_intervals_of_both_areas_hold_the_truth() -> None:
    """Maps whose pixels of a patient go up and down together: 95 % of intervals hold the areas of many images."""
    rng = np.random.default_rng(0)
    held = {"pixel_auroc": 0, "aupro": 0}
    many = localization_figures(*noisy_maps(rng, 3000), np.arange(3000).astype(str).tolist())
    for _ in range(150):
        found = localization_figures(*noisy_maps(rng, 40), np.repeat(np.arange(20), 2).astype(str).tolist())
        for name in held:
            figure, truth = getattr(found, name), getattr(many, name).value
            held[name] += figure.low <= truth <= figure.high
    assert 135 <= held["pixel_auroc"] <= 150 and 135 <= held["aupro"] <= 150


def noisy_maps(rng: np.random.Generator, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of the images, two of each patient, have a lesion; its strength belongs to the patient."""
    lesions = np.zeros((images, 8, 8), bool)
    strength = np.repeat(rng.normal(2, 1, (images + 1) // 2), 2)[:images]
    for one in range(images // 2):
        row, col = rng.integers(0, 5, 2)
        lesions[one, row : row + rng.integers(1, 4), col : col + 2] = True
    return rng.normal(size=lesions.shape) + lesions * strength[:, None, None], lesions
