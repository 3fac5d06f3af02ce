"""Rounded weights: neighbours of the given ones, with the mean answers of the filters kept."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hilum.explain.network import graph
from hilum.explain.network.rounding import rounded
from hilum.explain.occlusion.occlusion_map import occlusion_map


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(0, 99),
)
def test_neighbours_with_the_same_mean_answer(
    filters: int, inputs: int, side: int, biased: bool, groups: int, seed: int
) -> None:
    error, nearest = errors(filters, inputs, side, biased, groups, seed)
    assert (error <= nearest + 1e-12).all()


@pytest.mark.parametrize("groups", [1, 2])
def test_many_weights_with_a_bias_have_a_third_of_the_error(groups: int) -> None:
    error, nearest = map(
        torch.stack, zip(*(errors(6, 5, 3, True, groups, seed) for seed in range(10)), strict=True)
    )
    assert error.mean() < nearest.mean() / 3


def errors(
    filters: int, inputs: int, side: int, biased: bool, groups: int, seed: int
) -> tuple[Tensor, Tensor]:
    """How far the mean answers are off with `rounded`, and with every number rounded to the nearest."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(filters * groups, inputs, side, side, generator=generator)
    bias = torch.randn(filters * groups, generator=generator) if biased else None
    exact = torch.rand(inputs * groups, generator=generator)
    rough = exact + 0.01 * torch.randn(inputs * groups, generator=generator)
    got, short = rounded(weight, bias, exact, rough, torch.bfloat16)
    assert got.dtype == torch.bfloat16 and got.shape == weight.shape
    assert ((got.float() - weight).abs() <= weight.abs() / 128 + 1e-30).all()  # within one step of bfloat16

    def answer(weights: Tensor, biases: Tensor | None, means: Tensor) -> Tensor:
        parts = means.double().view(groups, 1, inputs, 1, 1).expand(-1, filters, -1, side, side)
        found = (weights.double() * parts.reshape(weights.shape)).sum((1, 2, 3))
        return found if biases is None else found + biases.double()

    wanted = answer(weight, bias, exact)
    nearest = (answer(weight.bfloat16(), None if bias is None else bias.bfloat16(), rough) - wanted).abs()
    return (answer(got, short, rough) - wanted).abs(), nearest


def test_an_exact_weight_is_never_moved() -> None:
    weight = torch.tensor([[[[1.5]], [[0.3]]]])
    got, _ = rounded(weight, torch.tensor([0.1]), torch.ones(2), torch.ones(2), torch.bfloat16)
    assert got[0, 0, 0, 0] == 1.5


def test_a_map_in_bfloat16_is_nearer_than_with_weights_rounded_to_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A network with biases, as they come from folded normalisations, and logits of usual size."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, outside in ((1, 8), (8, 16), (16, 32)):
        layers += [
            nn.Conv2d(inside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        nn.init.normal_(layers[-3].weight, 1.0, 0.2)  # pyright: ignore[reportArgumentType]
        nn.init.uniform_(layers[-3].bias, -0.5, 1.0)  # pyright: ignore[reportArgumentType]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2)).eval()
    nn.init.normal_(net[-1].weight)  # pyright: ignore[reportArgumentType]
    x = torch.randn(1, 1, 64, 64)
    exact = occlusion_map(net, x, 1, 24, 8, output="evidence")
    careful = occlusion_map(net, x, 1, 24, 8, dtype=torch.bfloat16, output="evidence")
    monkeypatch.setattr(
        graph, "rounded", lambda weight, bias, _exact, _rough, dtype: (weight.to(dtype), bias.to(dtype))
    )
    plain = occlusion_map(net, x, 1, 24, 8, dtype=torch.bfloat16, output="evidence")
    assert float((careful - exact).abs().mean()) < 0.5 * float((plain - exact).abs().mean())
    assert float((careful - exact).abs().max()) < 0.7 * float((plain - exact).abs().max())
