"""The numbers of the attribution methods: against arithmetic by hand, captum, and exact expectations."""

import itertools
import warnings

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.errors import ModelError, RecipeError
from hilum.explain.attribution import explain
from hilum.explain.cam import enlarged
from hilum.explain.evidence import evidence, probability
from hilum.explain.fills import FILLS, fill_image
from hilum.explain.methods.rise import draw_masks
from hilum.explain.network.layers import last_layer
from hilum.explain.occlusion.masks import place_masks, spread
from hilum.explain.occlusion.occlusion_map import occlusion_map

SIZE = (9, 11)
IMAGE = torch.randn(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.randn(3, SIZE[0] * SIZE[1], generator=torch.Generator().manual_seed(1))


def linear() -> nn.Module:
    """Three logits, each a weighted sum of the pixels."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(SIZE[0] * SIZE[1], 3, bias=False))
    net[1].weight.data = WEIGHTS.clone()  # pyright: ignore[reportArgumentType]
    return net


def pull(target: int) -> Tensor:
    """The weights of the evidence of a class: its own minus the mean of the others."""
    others = [i for i in range(3) if i != target]
    return (WEIGHTS[target] - WEIGHTS[others].mean(0)).view(1, *SIZE)


class TestEvidence:
    def test_two_classes_give_the_log_odds(self) -> None:
        logits = torch.tensor([[0.3, -1.2], [4.0, 9.0]])
        odds = logits.softmax(1)[:, 1]
        torch.testing.assert_close(evidence(logits, 1), (odds / (1 - odds)).log())

    def test_a_number_added_to_all_logits_changes_nothing(self) -> None:
        logits = torch.randn(5, 4)
        torch.testing.assert_close(evidence(logits + 7, 2), evidence(logits, 2))

    def test_one_logit(self) -> None:
        assert evidence(torch.tensor([[1.5]]), 0).tolist() == [1.5]
        assert probability(torch.tensor([[0.0]]), 0).tolist() == [0.5]


class TestLinearNetwork:
    """evidence = sum of pull * pixel, so every method has a known answer."""

    @pytest.mark.parametrize("target", [0, 1, 2])
    def test_the_gradient_is_the_pull(self, target: int) -> None:
        torch.testing.assert_close(explain("saliency", linear(), IMAGE, target), pull(target))
        torch.testing.assert_close(explain("smooth_grad", linear(), IMAGE, target), pull(target))

    @pytest.mark.parametrize("name", ["integrated_gradients", "deep_lift"])
    @pytest.mark.parametrize("baseline", FILLS)
    def test_contributions(self, name: str, baseline: str) -> None:
        got = explain(name, linear(), IMAGE, 1, {"baseline": baseline, "seed": 3})
        wanted = pull(1) * (IMAGE - fill_image(IMAGE, baseline, seed=3))[0]
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ["saliency", "smooth_grad"])
    def test_gradient_times_input(self, name: str) -> None:
        got = explain(name, linear(), IMAGE, 1, {"times_input": True})
        torch.testing.assert_close(got, pull(1) * IMAGE[0])

    def test_occlusion_of_single_pixels(self) -> None:
        got = explain("occlusion", linear(), IMAGE, 2, {"mask": 1, "fill": 0.5, "output": "evidence"})
        torch.testing.assert_close(got, pull(2) * (IMAGE[0] - 0.5), rtol=1e-4, atol=1e-5)

    def test_rise_finds_the_covariance_with_the_mask(self) -> None:
        """evidence = sum_i c_i M_i + rest, so S(j) = sum_i c_i Cov(M_i, M_j) / E[M]."""
        options = {"masks": 4000, "cells": 3, "fill": "zero", "output": "evidence", "batch": 500}
        got = explain("rise", linear(), IMAGE, 0, options).flatten()
        drawn = torch.cat(list(draw_masks(SIZE, 20000, 3, 0.5, 1000, seed=9))).flatten(1).double()
        covariance = torch.from_numpy(np.cov(drawn.numpy().T))
        wanted = covariance @ (pull(0) * IMAGE[0]).flatten().double() / 0.5
        error = float((got - wanted).abs().max())
        assert error < 5 * float(wanted.abs().max()) / 4000**0.5 + 0.3, error
        assert np.corrcoef(got.numpy(), wanted.numpy())[0, 1] > 0.99


class TestRise:
    def test_converges_to_the_expectation_over_all_masks(self) -> None:
        """Cells of one pixel: all masks of zeros and ones on 2 x 2 px are equally likely."""
        net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
        torch.manual_seed(5)
        for layer in (net[1], net[3]):
            nn.init.normal_(layer.weight)  # pyright: ignore[reportArgumentType]
        x = torch.tensor([[[[1.0, -2.0], [0.5, 3.0]]]])
        masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
        kept = probability(net(x * masks), 1).detach()
        shown = masks[:, 0]
        wanted = (kept[:, None, None] * shown).sum(0) / shown.sum(0) - kept.mean()  # E[f | kept] - E[f]
        errors = []
        for count in (100, 10000):
            options = {"masks": count, "cells": 2, "fill": "zero", "batch": 1000}
            errors.append(float((explain("rise", net, x, 1, options)[0] - wanted).abs().max()))
        assert errors[1] < 0.02 < wanted.abs().max()
        assert errors[1] < errors[0]

    def test_masks(self) -> None:
        masks = torch.cat(list(draw_masks((20, 31), 3000, 4, 0.3, 500, seed=0)))
        assert masks.min() >= 0 and masks.max() <= 1
        assert (masks.mean(0) - 0.3).abs().max() < 0.05  # everywhere, at the border too
        force = torch.cat(list(draw_masks((20, 31), 3000, 4, 0.3, 7, seed=0)))
        assert torch.equal(masks, force)
        other = torch.cat(list(draw_masks((20, 31), 3000, 4, 0.3, 500, seed=1)))
        assert not torch.equal(masks, other)

    def test_bad_numbers(self) -> None:
        with pytest.raises(
            RecipeError, match="option keep = 1 is not possible; use a number between 0 and 1"
        ):
            explain("rise", linear(), IMAGE, 0, {"keep": 1})
        with pytest.raises(RecipeError, match="option masks = 0 is not possible; use 1 or more"):
            explain("rise", linear(), IMAGE, 0, {"masks": 0})
        with pytest.raises(RecipeError, match="output 'logits' is not known; did you mean 'logit'"):
            explain("rise", linear(), IMAGE, 0, {"output": "logits"})


class TestOcclusion:
    @pytest.mark.parametrize(("mask", "stride"), [((4, 3), 1), ((3, 3), 2), ((2, 3), 4), (9, 2)])
    def test_each_pixel_has_the_mean_drop_of_the_masks_on_it(
        self, mask: int | tuple[int, int], stride: int
    ) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        got = explain("occlusion", net, IMAGE, 1, {"mask": mask, "stride": stride, "fill": "zero"})[0]
        height, width = (mask, mask) if isinstance(mask, int) else mask
        net.requires_grad_(False)
        whole = float(probability(net(IMAGE), 1))
        drops: dict[tuple[int, int], list[float]] = {}
        for top in range(0, SIZE[0] - height + 1, stride):
            for left in range(0, SIZE[1] - width + 1, stride):
                masked = IMAGE.clone()
                masked[..., top : top + height, left : left + width] = 0
                drop = whole - float(probability(net(masked), 1))
                for pixel in itertools.product(range(top, top + height), range(left, left + width)):
                    drops.setdefault(pixel, []).append(drop)
        for (row, col), values in drops.items():
            assert abs(float(got[row, col]) - sum(values) / len(values)) < 1e-5
        for row, col in itertools.product(range(SIZE[0]), range(SIZE[1])):
            near = (
                min({r for r, _ in drops}, key=lambda r: abs(r - row)),
                min({c for _, c in drops}, key=lambda c: abs(c - col)),
            )
            assert got[row, col] == got[near]

    def test_by_default_the_whole_image_is_covered(self) -> None:
        ones = spread(torch.ones(13, 16), place_masks((100, 120), 25, 6), (100, 120))
        torch.testing.assert_close(ones, torch.ones(100, 120))

    def test_output_of_the_map(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        logits = torch.stack([occlusion_map(net, IMAGE, i, 5, 2, output="logit") for i in range(3)], 2)
        got = occlusion_map(net, IMAGE, 1, 5, 2, output="evidence")
        torch.testing.assert_close(got, logits[..., 1] - (logits[..., 0] + logits[..., 2]) / 2)


class TestClassActivationMaps:
    """Two maps of 1 x 2 units: A_0 = (1, 2), A_1 = (3, -1); evidence = 2 A_00 + 4 A_01 - A_10 - 3 A_11."""

    def net(self) -> nn.Module:
        net = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Flatten(), nn.Linear(4, 1, bias=False))
        net[0].weight.data = torch.eye(2).view(2, 2, 1, 1)
        net[2].weight.data = torch.tensor([[2.0, 4.0, -1.0, -3.0]])
        return net

    x = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])

    def test_grad_cam(self) -> None:
        # weights (3, -2): 3 * (1, 2) - 2 * (3, -1) = (-3, 8)
        assert explain("grad_cam", self.net(), self.x, 0).tolist() == [[[0.0, 8.0]]]
        assert explain("grad_cam", self.net(), self.x, 0, {"relu": False}).tolist() == [[[-3.0, 8.0]]]

    def test_layer_cam(self) -> None:
        # relu(gradient) * A = (2, 8) + (0, 0)
        assert explain("layer_cam", self.net(), self.x, 0).tolist() == [[[2.0, 8.0]]]

    def test_grad_cam_plus_plus(self) -> None:
        # sums of A: 3, 2. alpha_0 = 1 / (2 + 2*3), 1 / (2 + 4*3); w_0 = 2/8 + 4/14; w_1 = 0
        weight = 2 / 8 + 4 / 14
        got = explain("grad_cam_plus_plus", self.net(), self.x, 0)
        torch.testing.assert_close(got, torch.tensor([[[weight, 2 * weight]]]))

    def test_like_captum(self) -> None:
        torch.manual_seed(3)
        net = models.build(
            "resnet", ("a", "b", "c"), Pixels(size=(40, 48)), {"stages": (1, 1), "width": 6}
        ).eval()
        x = torch.randn(2, 1, 40, 48)
        for layer in ("features.2", "features.4"):
            found = captum.attr.LayerGradCam(
                lambda x: evidence(net(x), 2), net.get_submodule(layer)
            ).attribute(x)
            wanted = F.interpolate(found.detach(), (40, 48), mode="bilinear")[:, 0]
            got = explain("grad_cam", net, x, 2, {"layer": layer, "relu": False})
            torch.testing.assert_close(got, wanted)

    def test_the_default_layer(self) -> None:
        vgg = models.build("vgg", ("a", "b"), Pixels(size=(32, 32)), {"blocks": ((4,), (6, 6))})
        assert last_layer(vgg, torch.zeros(1, 1, 32, 32)) == "features.9"  # the last ReLU, before pooling
        resnet = models.build("resnet", ("a", "b"), Pixels(size=(64, 64)), {"stages": (1, 1), "width": 4})
        assert last_layer(resnet, torch.zeros(1, 1, 64, 64)) == "features"
        with pytest.raises(ModelError, match="no layer of the model gives maps"):
            explain("grad_cam", linear(), IMAGE, 0)

    def test_bad_layers(self) -> None:
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
        with pytest.raises(ModelError, match="no layer 'conv'"):
            explain("grad_cam", net, IMAGE, 0, {"layer": "conv"})
        with pytest.raises(ModelError, match="layer '3' gives no maps"):
            explain("layer_cam", net, IMAGE, 0, {"layer": "3"})

    def test_a_ramp_is_enlarged_linearly(self) -> None:
        ramp = torch.arange(4.0).repeat(1, 3, 1)
        got = enlarged(ramp, (3, 16))
        torch.testing.assert_close(got[0, 0, 2:14].diff(), torch.full((11,), 0.25))


def smooth_net(activation: nn.Module) -> nn.Module:
    torch.manual_seed(4)
    conv = [nn.Conv2d(1, 5, 3, padding=1), activation, nn.MaxPool2d(3, 2, 1), nn.Conv2d(5, 6, 3), activation]
    net = nn.Sequential(*conv, nn.Flatten(), nn.Linear(6 * 3 * 4, 8), activation, nn.Linear(8, 3))
    return net.eval()


class TestCompleteness:
    """The values of a map sum to evidence(image) - evidence(baseline)."""

    @pytest.mark.parametrize("baseline", FILLS)
    @pytest.mark.parametrize("name", ["integrated_gradients", "deep_lift"])
    @pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.Tanh(), nn.SiLU(), nn.LeakyReLU(0.1)])
    def test_small_net(self, name: str, baseline: str, activation: nn.Module) -> None:
        net = smooth_net(activation)
        options = {"baseline": baseline, **({"steps": 300, "batch": 100} if "int" in name else {})}
        total = explain(name, net, IMAGE, 2, options).sum()
        wanted = evidence(net(IMAGE), 2) - evidence(net(fill_image(IMAGE, baseline)), 2)
        tolerance = 0.01 if name == "integrated_gradients" else 1e-5  # quadrature of kinks; float32
        torch.testing.assert_close(total, wanted[0].detach(), rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("name", ["vgg", "resnet", "resnet34_gelu"])
    def test_deep_lift_on_our_models(self, name: str) -> None:
        torch.manual_seed(6)
        pixels = Pixels(size=(40, 48))
        net = models.build(name, ("a", "b", "c"), pixels).eval()
        generator = torch.Generator().manual_seed(6)
        for layer in net.modules():  # nothing is zero or one by accident
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean = torch.randn(layer.num_features, generator=generator) * 0.1
            elif isinstance(layer, nn.Linear):
                layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * 0.3
        x = torch.randn(1, 1, 40, 48, generator=generator)
        total = explain("deep_lift", net, x, 1, {"baseline": "zero"}).sum()
        wanted = (evidence(net(x), 1) - evidence(net(fill_image(x, "zero", pixels)), 1))[0].detach()
        assert abs(float(wanted)) > 0.01
        torch.testing.assert_close(total, wanted, rtol=1e-3, atol=1e-5)


class TestDeepLift:
    def test_rescale_by_hand(self) -> None:
        """relu(2 a - b - 1) at (2, 1) against (0, 0): from relu(-1) = 0 to 2; slope 2 / 3 on 2 a - b."""
        net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU())
        net[1].weight.data, net[1].bias.data = torch.tensor([[2.0, -1.0]]), torch.tensor([-1.0])
        got = explain("deep_lift", net, torch.tensor([[[[2.0, 1.0]]]]), 0, {"baseline": "zero"})
        torch.testing.assert_close(got, torch.tensor([[[8 / 3, -2 / 3]]]))

    def test_max_pooling_by_hand(self) -> None:
        """max(3, 1) against max(0, 0) = 3: all of it belongs to the first pixel."""
        net = nn.Sequential(nn.MaxPool2d((1, 2)), nn.Flatten())
        got = explain("deep_lift", net, torch.tensor([[[[3.0, 1.0]]]]), 0, {"baseline": "zero"})
        assert got.tolist() == [[[3.0, 0.0]]]

    @pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid])
    def test_like_captum(self, activation: type[nn.Module]) -> None:
        """captum needs a module per use and windows that do not overlap, and (0.9) loses completeness where
        an activation stands next to a max pooling."""
        torch.manual_seed(7)
        layers = [nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), activation(), nn.Conv2d(5, 6, 3)]
        layers += [nn.MaxPool2d(2), nn.Conv2d(6, 6, 2), activation(), nn.Flatten()]
        layers += [nn.Linear(36, 8), activation(), nn.Linear(8, 3)]
        net = nn.Sequential(*layers).eval()
        baseline = fill_image(IMAGE, "blur")
        found = captum.attr.DeepLift(net)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum says that it sets hooks and gradients
            each = [found.attribute(IMAGE, baseline, target=i).detach() for i in range(3)]
        wanted = (each[1] - (each[0] + each[2]) / 2)[:, 0]
        got = explain("deep_lift", net, IMAGE, 1, {"baseline": "blur"})
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5)

    def test_layers_used_twice_and_functions(self) -> None:
        class Twice(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.conv, self.act = nn.Conv2d(1, 4, 3, padding=1), nn.GELU()
                self.more, self.out = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)

            def forward(self, x: Tensor) -> Tensor:
                x = self.act(self.conv(x))
                x = F.max_pool2d(x + self.act(self.more(x)) * 2, 3, 1)
                return self.out(F.silu(x[:, :, 1:]).mean((2, 3)))

        torch.manual_seed(8)
        net = Twice()
        total = explain("deep_lift", net, IMAGE, 0, {"baseline": "mean"}).sum()
        wanted = evidence(net(IMAGE), 0) - evidence(net(fill_image(IMAGE, "mean")), 0)
        torch.testing.assert_close(total, wanted[0].detach(), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(
        ("layer", "call"), [(nn.Softmax(1), "softmax"), (nn.InstanceNorm2d(4), "instance_norm")]
    )
    def test_a_call_without_a_rule_is_named(self, layer: nn.Module, call: str) -> None:
        net = nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(ModelError, match=f"DeepLIFT has no rule for {call} in layer '1'; use integrated"):
            explain("deep_lift", net, IMAGE, 0)

    def test_a_gate_is_refused(self) -> None:
        class Gate(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return (x * torch.sigmoid(x.mean((2, 3), keepdim=True))).mean((2, 3)).repeat(1, 2)

        with pytest.raises(ModelError, match="no rule for mul in layer ''"):
            explain("deep_lift", Gate(), IMAGE, 0)


class TestSmoothGrad:
    def test_the_mean_gradient_of_noisy_copies(self) -> None:
        """The sum of x^3 has the gradient 3 x^2, and under noise of sd s its mean is 3 (x^2 + s^2)."""

        class Cubes(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return (x**3).sum((2, 3))

        x = torch.tensor([[[[0.0, 1.0], [2.0, -1.0]]]])
        got = explain("smooth_grad", Cubes(), x, 0, {"samples": 20000, "noise": 0.1, "batch": 20000})
        torch.testing.assert_close(got, 3 * (x[:, 0] ** 2 + 0.3**2), rtol=0, atol=0.05)

    def test_no_noise_is_saliency(self) -> None:
        net = smooth_net(nn.GELU())
        got = explain("smooth_grad", net, IMAGE, 1, {"noise": 0.0, "samples": 3})
        torch.testing.assert_close(got, explain("saliency", net, IMAGE, 1))
        with pytest.raises(RecipeError, match=r"option noise = -1 is not possible; use 0 or more"):
            explain("smooth_grad", net, IMAGE, 1, {"noise": -1})

    def test_the_seed_changes_it_and_the_batch_does_not(self) -> None:
        net = smooth_net(nn.GELU())
        first, other, small = (
            explain("smooth_grad", net, IMAGE, 1, options) for options in ({}, {"seed": 1}, {"batch": 3})
        )
        assert not torch.equal(first, other)
        torch.testing.assert_close(first, small)


@pytest.mark.parametrize(("steps", "batch"), [(32, 8), (5, 2), (1, 8)])
def test_integrated_gradients_equal_captums(steps: int, batch: int) -> None:
    torch.manual_seed(2)
    pixels = Pixels(size=(40, 48))
    net = models.build("resnet", ("a", "b", "c"), pixels, {"stages": (1, 1), "width": 6}).eval()
    x = torch.randn(1, 1, 40, 48)
    theirs = captum.attr.IntegratedGradients(lambda x: evidence(net(x), 2)).attribute(
        x, fill_image(x, "blur"), n_steps=steps, method="gausslegendre", internal_batch_size=batch
    )
    ours = explain("integrated_gradients", net, x, 2, {"baseline": "blur", "steps": steps, "batch": batch})
    torch.testing.assert_close(ours, theirs[:, 0], rtol=1e-6, atol=1e-8)
    assert ours.abs().max() > 1e-3


def test_integrated_gradients_by_hand() -> None:
    """evidence = a * b from (0, 0) to (2, 3): both pixels get one half of 6, whatever the baseline's path."""

    class Product(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x[:, :, 0, :1] * x[:, :, 0, 1:]).flatten(1)

    got = explain("integrated_gradients", Product(), torch.tensor([[[[2.0, 3.0]]]]), 0, {"baseline": "zero"})
    torch.testing.assert_close(got, torch.tensor([[[3.0, 3.0]]]))
    with pytest.raises(RecipeError, match="option steps = 0 is not possible"):
        explain("integrated_gradients", Product(), torch.tensor([[[[2.0, 3.0]]]]), 0, {"steps": 0})


class TestFills:
    def test_values(self) -> None:
        x = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]], [[[1.0, 1.0], [1.0, 5.0]]]])
        dataset = Pixels(size=(2, 2), mean=0.4, sd=0.2)
        image = Pixels(size=(2, 2), standardize="image")
        assert fill_image(x, "zero").unique().tolist() == [0.0]
        torch.testing.assert_close(fill_image(x, "zero", dataset), torch.full_like(x, -2.0))
        torch.testing.assert_close(
            torch.full_like(x, -2.0), torch.from_numpy(dataset.normalize(np.zeros((2, 1, 2, 2), np.uint8)))
        )
        assert fill_image(x, "zero", image)[:, 0, 0, 0].tolist() == [0.0, 1.0]
        assert fill_image(x, "mean")[:, 0, 1, 1].tolist() == [3.0, 2.0]
        assert fill_image(x, "mean", dataset).unique().tolist() == [0.0]

    def test_blur_keeps_constants_and_weakens_detail(self) -> None:
        torch.testing.assert_close(
            fill_image(torch.full((1, 1, 32, 40), 3.0), "blur"), torch.full((1, 1, 32, 40), 3.0)
        )
        spike = torch.zeros(1, 1, 65, 65)
        spike[..., 32, 32] = 1.0
        got = fill_image(spike, "blur")[0, 0]
        offsets = torch.arange(65.0) - 32
        wanted = torch.exp(-0.5 * (offsets / (65 / 16)) ** 2)
        wanted[offsets.abs() > 12] = 0  # three standard deviations
        torch.testing.assert_close(got[32] / got[32, 32], wanted)
        assert float(got.sum()) == pytest.approx(1.0, abs=1e-5)

    def test_noise(self) -> None:
        x = torch.randn(1, 1, 100, 100, generator=torch.Generator().manual_seed(1)) * 3 + 2
        noise = fill_image(x, "noise", seed=4)
        assert abs(float(noise.mean() - x.mean())) < 0.15 and abs(float(noise.std() / x.std()) - 1) < 0.05
        assert torch.equal(noise, fill_image(x, "noise", seed=4))
        assert not torch.equal(noise, fill_image(x, "noise", seed=5))
        with pytest.raises(RecipeError, match="fill 'blurr' is not known; did you mean 'blur'"):
            fill_image(x, "blurr")
