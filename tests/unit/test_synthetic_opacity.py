"""The network trained on synthetic opacities finds lesions that it has not seen; its distance."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

from hilum.anomaly import feature_net
from hilum.anomaly.detector import build
from hilum.anomaly.detectors.synthetic_opacity import SyntheticOpacity
from hilum.anomaly.features import pretext
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.lungs import Lungs
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image

PIXELS = Pixels(size=(64, 64), standardize="image")
SETTINGS = PhantomSettings(patients=60, size=(64, 72))
OPTIONS = {"width": 16, "steps": 120, "batch_size": 16, "views": 0, "precision": "fp32"}


@pytest.fixture(scope="module")
def healthy() -> HealthyImages:
    images = np.stack([PIXELS.prepare(phantom_image(SETTINGS, "normal", p, 0).image) for p in range(48)])
    return HealthyImages.of_images(images, ["normal"] * 48, PIXELS)


@pytest.fixture(scope="module")
def detector(healthy: HealthyImages) -> SyntheticOpacity:
    found = build("synthetic_opacity", PIXELS, OPTIONS)
    found.fit(healthy, 0)
    assert isinstance(found, SyntheticOpacity)
    return found


def test_it_finds_the_lesions_of_phantoms(detector) -> None:
    """Twins that differ in the lesion alone; the network has never seen a phantom's lesion."""
    twins = {
        label: [phantom_image(SETTINGS, label, p, 0) for p in range(48, 60)]
        for label in ("normal", "bacteria")
    }
    scored = {
        label: detector.score(torch.cat([PIXELS.apply(one.image)[None] for one in images]))
        for label, images in twins.items()
    }
    assert (scored["bacteria"].score > scored["normal"].score).float().mean() > 0.65
    pixels = []
    for one, found in zip(twins["bacteria"], scored["bacteria"].map, strict=True):
        truth = PIXELS.prepare(255 * one.lesion.astype(np.uint8)) > 127
        pixels.append(roc_auc_score(truth.ravel(), found.numpy().ravel()))
    assert np.mean(pixels) > 0.75


def test_the_distance_is_that_of_mahalanobis(detector, healthy) -> None:
    """Computed again in NumPy from the network's vectors."""
    net = detector.nets[0]
    assert isinstance(net, pretext.PretextNet)
    with torch.no_grad():
        x = healthy.tensor(slice(None))
        fit = torch.cat([net.read(x)[2], net.read(x.flip(-1))[2]]).double().numpy()
        vector = net.read(x[:5])[2].double().numpy()
    sd = fit.std(0)
    sd = np.maximum(sd, 1e-3 * sd.max())
    covariance, _ = ledoit_wolf((fit - fit.mean(0)) / sd, assume_centered=True)
    away = (vector - fit.mean(0)) / sd
    expected = np.sqrt(np.einsum("fd,de,fe->f", away, np.linalg.inv(covariance), away))
    found = ((torch.from_numpy(vector).float() - detector.center[0]) @ detector.whiten[0].T).norm(dim=1)
    assert np.allclose(found.numpy(), expected, rtol=1e-3)


def test_half_of_each_batch_is_left_healthy(healthy) -> None:
    net = feature_net.build("pretext", PIXELS, {"width": 4})
    assert isinstance(net, pretext.PretextNet)
    lungs = [Lungs(np.zeros(PIXELS.size, bool))] * len(healthy)
    drawn = pretext._batch(healthy.images, lungs, list(range(8)), np.random.default_rng(0))
    x, strength, has_opacity = net._tensors(*drawn)
    assert x.shape == (8, 1, 64, 64) and strength.shape == (8, 16, 16)
    assert has_opacity.tolist() == [0.0, 1.0] * 4
    assert (strength.flatten(1).amax(1) > 0).tolist() == [False, True] * 4


def test_pretext_features_serve_the_patch_detectors(healthy) -> None:
    options = {"features": "pretext", "feature_options": {"width": 8, "steps": 3, "batch_size": 4}}
    found = build("patch_gaussian", PIXELS, options | {"channels": 8})
    found.fit(healthy, 0)
    assert "synthetic opacities in healthy images" in found.description and not found.pretrained
    assert torch.isfinite(found.score(healthy.tensor([0])).score).all()
