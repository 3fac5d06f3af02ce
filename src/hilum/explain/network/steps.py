"""Steps: recorded calls over maps that can be computed on any part of the image.

Convolution, pooling, padding, activation, sum and concatenation: each output position reads a window of input
positions that is known per axis (class Axis).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.explain.network.axis import NOWHERE, Axis, window_axis
from hilum.explain.network.recording import Call, Value, resolve

POINTWISE = {
    "celu", "clamp", "contiguous", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh", "tanhshrink",
}  # fmt: skip
DROPOUT = {"dropout", "dropout2d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"}
ARITHMETIC = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "true_divide": torch.div,
}


@dataclass
class Step:
    """One operation over maps "batch channels rows cols" that can be computed on any part of them.

    `part(inputs, rows, cols)` computes the outputs at `rows` "batch n" and `cols` "m" from inputs that are
    already padded; `whole(inputs)` computes all. `axes` is None where output i reads input i only. `cost` is
    multiply-adds per output position. `weight`, `bias`: of a convolution; `scale`, `shift`: of a
    normalisation.
    """

    layer: str
    name: str
    inputs: list[int]
    channels: int
    size: tuple[int, int]
    whole: Callable[[list[Tensor]], Tensor]
    part: Callable[[list[Tensor], Tensor, Tensor], Tensor]
    axes: tuple[Axis, Axis] | None = None
    fill: float = 0.0
    cost: float = 0.0
    weight: Tensor | None = None
    bias: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None

    def reached(
        self, axis: int, intervals: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Like Axis.reached, for the union of the intervals of all inputs.

        >>> from hilum.explain.network.graph import follow
        >>> step = follow(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 5, 5)).steps[1]
        >>> step.reached(0, [(np.array([3]), np.array([4]))])
        (array([1]), array([3]))
        """
        begin = np.minimum.reduce([begin for begin, _ in intervals])
        end = np.maximum.reduce([end for _, end in intervals])
        return self.axes[axis].reached(begin, end) if self.axes else (begin, end)


def identity(inputs: list[Tensor], *_: Any) -> Tensor:
    """The first input as it is.

    >>> identity([torch.tensor(1.0), torch.tensor(2.0)])
    tensor(1.)
    """
    return inputs[0]


def step_of(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    """The step that a call stands for, or None if it reads more than a window of known shape.

    >>> from hilum.explain.network.recording import record
    >>> calls, _, _ = record(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 5, 5))
    >>> step = step_of(calls[1], [0], [Step("", "input", [], 1, (5, 5), identity, identity)])
    >>> step.layer, step.name, step.channels, step.size
    ('0', 'conv2d', 2, (3, 3))
    """
    if len(call.shape) != 4:
        return None
    maker = _MAKERS.get(call.name.strip("_"))
    return maker(call, inputs, steps) if maker else None


def _new(call: Call, inputs: list[int], run: Callable[..., Tensor], **more: Any) -> Step:
    """A step whose parts are computed like the whole."""
    more.setdefault("part", lambda values, rows, cols: run(values))
    shape = call.shape
    more.setdefault("cost", 0.0)
    return Step(call.layer, call.name, inputs, shape[1], (shape[2], shape[3]), whole=run, **more)


def _named(call: Call, names: Sequence[str]) -> dict[str, Any]:
    return dict(zip(names, call.args, strict=False)) | call.kwargs


def _pair(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, (int, float)) else (value[0], value[-1])


def _conv(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    given = _named(call, ("input", "weight", "bias", "stride", "padding", "dilation", "groups"))
    weight = given["weight"]
    if isinstance(weight, Value) or isinstance(given.get("bias"), Value):
        return None
    stride, dilation = _pair(given.get("stride", 1)), _pair(given.get("dilation", 1))
    groups = given.get("groups", 1)
    kernel = weight.shape[2:]
    padding = given.get("padding", 0)
    if padding == "same":
        before = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True))
    else:
        before = (0, 0) if padding == "valid" else _pair(padding)
    size = steps[inputs[0]].size
    axes = [
        window_axis(size[i], kernel[i], stride[i], dilation[i], before[i], call.shape[2 + i])
        for i in range(2)
    ]
    step = _new(call, inputs, identity, axes=tuple(axes), cost=float(weight[0].numel() * weight.shape[0]))
    step.weight, step.bias = weight, given.get("bias")

    def whole(values: list[Tensor]) -> Tensor:
        assert step.weight is not None
        return F.conv2d(values[0], step.weight, step.bias, stride, padding, dilation, groups)

    def part(values: list[Tensor], rows: Tensor, cols: Tensor) -> Tensor:
        assert step.weight is not None
        return F.conv2d(values[0], step.weight, step.bias, stride, 0, dilation, groups)

    step.whole, step.part = whole, part
    return step


