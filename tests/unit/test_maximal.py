"""Maximal activations against looking at every unit of every image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain.filters.maximal import maximal_activations
from hilum.explain.network.convolutions import activated, conv_layers
from hilum.explain.network.receptive_field import field_of, receptive_field

SIZE = (20, 26)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(True), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(5, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(True), nn.MaxPool2d(2)]
    made = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 2))
    for layer in (made[1], made[5]):
        nn.init.uniform_(layer.running_mean, -0.2, 0.2)  # pyright: ignore[reportArgumentType]
        nn.init.uniform_(layer.weight, 0.5, 1.5)  # pyright: ignore[reportArgumentType]
    return made.eval()


def images(count: int = 23, seed: int = 1) -> Tensor:
    return torch.randn(count, 1, *SIZE, generator=torch.Generator().manual_seed(seed))


def every_answer(model: nn.Module, layer: int, x: Tensor) -> list[list[tuple[float, int, tuple[int, int]]]]:
    """For each filter, (value, image, unit) of all units of all images, highest first."""
    with torch.no_grad():
        maps = model[: layer + 1](x).numpy()  # pyright: ignore[reportIndexIssue]
    found: list[list[tuple[float, int, tuple[int, int]]]] = []
    for number in range(maps.shape[1]):
        values = [
            (float(maps[image, number, row, col]), image, (row, col))
            for image in range(maps.shape[0])
            for row in range(maps.shape[2])
            for col in range(maps.shape[3])
        ]
        found.append(sorted(values, key=lambda one: -one[0]))
    return found


def limited(
    answers: list[tuple[float, int, tuple[int, int]]],
    images: int,
    per_image: int = 1,
    groups: list[str] | None = None,
    per_group: int = 10**6,
) -> list[tuple[float, int, tuple[int, int]]]:
    """The best of them, taken one after the other."""
    taken: list[tuple[float, int, tuple[int, int]]] = []
    for answer in answers:
        image = sum(other[1] == answer[1] for other in taken)
        group = sum(groups[other[1]] == groups[answer[1]] for other in taken) if groups else 0
        if answer[0] > 0 and image < per_image and group < per_group and len(taken) < images:
            taken.append(answer)
    return taken


@pytest.mark.parametrize("batch", [1, 4, 23])
def test_equals_looking_at_everything(batch: int) -> None:
    x = images()
    found = maximal_activations(net(), x.split(batch), "6", range(7), images=6)
    assert found.layer == "6" and found.filters == tuple(range(7)) and found.images == 23
    assert found.maps == (10, 13)
    fields = field_of(net(), "6", SIZE)
    for number, answers in enumerate(every_answer(net(), 6, x)):
        wanted = limited(answers, 6)
        kept = found.image[number] >= 0
        np.testing.assert_allclose(found.activation[number][kept], [one[0] for one in wanted], atol=1e-5)
        assert found.image[number][kept].tolist() == [one[1] for one in wanted]
        for j, (_, _, unit) in enumerate(wanted):
            assert tuple(found.unit[number, j]) == unit
            assert tuple(found.box[number, j]) == receptive_field(net(), "6", unit, SIZE)
            assert found.sees_padding[number, j] == fields.sees_padding(unit)
    assert found.sees_padding.any() and not found.sees_padding.all()


def test_the_box_holds_all_that_the_unit_sees() -> None:
    """Another image outside of the box gives the same activation; inside it does not."""
    x = images(8)
    found = maximal_activations(net(), [x], "6", images=3)
    other = images(1, seed=9)
    for i, number in enumerate(found.filters):
        top, left, bottom, right = found.box[i, 0]
        row, col = found.unit[i, 0]
        outside, inside = other.clone(), x[found.image[i, 0]][None].clone()
        outside[..., top:bottom, left:right] = inside[..., top:bottom, left:right]
        inside[..., top:bottom, left:right] = other[..., top:bottom, left:right]
        with torch.no_grad():
            same, changed = (float(net()[:7](image)[0, number, row, col]) for image in (outside, inside))  # pyright: ignore[reportIndexIssue]
        assert same == pytest.approx(found.activation[i, 0], rel=1e-4)
        assert abs(changed - same) > 1e-3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from("abcd"), min_size=6, max_size=14),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 5),
)
def test_limits_per_image_and_patient(
    groups: list[str], per_group: int, per_image: int, per_filter: int, batch: int
) -> None:
    x = images(len(groups), seed=len(groups))
    found = maximal_activations(
        net(2),
        x.split(batch),
        "6",
        range(7),
        per_filter,
        per_image=per_image,
        groups=groups,
        per_group=per_group,
    )
    for number, answers in enumerate(every_answer(net(2), 6, x)):
        wanted = limited(answers, per_filter, per_image, groups, per_group)
        kept = found.image[number] >= 0
        assert found.image[number][kept].tolist() == [one[1] for one in wanted]
        np.testing.assert_allclose(found.activation[number][kept], [one[0] for one in wanted], atol=1e-5)
        assert np.isnan(found.activation[number][~kept]).all()


def test_which_filters_are_picked() -> None:
    x = images()
    with torch.no_grad():
        peaks = net()[:7](x).amax((2, 3)).double().numpy()  # pyright: ignore[reportIndexIssue]
    by_variance = maximal_activations(net(), x.split(5), count=3, rule="variance")
    assert by_variance.layer == "6"
    np.testing.assert_allclose(by_variance.spread, peaks.var(0), rtol=1e-4)
    np.testing.assert_allclose(by_variance.peak, peaks.max(0), rtol=1e-5)
    alive = [i for i in range(7) if i not in by_variance.dead]
    assert list(by_variance.filters) == sorted(alive, key=lambda i: -peaks.var(0)[i])[:3]
    by_strength = maximal_activations(net(), x.split(5), count=3, rule="strength")
    assert list(by_strength.filters) == sorted(alive, key=lambda i: -peaks.max(0)[i])[:3]


def test_distinct_filters_leave_copies_out() -> None:
    """Filter 3 is a slightly weaker copy of the filter with the largest variance: it comes last."""
    model, x = net(), images()
    first = maximal_activations(model, x.split(5), count=1, rule="variance").filters[0]
    copied = next(i for i in range(7) if i != first)
    for layer, names in ((4, ("weight", "bias")), (5, ("running_mean", "running_var"))):
        for name in names:
            values = getattr(model[layer], name).data  # pyright: ignore[reportIndexIssue]
            values[copied] = values[first]
    norm = model[5]  # pyright: ignore[reportIndexIssue]
    norm.weight.data[copied], norm.bias.data[copied] = 0.98 * norm.weight[first], 0.98 * norm.bias[first]
    by_variance = maximal_activations(model, x.split(5), count=7, rule="variance").filters
    assert by_variance[:2] == (first, copied)
    distinct = maximal_activations(model, x.split(5), count=7).filters
    assert distinct[0] == first and distinct[-1] == copied and sorted(distinct) == sorted(by_variance)
    with torch.no_grad():
        peaks = model[:7](x).amax((2, 3)).double().numpy()  # pyright: ignore[reportIndexIssue]
    centred = peaks - peaks.mean(0)
    taken = [first]
    for number in distinct[1:4]:  # what least squares on the filters before leaves of each
        left = centred - centred[:, taken] @ np.linalg.lstsq(centred[:, taken], centred, rcond=None)[0]
        assert number == int((left**2).sum(0).argmax())
        taken.append(number)


def test_dead_and_constant_filters_are_named_and_never_picked() -> None:
    model = net()
    norm = model[5]
    norm.bias.data[1] = -100.0  # pyright: ignore[reportIndexIssue, reportOptionalMemberAccess]
    norm.weight.data[4], norm.bias.data[4] = 0.0, 3.0  # pyright: ignore[reportArgumentType, reportIndexIssue]
    found = maximal_activations(model, images().split(4), count=7)
    assert found.dead == (1, 4)
    assert set(found.filters) == {0, 2, 3, 5, 6}
    asked = maximal_activations(model, images().split(4), filters=[1], images=2)
    assert asked.image.tolist() == [[-1, -1]] and np.isnan(asked.activation).all()
    norm.bias.data[:] = -100.0  # pyright: ignore[reportIndexIssue]
    with pytest.raises(ModelError, match="every filter of the layer is dead"):
        maximal_activations(model, images().split(4))


def test_a_margin_leaves_border_units_out() -> None:
    found = maximal_activations(net(), [images()], "6", range(7), images=5, margin=2)
    kept = found.image >= 0
    assert found.unit[kept][:, 0].min() >= 2 and found.unit[kept][:, 0].max() <= 7
    assert found.unit[kept][:, 1].min() >= 2 and found.unit[kept][:, 1].max() <= 10
    assert not found.sees_padding.any()  # units of layer 6 see padding in their first and last two rows
    for number, answers in enumerate(every_answer(net(), 6, images())):
        inner = [one for one in answers if 2 <= one[2][0] <= 7 and 2 <= one[2][1] <= 10]
        wanted = limited(inner, 5)
        assert found.image[number][kept[number]].tolist() == [one[1] for one in wanted]


def test_a_convolution_is_read_behind_its_activation() -> None:
    x = images(3)
    assert [activated(net(), layer, x) for layer in ("0", "1", "2", "3", "4")] == ["2", "2", "2", "3", "6"]
    resnet = models.build("resnet", ("a", "b"), Pixels(size=(32, 32)), {"stages": (1, 1), "width": 4})
    assert activated(resnet, "features.4.conv1", torch.zeros(1, 1, 32, 32)) == "features.4.act1"
    assert activated(resnet, "features.4.conv2", torch.zeros(1, 1, 32, 32)) == "features.4.norm2"
    assert maximal_activations(net(), [x], "4", [0], 1).layer == "6"


def test_images_are_read_once_in_order_and_the_model_stays() -> None:
    model, seen = net().train(), []
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def stream():
        for start in range(0, 12, 5):
            seen.append(start)
            yield images(12)[start : start + 5]

    steps: list[tuple[int, int]] = []
    groups = [str(i) for i in range(12)]
    maximal_activations(
        model, stream(), groups=groups, progress=lambda done, total: steps.append((done, total))
    )
    assert seen == [0, 5, 10] and steps == [(5, 12), (10, 12), (12, 12)]
    assert model.training and all(
        torch.equal(before[key], value) for key, value in model.state_dict().items()
    )
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_after_the_one_are_not_run() -> None:
    class Trap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError("run")

    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), Trap())
    with pytest.raises(AssertionError, match="run"):
        model(images(1))
    conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Identity(), nn.Conv2d(3, 3, 3), nn.ReLU())
    calls: list[int] = []
    conv[2].register_forward_hook(lambda *_: calls.append(1))
    maximal_activations(conv, images().split(1), "0", [0], 1)
    assert len(calls) <= 5  # where layers are looked up, but never for each of the 23 images


def test_conv_layers_in_order() -> None:
    vgg = models.build("vgg", ("a", "b"), Pixels(size=(40, 48)))
    layers = conv_layers(vgg, (40, 48))
    assert len(layers) == 9
    assert layers[0] == ("features.0", 32, (40, 48), (3, 3))
    assert [layer.filters for layer in layers] == [32, 32, 64, 64, 128, 128, 256, 256, 256]
    assert layers[3].maps == (20, 24) and layers[3].sees == (14, 14)  # by hand: 5, pooled 6, then + 4 + 4
    resnet = models.build("resnet", ("a", "b"), Pixels(size=(64, 64)), {"stages": (1, 1), "width": 4})
    assert [layer.name for layer in conv_layers(resnet, (64, 64))][-2:] == [
        "features.5.conv2",
        "features.5.shortcut.0",
    ]


def test_bad_input() -> None:
    x = images(3)
    with pytest.raises(ModelError, match="no layer '66'"):
        maximal_activations(net(), [x], "66")
    with pytest.raises(ModelError, match="layer '10' gives no maps"):
        maximal_activations(net(), [x], "10")
    with pytest.raises(ModelError, match="layer '6' has no filter 7; it has 7: 0 to 6"):
        maximal_activations(net(), [x], "6", [7])
    with pytest.raises(RecipeError, match="images = 0 is not possible; use 1 or more"):
        maximal_activations(net(), [x], images=0)
    with pytest.raises(RecipeError, match="rule 'varience' is not known; did you mean 'variance'"):
        maximal_activations(net(), [x], rule="varience")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        RecipeError, match="a margin of 5 units leaves nothing of maps of 10 x 13; use 0 to 4"
    ):
        maximal_activations(net(), [x], margin=5)
    with pytest.raises(DataError, match="there is no image"):
        maximal_activations(net(), [])
    with pytest.raises(DataError, match="more images than groups"):
        maximal_activations(net(), [x], groups=["a", "b"])
    with pytest.raises(DataError, match="3 images for 4 groups"):
        maximal_activations(net(), [x], groups=list("abcd"))
    with pytest.raises(DataError, match="the model can't take these images"):
        maximal_activations(net(), [x.repeat(1, 2, 1, 1)])
    with pytest.raises(ModelError, match="not finite"):
        maximal_activations(net(), [x * float("nan")])
    with pytest.raises(ModelError, match="can't take an image of 1 x 1 px"):
        conv_layers(net(), (1, 1))
