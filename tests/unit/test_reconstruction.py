"""Losses against independent arithmetic; auto-encoders on images with a planted change."""

from typing import Any

import numpy as np
import pytest
import torch

from hilum.anomaly.detector import build
from hilum.anomaly.detectors.variational_autoencoder import divergence
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.reconstruction import Perceptual, differences, ssim_map
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.errors import RecipeError

PIXELS = Pixels(size=(64, 64), standardize="image")
SETTINGS = PhantomSettings(patients=60, size=(64, 72))


def test_ssim_is_the_formula_of_wang() -> None:
    """Window by window in NumPy, away from the border."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 20, 20))
    found = ssim_map(*(torch.from_numpy(v)[None, None] for v in (a, b)), value_range=2.0, window=5)[0, 0]
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    for y, x in ((2, 2), (7, 11), (17, 17)):
        one, other = (v[y - 2 : y + 3, x - 2 : x + 3] for v in (a, b))
        cov = ((one - one.mean()) * (other - other.mean())).mean()
        expected = ((2 * one.mean() * other.mean() + c1) * (2 * cov + c2)) / (
            (one.mean() ** 2 + other.mean() ** 2 + c1) * (one.var() + other.var() + c2)
        )
        assert float(found[y, x]) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_flat_images_is_known() -> None:
    """No variance: only the luminance term is left, (2 * 1 * 3 + c1) / (1 + 9 + c1)."""
    flat = ssim_map(torch.ones(1, 1, 9, 9), torch.full((1, 1, 9, 9), 3.0), value_range=1.0)
    assert torch.allclose(flat, torch.full_like(flat, 6.0001 / 10.0001), atol=1e-4)


def test_losses_by_hand() -> None:
    a, b = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 5.0]]]])
    assert differences("l1")(a, b).flatten().tolist() == [2.0, 3.0]
    assert differences("l2")(a, b).flatten().tolist() == [4.0, 9.0]
    with pytest.raises(RecipeError, match="loss 'l3' is not known; did you mean 'l"):
        differences("l3")


def test_the_perceptual_distance_sees_structure_and_stays_fixed() -> None:
    torch.manual_seed(0)
    net = Perceptual(8).train()
    x = torch.randn(2, 1, 64, 64)
    assert not net.trunk.training and not any(p.requires_grad for p in net.parameters())
    assert float(net(x, x).abs().max()) == 0
    moved = x.clone()
    moved[0, 0, 20:40, 20:40] += 2
    away = net(x, moved)
    assert away.shape == x.shape and float(away[1].max()) == 0
    assert float(away[0, 0, 24:36, 24:36].mean()) > 3 * float(away[0, 0, :, :8].mean())


def test_divergence_is_that_of_torch() -> None:
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    cloud = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = torch.distributions.kl_divergence(cloud, torch.distributions.Normal(0.0, 1.0)).sum(1)
    assert torch.allclose(divergence(mean, log_variance), expected, atol=1e-5)


@pytest.fixture(scope="module")
def healthy() -> HealthyImages:
    images = np.stack([PIXELS.prepare(phantom_image(SETTINGS, "normal", p, 0).image) for p in range(48)])
    return HealthyImages.of_images(images, ["normal"] * 48, PIXELS)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autoencoder", {"loss": "l1", "field": "image"}),
        ("autoencoder", {"loss": "ssim", "field": "image"}),
        ("autoencoder", {"loss": "perceptual", "field": "image"}),
        ("denoising_autoencoder", {"field": "image"}),
        ("variational_autoencoder", {"field": "image"}),
    ],
)
def test_a_planted_square_is_anomalous_where_it_is(name: str, options: dict[str, Any], healthy) -> None:
    small = {"epochs": 8, "batch_size": 8, "precision": "fp32", "width": 8, "depth": 4}
    detector = build(name, PIXELS, small | options)
    detector.fit(healthy, 0)
    fresh = np.stack([PIXELS.prepare(phantom_image(SETTINGS, "normal", p, 0).image) for p in range(48, 56)])
    planted = fresh.copy()
    planted[:, 26:40, 12:26] = 255
    clear, struck = (detector.score(torch.from_numpy(PIXELS.normalize(x))[:, None]) for x in (fresh, planted))
    assert (struck.score > clear.score).float().mean() > 0.8
    inside, outside = struck.map[:, 28:38, 14:24].mean((1, 2)), struck.map.mean((1, 2))
    assert (inside > outside).float().mean() > 0.8


def test_the_lung_option_quiets_what_lies_outside(healthy) -> None:
    maps = {}
    for field in ("image", "lung"):
        detector = build(
            "autoencoder", PIXELS, {"epochs": 2, "width": 4, "field": field, "precision": "fp32"}
        )
        detector.fit(healthy, 0)
        maps[field] = detector.score(healthy.tensor([0, 1])).map.abs()
    assert maps["lung"][:, :, :3].sum() < 0.2 * maps["image"][:, :, :3].sum()


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("autoencoder", {"loss": "l3"}, "loss 'l3' is not known"),
        ("autoencoder", {"latent": 0}, "latent is 0; choose 1 or more"),
        ("autoencoder", {"smooth": 4}, "smooth is 4; choose an odd number"),
        ("autoencoder", {"field": "heart"}, "field 'heart' is not known; choose 'image' or 'lung'"),
        ("denoising_autoencoder", {"noise": 0.0}, "noise is 0"),
        ("variational_autoencoder", {"beta": -1.0}, "beta is -1"),
        ("synthetic_opacity", {"members": 0}, "members is 0; choose 1 or more"),
        ("synthetic_opacity", {"logit_share": 2.0}, "logit_share is 2.0; choose a share"),
        ("synthetic_opacity", {"precision": "fp8"}, "precision 'fp8' is not known"),
    ],
)
def test_options_out_of_range_are_named(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        build(name, PIXELS, options)
