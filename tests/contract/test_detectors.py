"""What every detector must hold. The files are found, so a new one is tested with no other edit."""

import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.anomaly.detector import Detector, build, names
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.reconstruction import Reconstruction
from hilum.anomaly.saved import load_detector, save_detector
from hilum.data.images import Pixels, Standardize
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.errors import DataError, ModelError, RecipeError
from hilum.files import read_json, write_json

PIXELS = Pixels(size=(64, 72))
SETTINGS = PhantomSettings(patients=20, size=(96, 108))


def phantoms(label: str, count: int) -> np.ndarray:
    return np.stack(
        [PIXELS.prepare(phantom_image(SETTINGS, label, person, 0).image) for person in range(count)]
    )


def options_of(name: str) -> dict[str, Any]:
    return dict(import_module(f"hilum.anomaly.detectors.{name}").SMALLEST)


def fitted(name: str, images: HealthyImages, seed: int = 0) -> Detector:
    detector = build(name, images.pixels, options_of(name))
    detector.fit(images, seed)
    return detector


@pytest.fixture(scope="module")
def healthy() -> HealthyImages:
    return HealthyImages.of_images(phantoms("normal", 8), ["normal"] * 8, PIXELS)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Two abnormal images, a healthy one, and noise, as the network sees them."""
    noise = np.random.default_rng(0).integers(0, 256, (1, *PIXELS.size)).astype(np.uint8)
    prepared = np.concatenate([phantoms("bacteria", 2), phantoms("normal", 1), noise])
    return torch.from_numpy(PIXELS.normalize(prepared))[:, None]


@pytest.fixture(scope="module", params=names())
def detector(request: pytest.FixtureRequest, healthy: HealthyImages) -> Detector:
    return fitted(request.param, healthy)


def test_scores_are_finite_and_maps_have_the_size_of_the_image(detector: Detector, images) -> None:
    scored = detector.score(images)
    assert scored.score.shape == (4,) and scored.score.dtype == torch.float32
    assert scored.map.shape == (4, *PIXELS.size) and scored.map.dtype == torch.float32
    assert torch.isfinite(scored.score).all() and torch.isfinite(scored.map).all()
    assert scored.score.std() > 0 and (scored.map.flatten(1).std(1) > 0).all()
    assert (scored.reconstruction is not None) == isinstance(detector, Reconstruction)
    image = scored.map if scored.reconstruction is None else scored.reconstruction
    assert image.shape == (4, *PIXELS.size) and torch.isfinite(image).all()


def test_scoring_again_and_alone_gives_the_same(detector: Detector, images) -> None:
    together = detector.score(images)
    assert torch.equal(detector.score(images).score, together.score)
    reversed_ = detector.score(images.flip(0))
    for place, image in enumerate(images):
        alone = detector.score(image[None])
        for other in (together.score[place], reversed_.score[3 - place]):
            assert torch.allclose(alone.score[0], other, rtol=1e-3, atol=1e-5)
        assert torch.allclose(alone.map[0], together.map[place], rtol=1e-3, atol=1e-3)
    assert not detector.training
    assert not together.score.requires_grad


def test_noise_scores_above_a_healthy_image(detector: Detector, images) -> None:
    score = detector.score(images).score
    assert score[3] > score[2]


def test_the_seed_repeats_and_the_callers_chance_is_left_alone(detector: Detector, healthy, images) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    again = fitted(detector.name, healthy)
    assert torch.equal(torch.rand(1), expected)
    assert torch.allclose(again.score(images).score, detector.score(images).score, rtol=1e-5)
    assert torch.allclose(again.score(images).map, detector.score(images).map, rtol=1e-4, atol=1e-5)


def test_it_fits_with_a_bar_that_reaches_its_end(detector: Detector, healthy) -> None:
    calls: list[tuple[int, int]] = []
    build(detector.name, PIXELS, options_of(detector.name)).fit(
        healthy, 0, lambda done, total: calls.append((done, total))
    )
    assert calls and calls[-1][0] == calls[-1][1]
    assert all(0 <= done <= total for done, total in calls)


def test_it_describes_itself(detector: Detector) -> None:
    assert len(detector.description) > 20
    assert detector.pretrained is False  # the smallest options use nothing from elsewhere


def test_a_saved_detector_scores_the_same(detector: Detector, images, tmp_path: Path) -> None:
    save_detector(detector, tmp_path, seed=7)
    again = load_detector(tmp_path)
    assert torch.equal(again.score(images).score, detector.score(images).score)
    assert torch.equal(again.score(images).map, detector.score(images).map)
    assert again.name == detector.name and again.options == detector.options
    assert again.card is not None and again.card.seed == 7
    assert again.card.pixels.size == PIXELS.size and again.card.description == detector.description


def test_damaged_and_foreign_files_are_named(detector: Detector, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    save_detector(detector, whole)

    def copy(name: str) -> Path:
        return Path(shutil.copytree(whole, tmp_path / name))

    cut = copy("cut") / "detector.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"detector.safetensors is not the file that detector.json was"):
        load_detector(cut.parent)
    cut.unlink()
    with pytest.raises(ModelError, match=r"has no detector.safetensors; fit the detector again"):
        load_detector(cut.parent)
    with pytest.raises(ModelError, match=r"nowhere/detector.json is missing; restore the file or fit"):
        load_detector(tmp_path / "nowhere")
    card = copy("card") / "detector.json"
    card.write_text("{")
    with pytest.raises(ModelError, match=r"detector.json is damaged"):
        load_detector(card.parent)
    write_json(card, {**read_json(whole / "detector.json"), "schema_version": 99})
    with pytest.raises(
        ModelError, match=r"has schema version 99, this hilum reads 1; restore the file or fit"
    ):
        load_detector(card.parent)
    facts = read_json(whole / "detector.json")
    del facts["pixels"]
    write_json(card, facts)
    with pytest.raises(ModelError, match=r"detector.json is damaged \(pixels: Field required\)"):
        load_detector(card.parent)


def test_files_of_another_detector_are_refused(detector: Detector, healthy, tmp_path: Path) -> None:
    """The digest fits, the tensors do not."""
    other = next(name for name in names() if name != detector.name)
    save_detector(detector, tmp_path)
    facts = read_json(tmp_path / "detector.json")
    write_json(
        tmp_path / "detector.json", {**facts, "detector": {"name": other, "options": options_of(other)}}
    )
    with pytest.raises(ModelError, match=f"does not hold a {other}"):
        load_detector(tmp_path)


def test_what_can_not_be_scored_is_named(detector: Detector, images) -> None:
    with pytest.raises(
        DataError, match=r"images of shape \(4, 3, 64, 72\) do not fit .*; give \(batch, 1, 64, 72"
    ):
        detector.score(images.expand(-1, 3, -1, -1))
    with pytest.raises(DataError, match=r"images of shape \(4, 1, 64, 64\) do not fit"):
        detector.score(images[..., :64])
    with pytest.raises(DataError, match="do not fit"):
        detector.score(images[0])
    with pytest.raises(DataError, match="there is no image to score"):
        detector.score(images[:0])
    broken = images.clone()
    broken[2, 0, 5, 5] = float("nan")
    with pytest.raises(DataError, match="image 2 of the batch holds NaN or infinity; prepare it again"):
        detector.score(broken)


@pytest.mark.parametrize("name", names())
def test_before_fit_and_with_too_little(name: str, healthy: HealthyImages, tmp_path: Path) -> None:
    fresh = build(name, PIXELS, options_of(name))
    with pytest.raises(ModelError, match=f"{name!r} has not been fitted; call fit"):
        fresh.score(healthy.tensor([0]))
    with pytest.raises(ModelError, match="has not been fitted; call fit before saving"):
        save_detector(fresh, tmp_path)
    with pytest.raises(DataError, match="1 healthy image is too few"):
        fresh.fit(healthy.part([0]), 0)
    other = Pixels(size=(64, 64))
    images = HealthyImages.of_images(np.zeros((3, 64, 64), np.uint8), ["normal"] * 3, other)
    with pytest.raises(DataError, match=r"the images were prepared as .* expects .*; use one pixel contract"):
        fresh.fit(images, 0)


@pytest.mark.parametrize("name", names())
def test_options_are_checked(name: str) -> None:
    with pytest.raises(RecipeError, match=f"detector {name!r} has no option 'colour'"):
        build(name, PIXELS, {"colour": 3})
    build(name, PIXELS)  # every option has a default


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("standardize", ["dataset", "image"])
@pytest.mark.parametrize("grey", [0, 128])
def test_images_without_contrast_can_be_fitted_on(name: str, standardize: Standardize, grey: int) -> None:
    """Every detector must take flat images: none may raise, flat images score alike, noise scores
    differently, and every score is finite."""
    pixels = replace(PIXELS, standardize=standardize)
    flat = np.full((4, *pixels.size), grey, np.uint8)
    healthy = HealthyImages.of_images(flat, ["normal"] * 4, pixels)
    noise = np.random.default_rng(0).integers(0, 256, (1, *pixels.size), dtype=np.uint8)
    x = torch.from_numpy(pixels.normalize(np.concatenate([flat[:2], noise])))[:, None]
    scored = fitted(name, healthy).score(x)
    assert torch.isfinite(scored.score).all() and torch.isfinite(scored.map).all()
    first, second, noisy = scored.score.tolist()
    assert first == pytest.approx(second, abs=1e-5)
    assert abs(noisy - first) > 1e-3
