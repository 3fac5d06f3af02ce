"""The terms of VICReg against independent arithmetic, and features trained with them."""

import numpy as np
import pytest
import torch

from hilum.anomaly.detector import build
from hilum.anomaly.feature_net import build as build_features
from hilum.anomaly.features.contrastive import vicreg_terms
from hilum.anomaly.healthy import HealthyImages
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.errors import RecipeError

PIXELS = Pixels(size=(64, 64), standardize="image")


def test_the_terms_are_those_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6, 3)) * 0.5
    invariance, variance, covariance = (
        float(t) for t in vicreg_terms(torch.from_numpy(a), torch.from_numpy(b))
    )
    assert invariance == pytest.approx(((a - b) ** 2).mean())
    spread = [np.maximum(0, 1 - np.sqrt(one.var(0, ddof=1) + 1e-4)).mean() for one in (a, b)]
    assert variance == pytest.approx(sum(spread))
    matrices = [np.cov(one.T) for one in (a, b)]
    off = [sum(m[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3 for m in matrices]
    assert covariance == pytest.approx(sum(off))


def test_they_serve_the_patch_detectors() -> None:
    settings = PhantomSettings(patients=20, size=(64, 72))
    images = np.stack([PIXELS.prepare(phantom_image(settings, "normal", p, 0).image) for p in range(16)])
    radiographs = HealthyImages.of_images(images, ["normal"] * 16, PIXELS)
    options = {"width": 8, "steps": 15, "batch_size": 8, "projector": 16, "precision": "fp32"}
    found = build("patch_gaussian", PIXELS, {"features": "contrastive", "feature_options": options})
    found.fit(radiographs, 0)
    assert "same healthy image" in found.description
    assert torch.isfinite(found.score(radiographs.tensor([0, 1])).score).all()


def test_options_are_checked() -> None:
    with pytest.raises(RecipeError, match=r"steps 0, .* are too small"):
        build_features("contrastive", PIXELS, {"steps": 0})
