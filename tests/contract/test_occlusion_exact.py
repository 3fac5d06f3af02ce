"""Every engine gives what running the network on every masked copy gives, on networks of many kinds."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.explain.occlusion.engines import Network
from hilum.explain.occlusion.masks import place_masks
from hilum.explain.occlusion.occlusion_map import occlusion_map


def brute_force(
    net: nn.Module, x: Tensor, mask: tuple[int, int], stride: int | tuple[int, int], fill: Tensor
) -> Tensor:
    """Logits "rows cols classes" of the network on every masked copy."""
    down, right = (stride, stride) if isinstance(stride, int) else stride
    rows = []
    for top in range(0, x.shape[2] - mask[0] + 1, down):
        lefts = range(0, x.shape[3] - mask[1] + 1, right)
        masked = x.repeat(len(lefts), 1, 1, 1)
        for i, left in enumerate(lefts):
            part = (slice(None), slice(top, top + mask[0]), slice(left, left + mask[1]))
            masked[i][part] = fill.expand_as(x)[0][part]
        rows.append(net(masked))
    return torch.stack(rows)


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Eval mode, random normalisations and biases, so that nothing is zero by accident."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features, generator=generator) * 0.3
            layer.running_var = torch.rand(layer.num_features, generator=generator) + 0.5
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.data *= (2 / layer.weight[0].numel()) ** 0.5
            if layer.bias is not None:
                layer.bias.data = torch.randn(layer.bias.shape, generator=generator) * 0.3
    return net.eval().requires_grad_(False)


def check(
    net: nn.Module, x: Tensor, mask: tuple[int, int], stride: int, fill: float | Tensor = 0.0
) -> set[str]:
    """Compares the logits of every engine and the probability; returns the engines that could be used."""
    net = settled(net)
    filling = fill if isinstance(fill, Tensor) else torch.tensor(fill)
    wanted = brute_force(net, x, mask, stride, filling)
    spread = float(wanted.amax() - wanted.amin())
    assert spread > 1e-3  # otherwise the comparison means nothing
    used = set()
    for engine in ("plain", "window", "corner", "auto"):
        try:
            logits = occlusion_map(net, x, 1, mask, stride, fill, engine=engine, output="logit")
        except ModelError as error:
            assert engine == "corner"
            assert "corner" in str(error)
            continue
        torch.testing.assert_close(logits, wanted[..., 1], rtol=0, atol=1e-5 * max(1.0, spread))
        used.add(engine)
    got = occlusion_map(net, x, 1, mask, stride, fill)
    torch.testing.assert_close(got, wanted.softmax(2)[..., 1], rtol=0, atol=1e-5)
    return used


class Residual(nn.Module):
    """A residual block with a choice of stride."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.GELU(),
            nn.Conv2d(outside, outside, 3, 1, 1),
        )
        self.shortcut = nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.body(x))


class Dense(nn.Module):
    """A DenseNet layer: normalisation first, the result stacked on the input."""

    def __init__(self, inside: int, growth: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(inside), nn.Conv2d(inside, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.silu(self.norm(x)))], 1)


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3)]


def conv(inside: int, outside: int, kernel: int = 3, **options: object) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, **options)  # pyright: ignore[reportArgumentType]


