"""The call around the occlusion engines: choices, resuming, and what it says about bad input."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain.occlusion.masks import place_masks
from hilum.explain.occlusion.occlusion_map import occlusion_map


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.GELU(),
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


IMAGE = torch.linspace(-1, 1, 20 * 24).view(1, 1, 20, 24).sin()


class Gated(nn.Module):
    """A squeeze-and-excitation gate: every position depends on the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(1, 3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(x)
        gate = torch.sigmoid(self.gate(maps.mean((2, 3))))
        return (maps * gate[:, :, None, None]).mean((2, 3))


def test_positions_are_top_left_corners_in_order() -> None:
    masks = place_masks((20, 24), (5, 7), (4, 3))
    assert masks.tops.tolist() == [0, 4, 8, 12]
    assert masks.lefts.tolist() == [0, 3, 6, 9, 12, 15]
    # One pixel matters: exactly the masks that cover pixel (9, 11) change the result.
    image = torch.zeros(1, 1, 20, 24)
    image[0, 0, 9, 11] = 1.0
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    got = occlusion_map(net, image, 0, (5, 7), (4, 3))
    covering = [[top <= 9 < top + 5 and left <= 11 < left + 7 for left in masks.lefts] for top in masks.tops]
    assert ((got - got[3, 0]).abs() > 1e-6).tolist() == np.array(covering).tolist()


def test_the_model_is_left_as_it_is() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    image = IMAGE.clone()
    occlusion_map(net.train(), image, 0, 9, 4)
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert torch.equal(image, IMAGE)


def test_one_logit_is_a_sigmoid() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    logit = occlusion_map(net, IMAGE, 0, 9, 4, output="logit")
    torch.testing.assert_close(occlusion_map(net, IMAGE, 0, 9, 4), logit.sigmoid())


def test_an_unfinished_map_is_finished() -> None:
    whole = occlusion_map(small(), IMAGE, 1, 9, 2)
    half = whole.clone()
    half[1:4, 2:] = float("nan")
    half[0, 0] = 7.0  # a mark: what is there is not computed again
    steps: list[tuple[int, int]] = []
    got = occlusion_map(
        small(), IMAGE, 1, 9, 2, into=half, progress=lambda done, total: steps.append((done, total))
    )
    assert got is half and got[0, 0] == 7.0
    torch.testing.assert_close(got.flatten()[1:], whole.flatten()[1:])
    assert steps[-1] == (whole.numel(), whole.numel())
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


def test_double_precision() -> None:
    net, image = small().double(), IMAGE.double()
    plain = occlusion_map(net, image, 1, 13, 2, engine="plain", output="logit")
    corner = occlusion_map(
        net, image, 1, 13, 2, engine="corner", output="logit", into=plain.clone() * float("nan")
    )
    torch.testing.assert_close(
        corner, plain.to(corner), rtol=0, atol=1e-12 if corner.dtype == torch.double else 1e-6
    )


def everywhere(net: nn.Module, mask: int, stride: int) -> Tensor:
    """The probability of class 1 of the network on every masked copy."""
    rows = []
    for top in range(0, 20 - mask + 1, stride):
        lefts = range(0, 24 - mask + 1, stride)
        masked = IMAGE.repeat(len(lefts), 1, 1, 1)
        for i, left in enumerate(lefts):
            masked[i, :, top : top + mask, left : left + mask] = 0
        rows.append(net(masked).softmax(1)[:, 1])
    return torch.stack(rows).detach()


def test_a_layer_that_cannot_be_followed_is_named() -> None:
    layers = [nn.Conv2d(1, 3, 3), nn.InstanceNorm2d(3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    net = nn.Sequential(*layers).eval()
    with pytest.warns(UserWarning, match="runs plainly: layer '1'.* can't be followed"):
        got = occlusion_map(net, IMAGE, 1, 11, 3)
    torch.testing.assert_close(got, everywhere(net, 11, 3))
    with pytest.raises(ModelError, match="layer '1'"):
        occlusion_map(net, IMAGE, 1, 11, 3, engine="window")


@pytest.mark.parametrize("net", [Gated(), nn.Sequential(nn.Flatten(), nn.Linear(480, 2))])
def test_heads_of_other_kinds(net: nn.Module) -> None:
    torch.testing.assert_close(occlusion_map(net, IMAGE, 1, 11, 3), everywhere(net, 11, 3))


@pytest.mark.filterwarnings("ignore:occlusion runs plainly, one image at a time")
def test_a_network_that_does_something_else_for_another_image() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            maps = self.conv(x)
            return (maps if float(x[0, 0, 0, 0]) < -0.8 else -maps).mean((2, 3))

    with pytest.warns(UserWarning, match="depend on the image"):
        got = occlusion_map(Moody(), IMAGE, 0, 13, 4)
    assert got.isfinite().all()


def test_bad_input() -> None:
    net = small()
    with pytest.raises(RecipeError, match="a mask of 21 x 21 px does not fit an image of 20 x 24 px"):
        occlusion_map(net, IMAGE, 0, 21)
    with pytest.raises(RecipeError, match="stride of 0 px"):
        occlusion_map(net, IMAGE, 0, 5, 0)
    with pytest.raises(RecipeError, match="did you mean 'corner'"):
        occlusion_map(net, IMAGE, 0, 5, engine="cornr")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelError, match="no class 2; it has 2: 0 to 1"):
        occlusion_map(net, IMAGE, 2, 5)
    with pytest.raises(DataError, match="one image"):
        occlusion_map(net, IMAGE.repeat(2, 1, 1, 1), 0, 5)
    with pytest.raises(DataError, match=r"fill of shape \(7,\)"):
        occlusion_map(net, IMAGE, 0, 5, fill=torch.zeros(7))
    with pytest.raises(DataError, match="map to fill in"):
        occlusion_map(net, IMAGE, 0, 5, into=torch.zeros(3, 3))
    with pytest.raises(ModelError, match="neither with global average pooling nor"):
        occlusion_map(Gated(), IMAGE, 0, 9, engine="corner")


def test_the_package_gives_the_function() -> None:
    """Under each of its names: a module of the same name lies beside it."""
    import hilum
    from hilum.explain.occlusion import occlusion_map as of_the_package

    assert hilum.occlusion_map is of_the_package is occlusion_map
