"""Synthesised inputs against separate sessions on the whole network, and against a known optimum."""

import pytest
import torch
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, TrainingError
from hilum.explain.filters.synthesis import synthesize, synthesize_clean
from hilum.explain.network.trunk import Trunk


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(6 * 48, 2)]
    net = nn.Sequential(*layers)
    net[1].running_mean.uniform_(-0.2, 0.2)
    return net.eval()


IMAGE = torch.linspace(-1, 1, 12 * 16).view(1, 12, 16).cos()


def session(net: nn.Module, layer: int, number: int, steps: int, lr: float) -> tuple[Tensor, list[float]]:
    """The seed's way: one session per filter, the whole network, the gradient of everything."""
    kept: list[Tensor] = []
    handle = net[layer].register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    x = IMAGE[None].clone().requires_grad_(True)
    curve = []
    for _ in range(steps):
        kept.clear()
        net(x)
        value = kept[0][0, number].mean()
        curve.append(value.item())
        value.backward()
        x.data += lr * x.grad
        x.grad = None
    handle.remove()
    return x.detach(), curve


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_equals_separate_sessions(batch: int) -> None:
    filters = [5, 0, 2]
    found = synthesize(network(), "4", filters, IMAGE, steps=6, lr=20.0, batch=batch)
    assert found.filters == (5, 0, 2) and found.images.shape == (3, 1, 12, 16)
    for i, number in enumerate(filters):
        image, curve = session(network(), 4, number, 6, 20.0)
        torch.testing.assert_close(found.images[i : i + 1], image, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.activation[i, :-1], torch.tensor(curve), rtol=1e-4, atol=1e-5)
    assert (found.activation[:, -1] > found.activation[:, 0]).all()


def test_relu_or_pool_before_the_layer_and_as_the_layer_give_what_the_network_gives() -> None:
    net = network()
    net.append(nn.Identity())
    x = torch.randn(3, 1, 12, 16, generator=torch.Generator().manual_seed(1))
    for name in ("1", "2", "3", "4", "5", "7"):
        kept: list[Tensor] = []
        number = int(name)
        handle = net[number].register_forward_hook(
            lambda module, inputs, output, kept=kept: kept.append(output.clone())
        )
        net(x)
        handle.remove()
        torch.testing.assert_close(Trunk(net, name, x).output(x), kept[0], rtol=1e-5, atol=1e-6)


def test_a_layer_that_comes_twice_stays_between_relu_and_pool() -> None:
    torch.manual_seed(0)
    again = nn.Conv2d(1, 1, 3, padding=1)
    net = nn.Sequential(again, nn.ReLU(), again, nn.MaxPool2d(2), nn.Conv2d(1, 2, 1))
    x = torch.randn(2, 1, 12, 16)
    torch.testing.assert_close(Trunk(net, "4", x).output(x), net(x), rtol=1e-5, atol=1e-6)


def test_a_narrowed_layer_computes_the_wanted_filters_alone_and_another_choice_starts_from_all() -> None:
    x = torch.randn(2, 1, 12, 16, generator=torch.Generator().manual_seed(1))
    trunk = Trunk(network(), "4", x)
    whole = trunk.output(x)
    for wanted in ([5, 0], [2, 2, 3], [5]):
        assert trunk.narrow(wanted) == list(range(len(wanted)))
        torch.testing.assert_close(trunk.output(x), whole[:, wanted], rtol=1e-5, atol=1e-6)
    logits = Trunk(network(), "7", x)
    assert logits.narrow([1, 0]) == [1, 0] and logits.output(x).shape == (2, 2)


def test_a_logit_can_be_climbed_and_the_model_stays() -> None:
    net = network().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = synthesize(net, net[7], [1], IMAGE, steps=3, lr=1.0)
    # Until a ReLU switches, the logit is linear in the image: each step adds lr * |gradient|^2.
    assert (found.activation[0].diff() > 0).all()
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_bfloat16_climbs_to_about_the_same() -> None:
    exact = synthesize(network(), "4", [0, 1], IMAGE, steps=4, lr=20.0)
    rough = synthesize(network(), "4", [0, 1], IMAGE, steps=4, lr=20.0, dtype=torch.bfloat16)
    assert rough.images.dtype == torch.float32
    torch.testing.assert_close(rough.activation, exact.activation, rtol=0.03, atol=0.03)


def test_no_steps_give_the_start() -> None:
    found = synthesize(network(), "4", [3], IMAGE, steps=0)
    assert torch.equal(found.images[0], IMAGE) and found.activation.shape == (1, 1)


def test_progress_counts_every_step() -> None:
    seen: list[tuple[int, int]] = []
    synthesize(network(), "0", [0, 1, 2], IMAGE, 2, 1.0, batch=2, progress=lambda *count: seen.append(count))
    assert seen == [(2, 6), (4, 6), (5, 6), (6, 6)]


def test_the_careful_way_finds_the_direction_that_a_filter_looks_for() -> None:
    """A filter for vertical stripes is driven by vertical stripes."""
    wave = 2 * torch.pi * torch.arange(8) / 8
    net = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Softplus())
    net[0].weight.data = torch.stack([wave.cos(), wave.sin()])[:, None, None, :].repeat(1, 1, 8, 1) / 8
    net[0].bias.data.zero_()
    found = synthesize_clean(net, "1", [0], torch.randn(1, 48, 48), steps=60, frame_fraction=0.0, smooth=0.0)
    assert found.activation[0, -1] > 1.2 * found.activation[0, 0]
    along, across = found.images.diff(dim=3).square().mean(), found.images.diff(dim=2).square().mean()
    assert along > 3 * across  # stripes in the filter's direction; the random start has none


def test_the_careful_way_repeats_and_stays_in_range() -> None:
    first, second = (
        synthesize_clean(network(), "4", [1, 2], IMAGE, steps=5, lr=5.0, seed=3) for _ in range(2)
    )
    assert torch.equal(first.images, second.images)
    other = synthesize_clean(network(), "4", [1, 2], IMAGE, steps=5, lr=5.0, seed=4)
    assert not torch.equal(first.images, other.images)
    assert float((first.images - IMAGE.mean()).abs().max()) <= 4.001 * float(IMAGE.std())


def test_bad_input() -> None:
    net = network()
    with pytest.raises(ModelError, match="no layer 'conv'"):
        synthesize(net, "conv", [0], IMAGE)
    with pytest.raises(ModelError, match="layer '4' has no filter 6; it has 6: 0 to 5"):
        synthesize(net, "4", [6], IMAGE)
    with pytest.raises(ModelError, match="no filter is named"):
        synthesize(net, "4", [], IMAGE)
    with pytest.raises(DataError, match="one image"):
        synthesize(net, "4", [0], torch.zeros(2, 1, 12, 16))
    with pytest.raises(RecipeError, match="learning rate of 0"):
        synthesize(net, "4", [0], IMAGE, lr=0.0)
    with pytest.raises(RecipeError, match="-1 steps"):
        synthesize(net, "4", [0], IMAGE, steps=-1)
    with pytest.raises(RecipeError, match=r"frame_fraction 1\.5"):
        synthesize_clean(net, "4", [0], IMAGE, frame_fraction=1.5)
    with pytest.raises(TrainingError, match="no longer finite"):
        synthesize(net, "4", [0], IMAGE * 3e38, steps=1)