NETS = {
    "vgg": [
        conv(2, 5, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(5, 6, padding=1),
        nn.ReLU(True),
        *head(6),
    ],
    "no padding": [conv(2, 4), nn.Tanh(), conv(4, 4, 2), nn.MaxPool2d(2, 1), *head(4)],
    "strided": [conv(2, 4, 5, stride=2, padding=2), nn.GELU(), conv(4, 4, stride=3, padding=1), *head(4)],
    "sigmoid, biased": [conv(2, 4, padding=1), nn.Sigmoid(), conv(4, 4, padding=1), nn.ELU(), *head(4)],
    "reflect": [conv(2, 4, padding=1, padding_mode="reflect"), nn.GELU(), conv(4, 4, padding=1), *head(4)],
    "replicate": [conv(2, 4, 5, padding=2, padding_mode="replicate"), nn.ReLU(), *head(4)],
    "circular": [conv(2, 4, padding=1, padding_mode="circular"), nn.ReLU(), *head(4)],
    "same, even kernel": [conv(2, 4, 4, padding="same"), nn.ReLU(), conv(4, 4, 2, padding="same"), *head(4)],
    "dilated, grouped": [
        conv(2, 4, dilation=2, padding=2),
        nn.ReLU(),
        conv(4, 4, groups=2, dilation=(1, 2)),
        *head(4),
    ],
    "long kernels": [
        conv(2, 4, (1, 5), padding=(0, 2)),
        nn.ReLU(),
        conv(4, 4, (4, 1), stride=(2, 1)),
        *head(4),
    ],
    "pad layer": [nn.ConstantPad2d((2, 1, 0, 3), 0.7), conv(2, 4), nn.LeakyReLU(0.2), *head(4)],
    "max pool, padded, ceil": [
        conv(2, 4, padding=1),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.GELU(),
        *head(4),
    ],
    "average pool": [
        conv(2, 4),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, 1),
        conv(4, 4, padding=1),
        nn.ReLU(),
        *head(4),
    ],
    "average pool, own count": [
        conv(2, 4),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.GELU(),
        *head(4),
    ],
    "normalised": [
        conv(2, 4),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.BatchNorm2d(4),
        conv(4, 4),
        nn.GELU(),
        *head(4),
    ],
    "flatten and dense": [
        conv(2, 4, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(4 * 11 * 9, 3),
    ],
    "residual": [conv(2, 4, padding=1), nn.ReLU(), Residual(4, 6, 2), nn.AvgPool2d(2), *head(6)],
    "dense blocks": [conv(2, 4, padding=1), Dense(4, 2), nn.MaxPool2d(2), Dense(6, 2), nn.ReLU(), *head(8)],
    "head on the maximum": [conv(2, 4), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)],
    "pooled to a grid": [conv(2, 4), nn.GELU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)],
}
WITHOUT_CORNER = {"head on the maximum", "pooled to a grid"}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_net(name: str) -> None:
    torch.manual_seed(1)
    used = check(nn.Sequential(*NETS[name]), torch.randn(1, 2, 23, 18), (13, 11), 1)
    assert used == {"plain", "window", "auto"} | (set() if name in WITHOUT_CORNER else {"corner"})


def test_flatten_without_pooling() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(
        conv(1, 3, stride=2), nn.GELU(), nn.Flatten(), nn.Linear(3 * 9 * 7, 4), nn.Tanh(), nn.Linear(4, 2)
    )
    assert "corner" in check(net, torch.randn(1, 1, 20, 16), (9, 10), 1)


@pytest.mark.parametrize("fill", [0.5, torch.linspace(-1, 1, 23 * 18).view(1, 1, 23, 18)])
def test_fill(fill: float | Tensor) -> None:
    torch.manual_seed(3)
    assert "corner" in check(nn.Sequential(*NETS["vgg"]), torch.randn(1, 2, 23, 18), (13, 11), 2, fill)


def test_mask_as_large_as_the_image_and_as_small_as_a_pixel() -> None:
    torch.manual_seed(4)
    net, x = nn.Sequential(*NETS["vgg"]), torch.randn(1, 2, 23, 18)
    assert occlusion_map(settled(net), x, 0, (23, 18)).shape == (1, 1)
    check(net, x, (23, 11), 1)
    check(net, x, (1, 1), 5)  # corners at the border of the image, windows elsewhere


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg", {"blocks": ((4, 4), (6,)), "dense": (5,)}),
        ("vgg", {"blocks": ((4, 4), (6,)), "dense": (5,), "pool": "flatten"}),
        ("resnet", {"stages": (1,), "width": 4, "activation": "gelu", "embedding": 6}),
        ("resnet", {"stages": (1, 1), "width": 4, "embedding": 6}),
    ],
)
@pytest.mark.parametrize("classes", [("normal", "pneumonia"), ("normal", "bacteria", "virus")])
def test_our_models(name: str, options: dict[str, object], classes: tuple[str, ...]) -> None:
    torch.manual_seed(5)
    net = models.build(name, classes, Pixels(size=(53, 61)), options)
    assert "corner" in check(net, torch.randn(1, 1, 53, 61), (33, 37), 4)


def test_no_mask_by_corners() -> None:
    """Opposite edges meet at every position, because rows of mere padding are read, too."""
    torch.manual_seed(9)
    layers = [
        conv(1, 3, (1, 3), padding=2),
        nn.Sigmoid(),
        conv(3, 3, (4, 2), stride=2, padding=1, dilation=2),
    ]
    net = settled(nn.Sequential(*layers, nn.Sigmoid(), conv(3, 3, padding=2), *head(3)))
    x = torch.randn(1, 1, 11, 12)
    network = Network(net, x, torch.zeros_like(x), place_masks((11, 12), 4, 3), torch.float32)
    assert not network.rows.apart().any()
    assert "corner" in check(net, x, (4, 4), 3)


