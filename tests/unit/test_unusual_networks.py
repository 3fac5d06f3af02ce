"""Explanations of networks that are not one chain from an image to a row of logits: the right answer or a sentence."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hilum.errors import DataError, ModelError
from hilum.explain.attribution import explain
from hilum.explain.evidence import scored
from hilum.explain.network.convolutions import activated, conv_layers
from hilum.explain.network.receptive_field import receptive_field
from hilum.explain.occlusion.occlusion_map import occlusion_map

SIZE, MASK, STRIDE = 24, 8, 4
METHODS = ("saliency", "grad_cam", "occlusion", "integrated_gradients")


def body(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, classes),
    )  # fmt: skip


class Changed(nn.Module):
    """A network whose output is put through a function."""

    def __init__(self, change: Callable[[Tensor], object], classes: int = 3) -> None:
        super().__init__()
        self.body, self.change = body(classes), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.body(x))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body()

    def forward(self, x: Tensor, age: Tensor) -> Tensor:
        return self.body(x) + age


class Squeezed(nn.Module):
    """Squeeze-and-excitation between two convolutions (Hu et al., CVPR 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 2, 1), nn.ReLU(), nn.Conv2d(2, 6, 1), nn.Sigmoid()
        )
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x).relu()
        return self.head(self.last(maps * self.gate(maps)).relu().mean((2, 3)))


class UShape(nn.Module):
    """Down, up by a transposed convolution, and a skip connection by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.below = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.up, self.join = nn.ConvTranspose2d(6, 4, 2, stride=2), nn.Conv2d(8, 5, 3, padding=1)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x).relu()
        wide = self.up(self.below(nn.functional.avg_pool2d(fine, 2)).relu())
        return self.head(self.join(torch.cat([wide, fine], 1)).relu().mean((2, 3)))


class Branching(nn.Module):
    """Another sign of the answer for darker images."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.body, self.limit = body(), limit

    def forward(self, x: Tensor) -> Tensor:
        logits = self.body(x)
        return 3 * logits if x.mean() > self.limit else -3 * logits


