"""Ablation against running the whole network with a hook, and against networks whose filters are known."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain.filters.ablation import ablate, effect
from hilum.explain.network.cut import Cut
from hilum.models import build


class Viewing(nn.Module):
    """Holds the number of images as a number, so that its calls can't be replayed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x).relu()
        return self.head(maps.view(x.shape[0], 3, maps.shape[2] * maps.shape[3]).mean(2))


def net(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "view":
        return Viewing()
    options = {
        "vgg": {"blocks": [[4, 4], [6]], "dense": [8]},
        "resnet": {"stages": [1, 2], "width": 4, "embedding": 8},
    }
    model = build(name, ["normal", "bacteria", "virus"], Pixels(size=(24, 32)), options[name])
    for module in model.modules():  # statistics that a normalisation could not have by accident
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model


CUTS = [("vgg", "features.2"), ("vgg", "features.6"), ("resnet", "features.4"), ("resnet",
"features.5.conv1"),
        ("resnet", "features.0"), ("view", "conv")]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), CUTS)
def test_resumed_network_is_the_network(name: str, layer: str) -> None:
    model = net(name).eval()
    x = torch.randn(5, 1, 24, 32)
    cut = Cut(model, layer, x)
    assert cut.replayed == (name != "view")
    known = cut.before(x)
    torch.testing.assert_close(cut.after(known), model(x).detach(), rtol=1e-4, atol=1e-4)

    def double(maps: torch.Tensor) -> torch.Tensor:
        return maps * 2

    inside = copy.deepcopy(model)
    inside.get_submodule(layer).register_forward_hook(lambda *seen: double(seen[-1]))
    for module in inside.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    torch.testing.assert_close(cut.after(known, double), inside(x).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cut.after(known), model(x).detach(), rtol=1e-4, atol=1e-4)  # nothing stuck


@pytest.mark.parametrize("name", ["vgg", "resnet"])
@pytest.mark.parametrize("fill", ["mean", "zero"])
def test_ablation_equals_a_hook_on_the_whole_network(name: str, fill: str) -> None:
    model = net(name)
    layer = {"vgg": "features.2", "resnet": "features.4"}[name]
    x, targets = torch.randn(7, 1, 24, 32), np.array([0, 1, 2, 0, 1, 2, 0])
    found = ablate(model, x, targets, layer, filters=[3, 1], fill=fill, batch=3)
    assert model.training  # left as it was
    plain = copy.deepcopy(model).eval()
    maps: list[torch.Tensor] = []
    where = plain.get_submodule(layer)
    handle = where.register_forward_hook(lambda _m, _i, output: maps.append(output.detach().clone()))
    base = plain(x).detach()
    handle.remove()
    mean = maps[0].mean((0, 2, 3)) if fill == "mean" else torch.zeros(maps[0].shape[1])
    np.testing.assert_allclose(found.values, mean, rtol=1e-4, atol=1e-5)
    assert found.base.loss == pytest.approx(F.cross_entropy(base, torch.tensor(targets)).item(), rel=1e-4)
    for place, number in enumerate([3, 1]):

        def change(
            _module: nn.Module, _inputs: object, output: torch.Tensor, f: int = number
        ) -> torch.Tensor:
            output = output.clone()
            output[:, f] = mean[f]
            return output

        handle = where.register_forward_hook(change)
        logits = plain(x).detach()
        handle.remove()
        assert found.filters[place].loss == pytest.approx(
            F.cross_entropy(logits, torch.tensor(targets)).item(), rel=1e-4
        )
        probability = logits.softmax(1)[torch.tensor(targets) == 2, 2].mean()
        assert found.changes("probability")[place, 2] == pytest.approx(
            float(probability - base.softmax(1)[torch.tensor(targets) == 2, 2].mean()), abs=1e-4
        )


def test_planted_filters() -> None:
    """Filter 0 says the class, 1 is not read, 2 speaks against the truth, 3 is constant."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2, bias=False)
    )
    model[0].weight.data = torch.tensor([1.0, 1.0, 1.0, 0.0]).view(4, 1, 1, 1)
    model[0].bias.data = torch.tensor([0.0, 0.0, 0.0, 5.0])
    model[3].weight.data = torch.tensor([[0.0] * 4, [3.0, 0.0, -1.0, 1.0]])
    x = torch.tensor([-1.0, -1.0, 1.0, 1.0]).view(4, 1, 1, 1).expand(4, 1, 3, 3)
    found = ablate(model, x, [0, 0, 1, 1], layer="0", batch=2)
    assert found.ranked().tolist() == [0, 1, 3, 2]
    costs = found.costs()
    assert costs[0] > 0 and costs[1] == 0 and costs[3] == 0 and costs[2] < 0
    # logit 1 is 2 v + 5 where v = -1, 1; without filter 0 (mean 0) it is -v + 5
    np.testing.assert_allclose(found.changes("evidence")[0], [-3, -3], atol=1e-6)
    # whole layer at its mean: every image gets logit 5
    assert found.whole.accuracy == 0.5 and found.whole.hit.tolist() == [0.0, 1.0]
    zero = ablate(model, x, [0, 0, 1, 1], layer="0", fill="zero")
    assert zero.changes("evidence")[3].tolist() == [5.0, -5.0]


def test_batch_size_and_order_change_nothing() -> None:
    model = net("vgg").eval()
    x, targets = torch.randn(6, 1, 24, 32), np.array([0, 1, 2, 2, 1, 0])
    one = ablate(model, x, targets, batch=1)
    all_ = ablate(model, x.flip(0), targets[::-1].copy(), batch=6)
    np.testing.assert_allclose(one.costs(), all_.costs(), atol=1e-5)
    assert one.numbers == tuple(range(6)) and one.images == 6


def test_class_without_images_has_no_figure() -> None:
    found = effect(torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([0]))
    assert found.hit[0] == 1 and np.isnan(found.probability[1:]).all()


def test_progress_and_bad_input() -> None:
    model, x = net("vgg"), torch.randn(5, 1, 24, 32)
    seen: list[tuple[int, int]] = []
    ablate(model, x, [0] * 5, filters=[0], batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 5), (4, 5), (5, 5)]
    with pytest.raises(ModelError, match=r"features\.2"):
        ablate(model, x, [0] * 5, layer="feature.2")
    with pytest.raises(ModelError, match="no filter 6; it has 6: 0 to 5"):
        ablate(model, x, [0] * 5, filters=[6])
    with pytest.raises(RecipeError, match="fill 'means' is not known; did you mean 'mean'"):
        ablate(model, x, [0] * 5, fill="means")
    with pytest.raises(DataError, match="4 targets do not fit 5 images"):
        ablate(model, x, [0] * 4)
    with pytest.raises(ModelError, match="no class 3"):
        ablate(model, x, [0, 1, 2, 3, 0])
    with pytest.raises(ModelError, match="gives no maps"):
        ablate(model, x, [0] * 5, layer="neck.0")
    alone = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    with pytest.raises(ModelError, match="one output"):
        ablate(alone, x, [0] * 5)
