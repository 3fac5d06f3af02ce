"""Models made of models: hand-set networks whose answers are known, seeds, states left as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.evaluation.calibration import Scaling
from hilum.evaluation.wrappers import Calibrated, Ensemble, TestTimeAugmented, mc_dropout, seen
from hilum.models import ChestModel, build

PIXELS = Pixels(size=(32, 40))
CLASSES = ("normal", "bacteria", "virus")


def net(seed: int, dropout: float = 0.5, pixels: Pixels = PIXELS) -> ChestModel:
    torch.manual_seed(seed)
    options = {"width": 8, "stages": [1, 1], "embedding": 16, "dropout": dropout}
    return build("resnet", CLASSES, pixels, options).eval()


def images(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 1, 32, 40, generator=torch.Generator().manual_seed(0))


def test_calibrated_scales_the_logits_and_reads_the_card() -> None:
    model, x = net(0), images()
    scaling = Scaling("vector", (0.5, 1.0, 2.0), (0.0, 1.0, -1.0))
    expected = model(x) * torch.tensor([0.5, 1, 2]) + torch.tensor([0.0, 1, -1])
    assert torch.allclose(Calibrated(model, scaling)(x), expected)
    model.card = {"classes": list(CLASSES), "weights_digest": "a"}
    with pytest.raises(ModelError, match="the model's card holds no calibration; run: hilum evaluate RUN"):
        Calibrated(model)
    model.card["calibration"] = {**scaling.to_json(), "weights_digest": "a"}
    wrapped = Calibrated(model)
    assert torch.allclose(wrapped(x), expected)
    assert wrapped.classes == CLASSES
    assert torch.equal(wrapped.embed(x), model.embed(x))


def test_ensemble_gives_the_mean_probability() -> None:
    models, x = [net(0), net(1)], images()
    together = Ensemble(models)
    expected = (models[0](x).softmax(1) + models[1](x).softmax(1)) / 2
    assert torch.allclose(together(x).softmax(1), expected, atol=1e-6)
    assert together.members(x).shape == (2, 3, 3)
    with pytest.raises(ModelError, match="model 1 of the ensemble has other pixels than model 0"):
        Ensemble([net(0), net(1, pixels=Pixels(size=(48, 48)))])
    with pytest.raises(ModelError, match="an ensemble of no models has no answer"):
        Ensemble([])


def test_views_of_the_image_itself_change_nothing_and_shifts_shift() -> None:
    model, x = net(0), images()
    same = TestTimeAugmented(model, [(0, 0, 0, 1)])
    assert torch.allclose(same(x).softmax(1), model(x).softmax(1), atol=1e-6)
    moved = seen(x, 0, 4 / 40, 2 / 32, 1)  # four pixels right, two down
    torch.testing.assert_close(moved[..., 2:, 4:], x[..., :-2, :-4], atol=1e-4, rtol=0)
    turned = seen(x[..., :32], 90, 0, 0, 1)  # anticlockwise, on a square
    torch.testing.assert_close(turned, torch.rot90(x[..., :32], 1, (-2, -1)), atol=1e-4, rtol=0)
    with pytest.raises(ModelError, match="no view of the image was named"):
        TestTimeAugmented(model, [])


def test_a_turn_does_not_shear_an_oblong_image() -> None:
    """A disc in the middle of an oblong image is the same disc after a turn."""
    rows, cols = np.mgrid[:64, :128]
    disc = torch.from_numpy(((rows - 31.5) ** 2 + (cols - 63.5) ** 2 < 400).astype(np.float32))[None, None]
    assert (seen(disc, 30, 0, 0, 1) - disc).abs().mean() < 0.01


def test_dropout_is_drawn_from_its_seed_and_the_mean_is_the_models() -> None:
    model, x = net(0), images()
    before = torch.get_rng_state()
    first = mc_dropout(model, x, 400, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, mc_dropout(model, x, 400, seed=3))
    assert not torch.equal(first[:2], mc_dropout(model, x, 2, seed=4))
    assert first.std(0).min() > 1e-4
    assert not model.training
    assert not any(one.training for one in model.modules())
    # Dropout before a linear head: the mean logit is the logit without dropout.
    mean_logit = first.log().mean(0)
    differences = mean_logit - mean_logit[:, :1]
    plain = model(x) - model(x)[:, :1]
    torch.testing.assert_close(differences, plain, atol=0.2, rtol=0.2)


def test_dropout_among_the_features_is_drawn_anew_in_each_pass() -> None:
    torch.manual_seed(0)
    model = ChestModel(
        CLASSES,
        PIXELS,
        features=nn.Sequential(nn.Conv2d(1, 8, 3), nn.Dropout2d(0.5)),
        pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        neck=nn.Identity(),
        head=nn.Linear(8, 3),
    ).eval()
    assert mc_dropout(model, images(), 5, seed=0).std(0).min() > 1e-5


def test_a_model_without_dropout_says_so() -> None:
    with pytest.raises(ModelError, match="the model has no dropout; train one with dropout"):
        mc_dropout(net(0, dropout=0.0), images(), 2, seed=0)
    with pytest.raises(ModelError, match="0 passes with dropout are none"):
        mc_dropout(net(0), images(), 0, seed=0)
