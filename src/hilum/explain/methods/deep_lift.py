"""DeepLIFT with the rescale rule: how far the evidence is from that of a baseline, shared out to the pixels.

Shrikumar, Greenside & Kundaje, "Learning important features through propagating activation differences", ICML
2017 (arXiv:1704.02685), section 3.5.2. The derivative of a non-linear function is replaced with the slope
between baseline and image,

    multiplier = (f(x) - f(baseline)) / (x - baseline),

and multipliers are chained like derivatives. The values of a map sum to the evidence for the image minus the
evidence for the baseline. Max pooling: the growth of the maximum goes to the pixel that is the maximum of the
image, what it lost to the pixel that is the maximum of the baseline, as in captum.

captum's DeepLift (0.9) knows no GELU, refuses a layer that is used twice, and its maps do not sum to the
difference where pooling windows overlap or an activation stands next to a max pooling; our networks have all
of these but the second. Here every torch call on the way is given its rule, and a call without one is named.
On networks that captum can do the maps are equal (tests).
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hilum.errors import ModelError
from hilum.explain.evidence import GivenImages, class_evidence
from hilum.explain.fills import fill_for
from hilum.explain.network.steps import DROPOUT, POINTWISE

TITLE = "DeepLIFT"
SOURCE = "Shrikumar et al., ICML 2017"
SIGNED = True

LINEAR = {
    "adaptive_avg_pool2d", "add", "avg_pool2d", "batch_norm", "cat", "chunk", "clone", "contiguous", "conv2d",
    "expand", "expand_as", "flatten", "float", "getitem", "iadd", "isub", "linear", "mean", "movedim",
    "narrow", "neg", "pad", "permute", "radd", "reshape", "roll", "rsub", "select", "split", "squeeze",
    "stack", "sub", "sum", "swapaxes", "t", "to", "transpose", "unflatten", "unsqueeze", "view", "view_as",
}  # fmt: skip
"""Calls whose multiplier is their derivative."""
LINEAR_IN_ONE = {"div", "mul", "rmul", "truediv", "true_divide", "imul", "itruediv", "matmul"}
"""The same, as long as only the first factor depends on the image."""
CLOSE = 1e-6
"""Inputs closer than this take the derivative half-way instead of a quotient of two small differences."""
COMPLETE = 1e-3
"""Largest allowed difference between the sum of a map and what it should be, per unit of the evidences."""


def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    baseline: str = "zero",
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """What each pixel adds to the evidence, compared with a baseline (channels are summed).

    `baseline`: a fill of hilum.explain.fills; `seed`: of the baseline "noise". Errors: see
    `hilum.explain.attribution.explain`; ModelError naming the layer when a call of the network has no rule.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.ReLU())
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> attribute(net, torch.tensor([[[[3.0, 4.0]]]]), 0, baseline="zero")
    tensor([[[ 6., -4.]]])
    """
    score = class_evidence(model, x, target)
    layers: list[str] = []
    for name, module in score.model.named_modules():
        module.register_forward_pre_hook(lambda _module, _inputs, name=name: layers.append(name))
        module.register_forward_hook(lambda _module, _inputs, _output: _left(layers))
    heat = []
    for image in score.x.split(1):
        reference = fill_for(model, image, baseline, seed)
        with torch.enable_grad():
            pair = torch.cat([image, reference]).requires_grad_(True)
            with Rules(layers):
                values = score(pair)
            (multipliers,) = (
                torch.autograd.grad(values[0], pair) if values.requires_grad else (torch.zeros_like(pair),)
            )
        contributions = multipliers[:1] * (image - reference)
        _check_complete(float(contributions.sum()), *values.tolist())
        heat.append(contributions.sum(1))
    return torch.cat(heat)


def _left(layers: list[str]) -> None:
    layers.pop()


def _check_complete(total: float, here: float, there: float) -> None:
    if not abs(total - (here - there)) <= COMPLETE * max(1.0, abs(here), abs(there)):
        raise ModelError(
            f"DeepLIFT's contributions sum to {total:.4g}, not to the difference of {here - there:.4g}",
            "the network has a step that DeepLIFT can't follow; use integrated_gradients",
        )


class Rules(TorchFunctionMode):
    """Gives every call of a forward pass on (image, baseline) its multiplier in place of its derivative."""

    def __init__(self, layers: list[str]) -> None:
        super().__init__()
        self.layers = layers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", str(func)).strip("_")
        moving = [arg for arg in _flat([args, kwargs]) if arg.requires_grad]
        if not moving:
            return func(*args, **kwargs)
        if name in POINTWISE - LINEAR and len(moving) == 1 and moving[0] is args[0]:
            options = {key: value for key, value in kwargs.items() if key != "inplace"}
            return Rescaled.apply(args[0], lambda values: func(values, *args[1:], **options))
        if name == "max_pool2d":
            return MaxPooled.apply(args[0], args[1:], kwargs)
        result = func(*args, **kwargs)
        linear = name in LINEAR | DROPOUT or (
            name in LINEAR_IN_ONE and len(moving) == 1 and moving[0] is args[0]
        )
        if not linear and any(tensor.requires_grad for tensor in _flat(result)):
            where = self.layers[-1] if self.layers else ""
            raise ModelError(
                f"DeepLIFT has no rule for {name} in layer {where!r}", "use integrated_gradients"
            )
        return result


def _flat(values: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, dict):
        return _flat(list(values.values()))
    return (
        [tensor for value in values for tensor in _flat(value)] if isinstance(values, (list, tuple)) else []
    )


class Rescaled(torch.autograd.Function):
    """A function of each number by itself; its slope between baseline and image is its derivative."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """`values`: image and baseline, stacked.

        >>> Rescaled.apply(torch.tensor([[2.0], [-2.0]]), torch.relu).tolist()
        [[2.0], [0.0]]
        """
        result = function(values.clone())
        ctx.save_for_backward(values, result)
        ctx.function = function
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient for both, times the slope.

        >>> values = torch.tensor([[2.0], [-2.0]], requires_grad=True)
        >>> Rescaled.apply(values, torch.relu)[0].sum().backward()
        >>> values.grad[0].tolist()  # 2 of the 4 by which the input rose
        [0.5]
        """
        values, result = ctx.saved_tensors
        step, rise = values[:1] - values[1:], result[:1] - result[1:]
        with torch.enable_grad():
            middle = ((values[:1] + values[1:]) / 2).requires_grad_(True)
            (slope,) = torch.autograd.grad(ctx.function(middle).sum(), middle)
        close = step.abs() < CLOSE
        return gradient * torch.where(close, slope, rise / torch.where(close, 1.0, step)), None


