"""Linear probes: planted classes, sides that share no patient, features against a plain forward pass."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError
from hilum.explain.filters.probes import layer_means, probe_layers, probed_layers
from hilum.models import build

CLASSES = ("normal", "bacteria", "virus")


def people(count: int) -> list[str]:
    return [f"p{number // 2}" for number in range(count)]


def test_planted_information_is_found_and_chance_is_chance() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(rng.integers(0, 3, 200), 2)  # both images of a patient have its class
    noise = rng.normal(size=(400, 6))
    told = noise.copy()
    told[:, 2] += 6.0 * targets
    some = noise.copy()
    some[:, 2] += 20.0 * (targets > 0)  # tells abnormal from healthy, not the two kinds of abnormal
    fit = np.arange(400) < 200
    chance, half, all_ = probe_layers(
        {"noise": noise, "abnormal": some, "all": told}, targets, CLASSES, people(400), fit, replicates=200
    )
    share = np.bincount(targets[~fit]).max() / 200
    assert abs(chance.accuracy.value - share) < 0.15 and abs(chance.auroc.value - 0.5) < 0.12
    assert all_.accuracy.value > 0.95 and all_.auroc.value > 0.97
    assert chance.accuracy.value < half.accuracy.value < all_.accuracy.value
    assert half.accuracy.low < half.accuracy.value < half.accuracy.high
    assert (half.width, half.fitted, half.measured) == (6, 200, 200)


def test_same_seed_same_probe() -> None:
    rng = np.random.default_rng(1)
    features, targets = {"a": rng.normal(size=(60, 4))}, np.repeat(np.arange(30) % 2, 2)
    fit = np.arange(60) < 30
    first, second = (
        probe_layers(features, targets, ("normal", "abnormal"), people(60), fit, 100, seed=3)
        for _ in range(2)
    )
    assert first == second


def test_means_are_those_of_a_forward_pass() -> None:
    torch.manual_seed(0)
    model = build("resnet", CLASSES, Pixels(size=(32, 32)), {"stages": [1, 1], "width": 4, "embedding": 8})
    x = torch.randn(5, 1, 32, 32)
    found = layer_means(model, x.split(2), ["features", "neck.0", "features.4.act1"])
    assert model.training
    with torch.no_grad():
        maps = model.eval().features(x)
        np.testing.assert_allclose(found["features"], maps.mean((2, 3)), atol=1e-5)
        np.testing.assert_allclose(
            found["neck.0"], model.get_submodule("neck.0")(maps.mean((2, 3))), atol=1e-5
        )
    assert found["features.4.act1"].shape == (5, 4)


def test_layers_in_order_behind_their_activation() -> None:
    model = build("vgg", CLASSES, Pixels(size=(32, 32)), {"blocks": [[4, 4], [6]], "dense": [8]})
    layers = probed_layers(model, (32, 32))
    assert layers == ["features.2", "features.5", "features.9", "neck"]
    assert all(isinstance(model.get_submodule(layer), nn.ReLU) for layer in layers[:3])


def test_residual_blocks_are_one_layer_each() -> None:
    model = build("resnet", CLASSES, Pixels(size=(32, 32)), {"stages": [1, 2], "width": 4, "embedding": 8})
    assert probed_layers(model, (32, 32)) == [
        "features.2",
        "features.4",
        "features.5",
        "features.6",
        "neck",
    ]


class Wrapped(nn.Module):
    """Holds every convolution of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(x).relu()).mean((2, 3))


def test_module_around_everything_is_no_block() -> None:
    assert probed_layers(nn.Sequential(Wrapped(), nn.Linear(3, 2)), (16, 16)) == ["0.one", "0.two"]


def test_bad_input() -> None:
    rng = np.random.default_rng(0)
    features, targets = {"a": rng.normal(size=(8, 2))}, np.array([0, 0, 1, 1] * 2)
    fit = np.arange(8) < 4
    with pytest.raises(DataError, match="patient p1 has images on both sides"):
        probe_layers(features, targets, ("n", "s"), ["p0", "p0", "p1", "p1", "p1", "p2", "p3", "p3"], fit)
    with pytest.raises(DataError, match="hold no 's'"):
        probe_layers(features, np.array([0] * 4 + [1] * 4), ("n", "s"), people(8), fit)
    with pytest.raises(DataError, match="no images on one side"):
        probe_layers(features, targets, ("n", "s"), people(8), np.ones(8, bool))
    with pytest.raises(DataError, match="layer 'a' holds NaN"):
        probe_layers({"a": np.full((8, 2), np.nan)}, targets, ("n", "s"), people(8), fit)
    with pytest.raises(DataError, match="has 7 images, not 8"):
        probe_layers({"a": np.zeros((7, 2))}, targets, ("n", "s"), people(8), fit)
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with pytest.raises(ModelError, match="conv"):
        layer_means(net, [torch.zeros(1, 1, 4, 4)], ["conv"])
    with pytest.raises(DataError, match="no image"):
        layer_means(net, [], ["0"])