def _max_pool(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    given = _named(
        call, ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    )
    if given.get("return_indices"):
        return None
    kernel = _pair(given["kernel_size"])
    stride = _pair(given.get("stride") or kernel)
    before, dilation = _pair(given.get("padding", 0)), _pair(given.get("dilation", 1))
    ceil = given.get("ceil_mode", False)
    size = steps[inputs[0]].size
    axes = [
        window_axis(size[i], kernel[i], stride[i], dilation[i], before[i], call.shape[2 + i])
        for i in range(2)
    ]
    return _new(
        call,
        inputs,
        lambda values: F.max_pool2d(values[0], kernel, stride, before, dilation, ceil),
        part=lambda values, rows, cols: F.max_pool2d(values[0], kernel, stride, 0, dilation),
        axes=tuple(axes),
        fill=-float("inf"),
        cost=float(2 * call.shape[1] * kernel[0] * kernel[1]),
    )


def _average_pool(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    names = (
        "input",
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    )
    given = _named(call, names)
    kernel = _pair(given["kernel_size"])
    stride = _pair(given.get("stride") or kernel)
    before = _pair(given.get("padding", 0))
    include, divisor = given.get("count_include_pad", True), given.get("divisor_override")
    ceil = given.get("ceil_mode", False)
    size = steps[inputs[0]].size
    axes = [window_axis(size[i], kernel[i], stride[i], 1, before[i], call.shape[2 + i]) for i in range(2)]
    counts = [
        _counted(axes[i], before[i], include) if divisor is None else np.full(axes[i].out, divisor**0.5)
        for i in range(2)
    ]
    per_row, per_col = (torch.from_numpy(1.0 / count).float() for count in counts)

    def part(values: list[Tensor], rows: Tensor, cols: Tensor) -> Tensor:
        x = values[0]
        total = F.avg_pool2d(x, kernel, stride, 0, divisor_override=1)
        share_rows, share_cols = per_row.to(x.device)[rows], per_col.to(x.device)[cols]
        return (total * share_rows[:, None, :, None] * share_cols).to(x.dtype)

    return _new(
        call,
        inputs,
        lambda values: F.avg_pool2d(values[0], kernel, stride, before, ceil, include, divisor),
        part=part,
        axes=tuple(axes),
        cost=float(2 * call.shape[1] * kernel[0] * kernel[1]),
    )


def _counted(axis: Axis, before: int, include: bool) -> np.ndarray:
    """By how many positions an average pool divides, per output position (torch's own rule)."""
    if not include:
        return (axis.taps != NOWHERE).sum(axis=1).astype(float)
    starts = np.arange(axis.out) * axis.stride - before
    return (np.minimum(starts + axis.kernel, axis.size + before) - starts).astype(float)


def _pad(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    given = _named(call, ("input", "pad", "mode", "value"))
    left, right, top, bottom = [*given["pad"], 0, 0, 0, 0][:4]
    if min(left, right, top, bottom) < 0 or any(given["pad"][4:]):
        return None
    mode = given.get("mode", "constant")
    value = float(given.get("value") or 0.0) if mode == "constant" else 0.0
    size = steps[inputs[0]].size
    ends = ((top, bottom), (left, right))
    axes = [
        window_axis(size[i], 1, 1, 1, ends[i][0], call.shape[2 + i], mode, after=ends[i][1]) for i in range(2)
    ]
    return _new(
        call,
        inputs,
        lambda values: F.pad(
            values[0], (left, right, top, bottom), mode, value if mode == "constant" else None
        ),
        part=lambda values, rows, cols: values[0],
        axes=tuple(axes),
        fill=value,
    )


def _pointwise(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    if call.name.strip("_") == "relu":
        return _new(call, inputs, lambda values: torch.relu(values[0]), cost=float(call.shape[1]))
    kwargs = {key: value for key, value in call.kwargs.items() if key != "inplace"}
    function = getattr(F, call.name.strip("_"), call.function)
    options = call.args[1:]
    if call.name == "contiguous":
        return _renamed(_new(call, inputs, identity))
    # Activations take their parameters by position and `inplace` last: a fresh copy makes that harmless.
    return _new(
        call,
        inputs,
        lambda values: function(values[0].clone(), *options, **kwargs),
        cost=float(20 * call.shape[1]),
    )


def _renamed(step: Step) -> Step:
    step.name = "identity"
    return step


def _dropout(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    given = _named(call, ("input", "p", "training", "inplace"))
    return None if given.get("training", True) else _renamed(_new(call, inputs, identity))


def _batch_norm(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = _named(call, names)
    mean, var = given["running_mean"], given["running_var"]
    if given.get("training") or mean is None or var is None:
        return None
    scale = (var.double() + given.get("eps", 1e-5)).rsqrt()
    if given.get("weight") is not None:
        scale = scale * given["weight"].double()
    shift = -mean.double() * scale
    if given.get("bias") is not None:
        shift = shift + given["bias"].double()
    weight, bias = scale.to(mean.dtype), shift.to(mean.dtype)
    step = _new(
        call,
        inputs,
        lambda values: values[0] * weight[:, None, None] + bias[:, None, None],
        cost=float(2 * call.shape[1]),
    )
    step.scale, step.shift = scale, shift
    return step


def _arithmetic(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    function = ARITHMETIC.get(call.name.strip("_"))
    constants = [item for item in call.args if isinstance(item, Tensor)]
    plain = all(item.numel() == 1 or (item.dim() >= 3 and item.shape[-2:] == (1, 1)) for item in constants)
    same = all(steps[i].size == (call.shape[2], call.shape[3]) for i in inputs)
    if function is None or not plain or not same or len(call.args) != 2:
        return None
    places = iter(range(len(inputs)))
    seen: dict[int, int] = {}
    pattern = []
    for item in call.args:
        if isinstance(item, Value):
            if item.index not in seen:
                seen[item.index] = next(places)
            pattern.append(Value(seen[item.index]))
        else:
            pattern.append(item)
    return _new(
        call,
        inputs,
        lambda values: function(*resolve(pattern, dict(enumerate(values))), **call.kwargs),
        cost=float(2 * call.shape[1]),
    )


def _cat(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    given = _named(call, ("tensors", "dim"))
    tensors = given["tensors"]
    if given.get("dim", 0) not in (1, -3) or not all(isinstance(item, Value) for item in tensors):
        return None
    order = {index: i for i, index in enumerate(call.inputs)}
    picks = [order[item.index] for item in tensors]
    return _new(
        call, inputs, lambda values: torch.cat([values[i] for i in picks], dim=1), cost=float(call.shape[1])
    )


def _repeat(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    """Channels repeated, as of a grey image for a network of colour images."""
    before = steps[inputs[0]]
    if (
        len(inputs) > 1
        or call.shape[0] != 1
        or call.shape[2:] != before.size
        or call.shape[1] % before.channels
    ):
        return None
    times = call.shape[1] // before.channels
    return _new(call, inputs, lambda values: torch.cat([values[0]] * times, dim=1), cost=float(call.shape[1]))


_MAKERS = {
    "expand": _repeat,
    "repeat": _repeat,
    "conv2d": _conv,
    "max_pool2d": _max_pool,
    "avg_pool2d": _average_pool,
    "pad": _pad,
    "batch_norm": _batch_norm,
    "cat": _cat,
    "concat": _cat,
    **dict.fromkeys(POINTWISE, _pointwise),
    **dict.fromkeys(DROPOUT, _dropout),
    **dict.fromkeys(ARITHMETIC, _arithmetic),
}


def absorbed(step: Step, follower: Step) -> bool:
    """Joins a normalisation or activation to the step whose only reader it is; False if it is neither.

    >>> from hilum.explain.network.recording import record
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()).requires_grad_(False)
    >>> calls, _, _ = record(net, torch.zeros(1, 1, 5, 5))
    >>> conv = step_of(calls[1], [0], [Step("", "input", [], 1, (5, 5), identity, identity)])
    >>> absorbed(conv, step_of(calls[2], [1], [])), conv.name
    (True, 'conv2d+')
    """
    if follower.axes is not None:
        return False
    if follower.name == "batch_norm" and step.name == "conv2d":
        _fold(step, follower)
        return True
    whole, part = step.whole, step.part
    after: Callable[[Tensor], Tensor] = (
        torch.relu_ if follower.name.strip("_") == "relu" else lambda x: follower.whole([x])
    )
    step.whole = lambda values: after(whole(values))
    step.part = lambda values, rows, cols: after(part(values, rows, cols))
    step.cost += follower.cost
    step.name = step.name if step.name != "conv2d" else "conv2d+"
    return True


def _fold(conv: Step, norm: Step) -> None:
    """Multiplies a batch normalisation into the convolution before it (Jacob et al. 2018, eq. 14)."""
    assert conv.weight is not None and norm.scale is not None and norm.shift is not None
    dtype = conv.weight.dtype
    bias = norm.shift if conv.bias is None else norm.shift + norm.scale * conv.bias.double()
    conv.weight = (conv.weight.double() * norm.scale[:, None, None, None]).to(dtype)
    conv.bias = bias.to(dtype)
