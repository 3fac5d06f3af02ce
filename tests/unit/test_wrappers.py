"""Several predictions of one image: views and dropout, seeds, states left as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.evaluation.wrappers import mc_dropout, members_of_images, view_members, view_of
from hilum.models import ChestModel, build
from hilum.run import Run

PIXELS = Pixels(size=(32, 40))
CLASSES = ("normal", "bacteria", "virus")


def net(seed: int, dropout: float = 0.5, pixels: Pixels = PIXELS) -> ChestModel:
    torch.manual_seed(seed)
    options = {"width": 8, "stages": [1, 1], "embedding": 16, "dropout": dropout}
    return build("resnet", CLASSES, pixels, options).eval()


def images(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 1, 32, 40, generator=torch.Generator().manual_seed(0))


def test_views_of_the_image_itself_change_nothing_and_shifts_shift() -> None:
    model, x = net(0), images()
    [same] = view_members(model, x, [(0, 0, 0, 1)])
    assert torch.allclose(same, model(x).softmax(1), atol=1e-6)
    moved = view_of(x, 0, 4 / 40, 2 / 32, 1)  # four pixels right, two down
    torch.testing.assert_close(moved[..., 2:, 4:], x[..., :-2, :-4], atol=1e-4, rtol=0)
    turned = view_of(x[..., :32], 90, 0, 0, 1)  # anticlockwise, on a square
    torch.testing.assert_close(turned, torch.rot90(x[..., :32], 1, (-2, -1)), atol=1e-4, rtol=0)


def test_a_turn_does_not_shear_an_oblong_image() -> None:
    """A disc in the middle of an oblong image is the same disc after a turn."""
    rows, cols = np.mgrid[:64, :128]
    disc = torch.from_numpy(((rows - 31.5) ** 2 + (cols - 63.5) ** 2 < 400).astype(np.float32))[None, None]
    assert (view_of(disc, 30, 0, 0, 1) - disc).abs().mean() < 0.01


def test_dropout_is_drawn_from_its_seed_and_the_mean_is_the_models() -> None:
    model, x = net(0), images()
    before = torch.get_rng_state()
    first = mc_dropout(model, x, 400, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, mc_dropout(model, x, 400, seed=3))
    assert not torch.equal(first[:2], mc_dropout(model, x, 2, seed=4))
    assert first.std(0).min() > 1e-4
    assert not model.training
    assert not any(part.training for part in model.modules())
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


@pytest.mark.parametrize("way", ["mc_dropout", "views"])
def test_members_of_cached_images_are_those_of_the_images_themselves(small_run: Run, way: str) -> None:
    cases = small_run.cases()
    ids = cases.table["case_id"].iloc[[5, 2, 9]].tolist()
    model = net(1)
    members = members_of_images(model, cases, ids, way, passes=4, seed=7)
    paths = cases.table.set_index("case_id")["path"]
    x = torch.stack([PIXELS.apply(read_grey(paths[case])) for case in ids])
    with torch.inference_mode():
        expected = mc_dropout(model, x, 4, seed=7) if way == "mc_dropout" else view_members(model, x)
    np.testing.assert_allclose(members, expected.numpy(), atol=1e-5)
    assert members.shape == ((4 if way == "mc_dropout" else 6), 3, 3) and members.dtype == np.float32