class MaxPooled(torch.autograd.Function):
    """Max pooling of image and baseline; what the maximum gained or lost goes to where it lies."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """`args`, `kwargs`: those of torch's max_pool2d.

        >>> MaxPooled.apply(torch.tensor([1.0, 3.0, 0.0, 0.0]).view(2, 1, 1, 2), ((1, 2),), {}).flatten().tolist()
        [3.0, 0.0]
        """
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        options = {**dict(zip(names, args, strict=False)), **kwargs, "return_indices": True}
        result, where = F.max_pool2d(values, **options)
        ctx.save_for_backward(values, result, where)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient for the image; the baseline gets none.

        >>> values = torch.tensor([1.0, 3.0, 0.0, 0.0]).view(2, 1, 1, 2).requires_grad_()
        >>> MaxPooled.apply(values, ((1, 2),), {})[0].sum().backward()
        >>> values.grad.flatten().tolist()
        [0.0, 1.0, 0.0, 0.0]
        """
        values, result, where = ctx.saved_tensors
        top = result.amax(0, keepdim=True)
        shares = torch.cat([top - result[1:], result[:1] - top]) * gradient[:1]
        moved = torch.zeros_like(values).flatten(2).scatter_add_(2, where.flatten(2), shares.flatten(2))
        moved = moved.sum(0, keepdim=True).view_as(values[:1])
        step = values[:1] - values[1:]
        close = step.abs() < CLOSE
        multiplier = torch.where(close, 0.0, moved / torch.where(close, 1.0, step))
        return torch.cat([multiplier, torch.zeros_like(multiplier)]), None, None
