"""What every attribution method must do; a new file in hilum/explain is tested with no other edit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain.attribution import check_options, explain, load_method, methods

QUICK: dict[str, dict[str, Any]] = {
    "occlusion": {"mask": 20, "stride": 8},
    "rise": {"masks": 24, "batch": 7},
    "smooth_grad": {"samples": 5, "batch": 2},
    "integrated_gradients": {"steps": 6, "batch": 4},
}
"""Options that make a method take milliseconds."""

PIXELS = Pixels(size=(36, 44), mean=0.45, sd=0.2)


def chest_model(classes: tuple[str, ...] = ("normal", "pneumonia")) -> models.ChestModel:
    torch.manual_seed(0)
    return models.build("vgg", classes, PIXELS, {"blocks": ((6, 6), (8,)), "dense": (8,)}).eval()


def images(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 1, *PIXELS.size, generator=generator)


def test_the_issue_s_methods_are_here() -> None:
    wanted = {"deep_lift", "grad_cam", "grad_cam_plus_plus", "integrated_gradients", "layer_cam"}
    assert wanted | {"occlusion", "rise", "saliency", "smooth_grad"} <= set(methods())


@pytest.mark.parametrize("name", methods())
def test_one_float32_map_per_image_on_the_pixels(name: str) -> None:
    method = load_method(name)
    assert isinstance(method.TITLE, str) and isinstance(method.SIGNED, bool) and "20" in method.SOURCE
    got = explain(name, chest_model(), images(), 1, QUICK.get(name))
    assert got.shape == (2, *PIXELS.size)
    assert got.dtype == torch.float32 and not got.requires_grad
    assert got.isfinite().all()
    assert (got.amax((1, 2)) > got.amin((1, 2))).all()
    assert method.SIGNED or (got >= 0).all()


@pytest.mark.parametrize("name", methods())
def test_a_batch_gives_what_single_images_give(name: str) -> None:
    x = images()
    both = explain(name, chest_model(), x, 1, QUICK.get(name))
    alone = [explain(name, chest_model(), image[None], 1, QUICK.get(name))[0] for image in x]
    torch.testing.assert_close(both, torch.stack(alone), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", methods())
def test_the_model_and_the_image_are_left_as_they_are(name: str) -> None:
    model, x = chest_model().train(), images(1)
    next(iter(model.parameters())).requires_grad_(False)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    image = x.clone()
    random = torch.get_rng_state()
    explain(name, model, x, 0, QUICK.get(name))
    assert all(module.training for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    in_place = [module.inplace for module in model.modules() if isinstance(module, nn.ReLU)]
    assert in_place and all(in_place)
    assert torch.equal(x, image) and not x.requires_grad
    assert torch.equal(torch.get_rng_state(), random), "chance is passed in as a seed"


@pytest.mark.parametrize("name", methods())
def test_the_same_twice_and_without_gradients(name: str) -> None:
    first = explain(name, chest_model(), images(1), 1, QUICK.get(name))
    with torch.no_grad():
        force = explain(name, chest_model(), images(1), 1, QUICK.get(name))
    assert torch.equal(first, force)
    model = chest_model()
    with torch.inference_mode():
        x = images(1) + 0  # an inference tensor
        once_more = explain(name, model, x, 1, QUICK.get(name))
    assert torch.equal(first, once_more)


@pytest.mark.parametrize("name", [name for name in methods() if load_method(name).SIGNED])
def test_what_speaks_for_one_of_two_classes_speaks_against_the_other(name: str) -> None:
    """The network has one output neuron: logits (0, z). The gradient of logit 0 alone would be zero."""
    first, second = (explain(name, chest_model(), images(1), target, QUICK.get(name)) for target in (0, 1))
    torch.testing.assert_close(first, -second, rtol=1e-4, atol=1e-6)
    assert second.abs().max() > 0


@pytest.mark.parametrize("name", methods())
@pytest.mark.parametrize("kind", ["vgg", "resnet", "resnet34_gelu", "plain"])
def test_every_kind_of_model(name: str, kind: str) -> None:
    torch.manual_seed(2)
    size = (36, 44)
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(3))
    net: nn.Module
    if kind == "plain":
        layers = [
            nn.Conv2d(1, 4, 3, 2),
            nn.SiLU(True),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 8 * 10, 3),
        ]
        net = nn.Sequential(*layers)
    else:
        small = {"vgg": {"blocks": ((4,), (6,)), "dense": (5,)}, "resnet": {"stages": (1, 1), "width": 4}}
        net = models.build(kind, ("a", "b", "c"), PIXELS, small.get(kind))
    got = explain(name, net, x, 2, QUICK.get(name))
    assert got.shape == (1, *size) and got.isfinite().all()


@pytest.mark.parametrize("name", methods())
def test_half_precision_in_float32_out(name: str) -> None:
    exact = explain(name, chest_model(), images(1).bfloat16().float(), 1, QUICK.get(name))
    model = chest_model().bfloat16()
    rough = explain(name, model, images(1).bfloat16(), 1, QUICK.get(name))
    assert rough.dtype == torch.float32
    assert next(model.parameters()).dtype == torch.bfloat16
    likeness = torch.corrcoef(torch.stack([exact.flatten(), rough.flatten()]))[0, 1]
    assert likeness > 0.95


@pytest.mark.parametrize("name", methods())
def test_bad_input(name: str) -> None:
    model, x = chest_model(), images(1)
    with pytest.raises(ModelError, match="the model has no class 2; it has 2: 0 to 1"):
        explain(name, model, x, 2)
    with pytest.raises(ModelError, match="no class -1"):
        explain(name, model, x, -1)
    with pytest.raises(
        DataError, match="an image of 1 x 30 x 44 does not fit the model, which takes 1 x 36 x 44"
    ):
        explain(name, model, x[:, :, :30], 0)
    with pytest.raises(DataError, match="can't be explained; give floats, batch x channels x rows x cols"):
        explain(name, model, x[0], 0)
    with pytest.raises(DataError, match="NaN or infinity"):
        explain(name, model, x * float("nan"), 0)
    with pytest.raises(DataError, match=r"the model can't take an image of 2 x 36 x 44"):
        explain(name, nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), images(1).repeat(1, 2, 1, 1), 0)
    with pytest.raises(ModelError, match="does not return logits"):
        explain(name, nn.Conv2d(1, 2, 3), x, 0)
    with pytest.raises(RecipeError, match=f"method '{name}' has no option 'stepz'"):
        explain(name, model, x, 0, {"stepz": 3})


def test_names_and_options() -> None:
    with pytest.raises(RecipeError, match="method 'gradcam' is not known; did you mean 'grad_cam'"):
        explain("gradcam", chest_model(), images(1), 0)
    with pytest.raises(RecipeError, match="has no option 'step'; did you mean 'steps'"):
        check_options("integrated_gradients", {"step": 3})
    with pytest.raises(RecipeError, match="'receptive_field' is not known"):
        load_method("receptive_field")
    with pytest.raises(RecipeError, match="can't be loaded"):
        load_method("no_such_package.method")
    with pytest.raises(RecipeError, match=r"'hilum\.errors' is no attribution method"):
        load_method("hilum.errors")


def test_a_dotted_name_loads_somebody_else_s_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_house.py").write_text(
        "def attribute(model, x, target, factor=2): return x[:, 0] * factor\n"
    )
    (tmp_path / "package_of_methods").mkdir()
    (tmp_path / "other_house.py").rename(tmp_path / "package_of_methods" / "own.py")
    monkeypatch.syspath_prepend(tmp_path)
    got = explain("package_of_methods.own", chest_model(), images(1), 0, {"factor": 3})
    torch.testing.assert_close(got, images(1)[:, 0] * 3)