def test_some_masks_by_corners_and_the_others_by_windows() -> None:
    """The last map reads 18 px and the mask is 15 px: opposite edges meet at some positions only."""
    torch.manual_seed(8)
    layers = [
        conv(1, 4, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        conv(4, 4, padding=1),
        nn.GELU(),
        nn.MaxPool2d(2),
    ]
    net = settled(nn.Sequential(*layers, conv(4, 4, padding=1), *head(4)))
    x = torch.randn(1, 1, 40, 44)
    masks = place_masks((40, 44), 15, 1)
    network = Network(net, x, torch.zeros_like(x), masks, torch.float32)
    assert 0 < network.rows.apart().sum() < len(masks.tops)
    assert 0 < network.cols.apart().sum() < len(masks.lefts)
    assert "corner" in check(net, x, (15, 15), 1)


SIZES = st.tuples(st.integers(9, 30), st.integers(9, 30))
LAYER = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["conv", "max", "average"]),
        "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 2),
        "mode": st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
        "ceil": st.booleans(),
        "normalised": st.booleans(),
        "residual": st.booleans(),
        "activation": st.sampled_from([nn.ReLU(), nn.GELU(), nn.Sigmoid(), nn.Identity()]),
    }
)


class Around(nn.Module):
    """A layer with a shortcut around it that keeps its size: one more convolution, summed."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer, self.inner = layer, conv(layer.out_channels, layer.out_channels, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return x + self.inner(F.gelu(x))


def drawn(layers: list[dict[str, object]], dense: bool, size: tuple[int, int]) -> nn.Sequential:
    """The network that a draw describes, with as much padding as torch allows.

    The head averages the maps or, with `dense`, flattens them into a dense layer. RuntimeError when the image
    is too small.
    """
    made: list[nn.Module] = []
    channels = 1
    for layer in layers:
        kernel: tuple[int, int] = layer["kernel"]  # pyright: ignore[reportAssignmentType]
        stride, padding = layer["stride"], layer["padding"]
        if layer["kind"] == "conv":
            options = {"stride": stride, "dilation": layer["dilation"], "padding_mode": layer["mode"]}
            new = conv(channels, 3, kernel, padding=padding, **options)
            made.append(Around(new) if layer["residual"] else new)
            made += [nn.BatchNorm2d(3)] if layer["normalised"] else []
            channels = 3
        else:
            pool = nn.MaxPool2d if layer["kind"] == "max" else nn.AvgPool2d
            edge = tuple(min(int(padding), side // 2) for side in kernel)  # pyright: ignore[reportArgumentType]
            made.append(pool(kernel, stride, edge, ceil_mode=layer["ceil"]))  # pyright: ignore[reportArgumentType]
        made.append(layer["activation"])  # pyright: ignore[reportArgumentType]
    if not dense:
        return nn.Sequential(*made, *head(channels))
    numbers = nn.Sequential(*made)(torch.zeros(2, 1, *size))[0].numel()
    return nn.Sequential(*made, nn.Flatten(), nn.Linear(numbers, 5), nn.GELU(), nn.Linear(5, 3))


@settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much]
)
@given(
    SIZES,
    st.lists(LAYER, min_size=1, max_size=4),
    st.tuples(st.integers(3, 20), st.integers(3, 20)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
def test_drawn_nets(
    size: tuple[int, int],
    layers: list[dict[str, object]],
    mask: tuple[int, int],
    stride: tuple[int, int],
    dense: bool,
) -> None:
    mask = (min(mask[0], size[0]), min(mask[1], size[1]))
    torch.manual_seed(6)
    x = torch.randn(1, 1, *size)
    try:
        net = settled(drawn(layers, dense, size))
        net(x)
    except (RuntimeError, ValueError):  # the image is too small for this network
        reject()
    wanted = brute_force(net, x, mask, stride, torch.tensor(0.25))
    for engine in ("window", "corner"):
        try:
            got = occlusion_map(net, x, 2, mask, stride, 0.25, engine=engine, output="logit")
        except ModelError:
            assert engine == "corner"
            continue
        np.testing.assert_allclose(got, wanted[..., 2], rtol=0, atol=2e-5)


@pytest.mark.parametrize("engine", ["window", "corner"])
def test_bfloat16_moves_probabilities_little(engine: str) -> None:
    torch.manual_seed(7)
    net = settled(models.build("vgg", ("a", "b"), Pixels(size=(64, 64)), {"blocks": ((8, 8), (16,))}))
    net.head.linear.weight.data *= 0.3  # logits of usual size: probabilities away from 0 and 1
    x = torch.randn(1, 1, 64, 64)
    exact = occlusion_map(net, x, 1, 31, 3)
    rough = occlusion_map(net, x, 1, 31, 3, dtype=torch.bfloat16, engine=engine)
    assert rough.dtype == torch.float32
    assert 0 < float((rough - exact).abs().max()) <= 2e-3
