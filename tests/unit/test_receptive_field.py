"""Receptive fields against the support of the gradient and against values worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.explain.network.receptive_field import Box, field_of, receptive_field


def gradient_support(net: nn.Module, unit: tuple[int, int], size: tuple[int, int]) -> Box:
    """Bounding box of the pixels with a gradient, for a net that ends in the layer asked about."""
    x = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    value = net(x)[0, :, unit[0], unit[1]].sum()
    (gradient,) = torch.autograd.grad(value, x) if value.requires_grad else (torch.zeros_like(x),)
    rows = gradient[0, 0].abs().sum(1).nonzero()[:, 0].tolist()
    cols = gradient[0, 0].abs().sum(0).nonzero()[:, 0].tolist()
    return Box(rows[0], cols[0], rows[-1] + 1, cols[-1] + 1) if rows else Box(0, 0, 0, 0)


def positive(net: nn.Module) -> nn.Module:
    """Positive weights: no contributions cancel and no unit is dead."""
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    return net.double().eval()


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.far = nn.Sequential(
            nn.Conv2d(2, 2, 5, 2, 2), nn.ReLU(), nn.Conv2d(2, 2, 3, padding=3, dilation=3)
        )
        self.near = nn.Conv2d(2, 2, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.far(x) + self.near(x))


NETS = {
    "plain": [nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 2, 3, padding=1)],
    "dilated, strided": [nn.Conv2d(1, 2, (3, 5), (2, 1), (4, 0), (3, 2)), nn.Conv2d(2, 1, 2, 2)],
    "residual": [nn.Conv2d(1, 2, 3, padding=1), Shortcut(), nn.AvgPool2d(3, 2, 1, ceil_mode=True)],
    "reflect": [nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2, padding_mode="reflect")],
    "far padding": [nn.Conv2d(1, 1, 3, padding=6), nn.Conv2d(1, 1, 3, 2, padding=1)],
}


@pytest.mark.parametrize("name", NETS)
def test_equals_the_support_of_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    net = positive(nn.Sequential(*NETS[name]))
    size = (25, 32)
    rows, cols = net(torch.zeros(1, 1, *size, dtype=torch.float64)).shape[2:]
    layer = str(len(NETS[name]) - 1)
    for unit in [(0, 0), (0, cols - 1), (rows - 1, 0), (rows // 2, cols // 2), (1, cols - 2)]:
        assert receptive_field(net, layer, unit, size) == gradient_support(net, unit, size), unit


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(8, 30), st.integers(8, 30)),
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)),
        min_size=1,
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_drawn_stacks(size: tuple[int, int], layers: list[tuple[int, int, int, int]], random) -> None:
    net = positive(nn.Sequential(*(nn.Conv2d(1, 1, *layer) for layer in layers)))
    try:
        rows, cols = net(torch.zeros(1, 1, *size, dtype=torch.float64)).shape[2:]
    except RuntimeError:  # the image is too small for this stack; too many of these would fail the test
        reject()
    unit = (random.randrange(rows), random.randrange(cols))
    assert receptive_field(net, str(len(layers) - 1), unit, size) == gradient_support(net, unit, size)


def test_values_worked_out_by_hand() -> None:
    # 3x3 / pad 1, 2x2 max pooling, 3x3 / pad 1: unit i sees 2 (i - 1) - 1 .. 2 (i + 1) + 2, clipped.
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    assert receptive_field(net, "2", (0, 3), (16, 16)) == Box(0, 3, 5, 11)
    assert receptive_field(net, net[2], (7, 7), (16, 16)) == Box(11, 11, 16, 16)
    field = field_of(net, "2", (16, 16))
    assert [field.sees_padding((i, 3)) for i in range(8)] == [True] * 2 + [False] * 4 + [True] * 2
    assert field.sees_padding((3, 0))


def test_max_pooling_padding_is_no_artefact() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(3, 2, 1))
    assert not field_of(net, "1", (16, 16)).padded_rows.any()


def test_resnet34_sees_everything_and_its_stem_seven_pixels() -> None:
    net = models.build("resnet34_gelu", ("a", "b", "c"), Pixels(size=(224, 224)))
    assert receptive_field(net, "features.0", (50, 60), (224, 224)) == Box(97, 117, 104, 124)
    # The last block: 899 px wide (Araujo et al. 2019, table), so every unit of 7 x 7 sees the whole image.
    assert receptive_field(net, "features.19", (3, 3), (224, 224)) == Box(0, 0, 224, 224)


def test_bad_questions() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 2))
    with pytest.raises(ModelError, match="no layer 'fatures'"):
        receptive_field(net, "fatures", (0, 0), (8, 8))
    with pytest.raises(ModelError, match="no unit"):
        receptive_field(net, "0", (0, 8), (8, 8))
    with pytest.raises(ModelError, match="layer '2' has no receptive field"):
        receptive_field(net, "2", (0, 0), (8, 8))
    with pytest.raises(ModelError, match="does not contain"):
        receptive_field(net, nn.ReLU(), (0, 0), (8, 8))
    with pytest.raises(ModelError, match="can't take an image of 9 x 9"):
        receptive_field(net, "0", (0, 0), (9, 9))