class Repeating(nn.Module):
    """A grey image becomes three channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x.repeat(1, 3, 1, 1)).relu().mean((2, 3)))


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def image() -> Tensor:
    return torch.rand(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def by_hand(net: nn.Module, x: Tensor, target: int) -> Tensor:
    """The probability with the mask at each position, one image at a time, by the network itself."""
    net = net.eval()
    places = range(0, SIZE - MASK + 1, STRIDE)
    rows = []
    for top in places:
        for left in places:
            masked = x.clone()
            masked[..., top : top + MASK, left : left + MASK] = 0
            rows.append(scored(torch.as_tensor(net(masked)).reshape(1, -1), target, "probability"))
    return torch.cat(rows).reshape(len(places), len(places))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the old weight_norm is what is tested
    WEIGHT_NORM = nn.utils.weight_norm

RIGHT: dict[str, Callable[[], nn.Module]] = {
    "one logit, batch": lambda: Changed(lambda y: y.squeeze(1), 1),
    "one logit, nothing": lambda: Changed(lambda y: y.squeeze(), 1),
    "weight_norm": lambda: nn.Sequential(WEIGHT_NORM(nn.Conv2d(1, 4, 3)), nn.BatchNorm2d(4), *[*body()][1:]),
    "parametrized": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), *[*body()][1:]),
    "squeeze-and-excitation": Squeezed,
    "U-shape": UShape,
    "grey to three channels": Repeating,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:occlusion runs plainly", "ignore:.*weight_norm.*")
@pytest.mark.parametrize("name", RIGHT)
def test_occlusion_is_what_the_network_says_of_each_masked_image(name: str) -> None:
    net, x = made(RIGHT[name]), image()
    torch.testing.assert_close(
        occlusion_map(net, x, 0, MASK, STRIDE), by_hand(net, x, 0), atol=1e-5, rtol=1e-4
    )


@pytest.mark.filterwarnings("ignore:occlusion runs plainly", "ignore:.*weight_norm.*")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", RIGHT)
def test_every_such_network_is_explained(name: str, method: str) -> None:
    options = {"integrated_gradients": {"steps": 4}, "occlusion": {"stride": 8}}.get(method, {})
    heat = explain(method, made(RIGHT[name]), image(), 0, options)
    assert heat.shape == (1, SIZE, SIZE) and bool(heat.isfinite().all())


REFUSED = {
    "tuple": (
        lambda: Changed(lambda y: (y, y)),
        "does not return logits, batch x classes; give a classifier",
    ),
    "dict": (lambda: Changed(lambda y: {"logits": y}), "does not return logits, batch x classes"),
    "list": (lambda: Changed(lambda y: [y]), "does not return logits, batch x classes"),
    "no batch": (lambda: Changed(lambda y: y.squeeze(0)), "does not return logits, batch x classes"),
    "maps": (lambda: nn.Conv2d(1, 3, 3), "does not return logits, batch x classes"),
    "two inputs": (TwoInputs, r"can't be called with images alone \(.*'age'\); wrap it in a module"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_gives_no_logits_is_one_sentence(name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(ModelError, match=words):
        occlusion_map(made(make), image(), 0, MASK, STRIDE)
    with pytest.raises(ModelError, match=words):
        explain("saliency", made(make), image(), 0)


def test_an_image_that_does_not_fit_is_one_sentence() -> None:
    with pytest.raises(DataError, match="can't take an image of 2 x 24 x 24"):
        occlusion_map(made(body), torch.zeros(1, 2, SIZE, SIZE), 0, MASK, STRIDE)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_network_that_branches_on_the_mean_is_run_plainly(share: float) -> None:
    x = image()
    places = range(0, SIZE - MASK + 1, STRIDE)
    means = [
        float(x.mean() - x[..., top : top + MASK, left : left + MASK].sum() / x.numel())
        for top in places
        for left in places
    ]
    limit = float(torch.tensor(means).quantile(share))
    net = made(lambda: Branching(limit))
    truth = by_hand(net, x, 0)
    with pytest.warns(
        UserWarning, match="one image at a time: the network computes some masked images in another"
    ):
        got = occlusion_map(net, x, 0, MASK, STRIDE)
    torch.testing.assert_close(got, truth, atol=1e-6, rtol=1e-5)
    assert float(truth.max() - truth.min()) > 0.1  # both branches are there, and they differ
    with pytest.raises(ModelError, match="the window engine can't be used: the network computes some"):
        occlusion_map(net, x, 0, MASK, STRIDE, engine="window")


def test_a_plain_network_is_not_suspected() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        occlusion_map(made(body), image(), 0, MASK, STRIDE)


def test_a_map_that_is_finished_later_keeps_its_values() -> None:
    net, x = made(lambda: Branching(0.45)), image()
    begun = torch.full((5, 5), float("nan"))
    begun[0, 0] = 0.125
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = occlusion_map(net, x, 0, MASK, STRIDE, into=begun)
    assert float(got[0, 0]) == 0.125 and not bool(got.isnan().any())


# -- receptive fields ----------------------------------------------------------------------------------------


def test_layers_that_can_not_be_followed_are_skipped_in_the_list() -> None:
    def names(net: nn.Module) -> list[str]:
        return [layer.name for layer in conv_layers(net, (SIZE, SIZE))]

    assert names(made(Squeezed)) == ["first"]
    assert names(made(UShape)) == ["down", "below"]
    assert names(made(Repeating)) == ["conv"]
    assert names(made(TwoOutputs)) == ["body.0", "body.2"]
    with pytest.raises(
        ModelError, match="no convolution of the model can be followed: layer '1' has no receptive"
    ):
        conv_layers(nn.Sequential(nn.ConvTranspose2d(1, 2, 2), nn.Conv2d(2, 2, 3)), (SIZE, SIZE))
    with pytest.raises(ModelError, match="can't be called with images alone"):
        conv_layers(made(TwoInputs), (SIZE, SIZE))


class TwoOutputs(Changed):
    def __init__(self) -> None:
        super().__init__(lambda y: (y, y))


def seen_by_gradient(net: nn.Module, layer: str, unit: tuple[int, int], channels: int) -> list[int]:
    """The pixels on which a unit depends: where its gradient is not zero, for positive weights and inputs."""
    for weight in net.parameters():
        nn.init.constant_(weight, 0.1)
    kept: list[Tensor] = []
    net.get_submodule(layer).register_forward_hook(lambda *seen: kept.append(seen[-1]))
    x = torch.ones(1, channels, SIZE, SIZE, requires_grad=True)
    net.eval()(x)
    (derivative,) = torch.autograd.grad(kept[0][0, 0, unit[0], unit[1]], x)
    rows, cols = (derivative[0].abs().sum((0, axis)).nonzero().flatten() for axis in (2, 1))
    return [int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize(
    ("make", "layer", "channels"),
    [
        (Squeezed, "first", 1),
        (UShape, "below", 1),
        (Repeating, "conv", 1),
        (RIGHT["weight_norm"], "0", 1),
        (TwoOutputs, "body.2", 1),
        (lambda: Branching(0.5), "body.2", 1),
        (RIGHT["one logit, nothing"], "body.2", 1),
    ],
)
def test_a_receptive_field_is_where_the_gradient_is(
    make: Callable[[], nn.Module], layer: str, channels: int
) -> None:
    box = receptive_field(made(make), layer, (3, 4), (SIZE, SIZE))
    assert [*box] == seen_by_gradient(made(make), layer, (3, 4), channels)


@pytest.mark.parametrize("layer", ["up", "join"])
def test_a_field_behind_a_transposed_convolution_is_one_sentence(layer: str) -> None:
    with pytest.raises(ModelError, match=f"layer '{layer}' has no receptive field: .*can't be followed"):
        receptive_field(made(UShape), layer, (3, 4), (SIZE, SIZE))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_maps_of_such_networks_are_read_where_they_are_activated() -> None:
    assert activated(made(RIGHT["weight_norm"]).eval(), "0", image()) == "2"
    assert activated(made(lambda: Branching(0.5)).eval(), "body.0", image()) == "body.1"
