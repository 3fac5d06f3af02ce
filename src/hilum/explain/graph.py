"""A network as a list of steps over images: what each step reads, and how to compute a part of it.

`follow(model, example)` runs the model once, notes every torch call, and sorts the calls into

- steps: convolution, pooling, padding, activation, sum, concatenation; each output position reads a window
  of input positions that is known per axis (class Axis), so a step can be computed on any part of the image;
- the tail: everything after the last map that all later calls depend on (global pooling, dense layers).

The record is replayed on other images and compared with the model. A network with a step of another kind is
followed up to it; `Graph.obstacle` names the layer.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from hilum.explain.rounding import SHORT, rounded

NOWHERE = -1
"""Index of a padded position that holds a constant."""

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


@dataclass(frozen=True)
class Axis:
    """What a window operation reads along one axis.

    `source[v]`: the input position behind padded position v, or NOWHERE. Output i reads the padded positions
    i * stride + t * dilation for t in 0 .. kernel - 1.

    >>> pool = Axis(size=5, kernel=2, stride=2, dilation=1, source=np.array([0, 1, 2, 3]))
    >>> pool.out, pool.first.tolist(), pool.last.tolist()
    (2, [0, 2], [1, 3])
    """

    size: int
    kernel: int
    stride: int
    dilation: int
    source: np.ndarray

    @property
    def out(self) -> int:
        """Number of output positions."""
        return (len(self.source) - (self.kernel - 1) * self.dilation - 1) // self.stride + 1

    @cached_property
    def taps(self) -> np.ndarray:
        """Input positions "out kernel" of each output, NOWHERE for constant padding."""
        starts = np.arange(self.out)[:, None] * self.stride
        return self.source[starts + np.arange(self.kernel) * self.dilation]

    @cached_property
    def first(self) -> np.ndarray:
        """First input position that each output reads; `size` if it reads only padding."""
        return np.where(self.taps == NOWHERE, self.size, self.taps).min(axis=1)

    @cached_property
    def last(self) -> np.ndarray:
        """Last input position that each output reads; -1 if it reads only padding."""
        return self.taps.max(axis=1)

    def padded(self, start: np.ndarray, count: int) -> np.ndarray:
        """Input positions "... window" behind the outputs start .. start + count - 1, padding as NOWHERE."""
        width = (count - 1) * self.stride + (self.kernel - 1) * self.dilation + 1
        return self.source[np.asarray(start)[..., None] * self.stride + np.arange(width)]

    def reached(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The outputs [begin, end) that read from inputs [begin, end), or on both sides of an empty interval.

        Outputs before the result read only inputs before `begin`; outputs after it only inputs from `end` on.

        >>> same = Axis(size=6, kernel=3, stride=1, dilation=1, source=np.array([-1, 0, 1, 2, 3, 4, 5, -1]))
        >>> same.reached(np.array([3]), np.array([3]))
        (array([2]), array([4]))
        """
        new_begin = np.searchsorted(np.maximum.accumulate(self.last), begin, side="left")
        least_after = np.minimum.accumulate(self.first[::-1])[::-1]
        new_end = np.searchsorted(least_after, end, side="left")
        return new_begin, np.maximum(new_begin, new_end)


def window_axis(
    size: int,
    kernel: int,
    stride: int,
    dilation: int,
    before: int,
    out: int,
    mode: str = "constant",
    after: int = 0,
) -> Axis:
    """The axis of a window with `before` padded positions in front; behind, as many as `out` outputs need."""
    length = (out - 1) * stride + (kernel - 1) * dilation + 1
    if mode == "constant":
        source = np.arange(length) - before
        source = np.where((source < 0) | (source >= size), NOWHERE, source)
    else:
        numpy_mode: Any = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
        source = np.pad(np.arange(size), (before, after), mode=numpy_mode)[:length]
    return Axis(size, kernel, stride, dilation, source)


@dataclass(frozen=True)
class Value:
    """Stands for the result of an earlier call among the arguments of a later one."""

    index: int


@dataclass
class Call:
    """One torch call of the recorded forward pass; `inputs` are the indices of the calls it reads."""

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[int]
    layer: str
    shape: tuple[int, ...]


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
        """Like Axis.reached, for the union of the intervals of all inputs."""
        begin = np.minimum.reduce([begin for begin, _ in intervals])
        end = np.maximum.reduce([end for _, end in intervals])
        return self.axes[axis].reached(begin, end) if self.axes else (begin, end)


@dataclass
class Graph:
    """Steps from the image (step 0) to the map that the tail reads (step `last`, made by call `final`).

    `output`: the call that made the logits; `obstacle`: why the network can't be followed, or empty;
    `layers`: the step that ends each named layer.
    """

    steps: list[Step]
    last: int
    tail: dict[int, Call]
    final: int
    output: int
    obstacle: str
    layers: dict[str, int]

    def maps(self, x: Tensor) -> list[Tensor]:
        """All maps of an image batch, one per step."""
        values = [x]
        for step in self.steps[1 : self.last + 1]:
            values.append(step.whole([values[i] for i in step.inputs]))
        return values

    def cast(self, dtype: torch.dtype, examples: Tensor) -> None:
        """Lets all maps be computed and kept in `dtype`; the tail stays as it is.

        For a short format, weights are rounded so that the mean of each map of `examples` stays as it was.
        """
        short = dtype in SHORT and examples.dtype not in SHORT
        exact = self.maps(examples) if short else []
        rough = [examples.to(dtype)]
        for step in self.steps[1 : self.last + 1]:
            if step.weight is not None:
                weight, bias = step.weight, step.bias
                if short:
                    full, low = (values[step.inputs[0]].float().mean((0, 2, 3)) for values in (exact, rough))
                    weight, bias = rounded(weight, bias, full, low, dtype)
                step.weight = weight.to(dtype, memory_format=torch.channels_last)
                step.bias = None if bias is None else bias.to(dtype)
            step.whole, step.part = _casting(step.whole, dtype), _casting(step.part, dtype)
            if short:
                rough.append(step.whole([rough[i] for i in step.inputs]))

    def finish(self, final: Tensor) -> Tensor:
        """The output of the network from its last maps."""
        return self.finish_from({self.final: final})

    def finish_from(self, known: dict[int, Tensor]) -> Tensor:
        """The output of the network from results that are already known, by index of the call."""
        values = dict(known)
        for index, call in self.tail.items():
            if index not in values and all(i in values for i in call.inputs):
                values[index] = call.function(*resolve(call.args, values), **resolve(call.kwargs, values))
        return values[self.output]


def _casting(run: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
    return lambda *inputs: run(*inputs).to(dtype)


def resolve(argument: Any, values: dict[int, Tensor]) -> Any:
    """Arguments of a call with results in the place of every Value."""
    if isinstance(argument, Value):
        return values[argument.index]
    if isinstance(argument, dict):
        return {key: resolve(item, values) for key, item in argument.items()}
    if isinstance(argument, (list, tuple)) and not isinstance(argument, torch.Size):
        return type(argument)(resolve(item, values) for item in argument)
    return argument


# -- recording -----------------------------------------------------------------------------------------------


class Recorder(TorchFunctionMode):
    """Notes every torch call that depends on the input, with the layer in which it happened."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.calls = [Call(torch.clone, "input", (), {}, [], "", tuple(x.shape))]
        self.index = {id(x): 0}
        self.alive: list[Any] = [x]  # keeps ids unique
        self.layer: list[str] = []
        self.ends: dict[str, int] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs: list[int] = []
        noted_args, noted_kwargs = self._noted(args, inputs), self._noted(kwargs, inputs)
        result = func(*args, **kwargs)
        if inputs and isinstance(result, Tensor):
            call = Call(
                func,
                getattr(func, "__name__", str(func)),
                noted_args,
                noted_kwargs,
                list(dict.fromkeys(inputs)),
                self.layer[-1] if self.layer else "",
                tuple(result.shape),
            )
            self.index[id(result)] = len(self.calls)
            self.calls.append(call)
            self.alive.append(result)
        return result

    def _noted(self, argument: Any, inputs: list[int]) -> Any:
        if isinstance(argument, Tensor):
            index = self.index.get(id(argument))
            if index is None:
                return argument
            inputs.append(index)
            return Value(index)
        if isinstance(argument, dict):
            return {key: self._noted(item, inputs) for key, item in argument.items()}
        if isinstance(argument, (list, tuple)) and not isinstance(argument, torch.Size):
            return type(argument)(self._noted(item, inputs) for item in argument)
        return argument

    def enter(self, name: str) -> Callable[..., None]:
        """Hook before the forward of a layer."""
        return lambda module, inputs: self.layer.append(name)

    def leave(self, name: str) -> Callable[..., None]:
        """Hook after it: notes which call made the result of the layer."""

        def hook(module: nn.Module, inputs: Any, result: Any) -> None:
            self.layer.pop()
            if isinstance(result, Tensor) and id(result) in self.index:
                self.ends[name] = self.index[id(result)]

        return hook


def record(model: nn.Module, x: Tensor) -> tuple[list[Call], int | None, dict[str, int]]:
    """(calls, index of the call that made the output, index of the call that ends each named layer)."""
    recorder = Recorder(x)
    handles = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(recorder.enter(name)))
        handles.append(module.register_forward_hook(recorder.leave(name)))
    try:
        with recorder:
            output = model(x)
    finally:
        for handle in handles:
            handle.remove()
    return recorder.calls, recorder.index.get(id(output)), recorder.ends


def fold_normalisations(model: nn.Module, x: Tensor, keep: str) -> None:
    """Multiplies batch normalisations of a frozen model into the convolutions before them, in place.

    Only where the convolution has no other reader; layer `keep` stays as it is.
    """
    calls, _, _ = record(model, x)
    readers = Counter(i for call in calls for i in call.inputs)
    used = Counter(call.layer for call in calls if call.name in ("conv2d", "batch_norm"))
    for norm in calls:
        if norm.name != "batch_norm":
            continue
        conv = calls[norm.inputs[0]]
        if conv.name != "conv2d" or conv.layer == keep or readers[norm.inputs[0]] > 1:
            continue
        first, second = model.get_submodule(conv.layer), model.get_submodule(norm.layer)
        if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)):
            continue
        if second.running_mean is not None and used[conv.layer] == used[norm.layer] == 1:
            model.set_submodule(conv.layer, fuse_conv_bn_eval(first, second))
            model.set_submodule(norm.layer, nn.Identity())


# -- calls to steps ------------------------------------------------------------------------------------------


def follow(model: nn.Module, example: Tensor) -> Graph:
    """The graph of `model` (in eval mode, without gradients) for images like "1 channels rows cols".

    On the meta device nothing is computed, which is enough for receptive fields.
    """
    calls, output, ends = record(model, example)
    readers = Counter(i for call in calls for i in call.inputs)
    shape = calls[0].shape
    steps = [Step("", "input", [], shape[1], (shape[2], shape[3]), _identity, _identity)]
    place = {0: 0}
    for index, call in enumerate(calls[1:], start=1):
        if not all(i in place for i in call.inputs):
            continue
        step = _step(call, [place[i] for i in call.inputs], steps)
        if step is None:
            continue
        before = step.inputs[0]
        alone = readers[call.inputs[0]] == 1 and before > 0 and len(call.inputs) == 1
        if step.name == "identity" or (alone and _absorbed(steps[before], step)):
            place[index] = before
            continue
        steps.append(step)
        place[index] = len(steps) - 1
    used = _ancestors(calls, output)
    tail = {index: call for index, call in enumerate(calls) if index not in place and index in used}
    border = sorted({i for call in tail.values() for i in call.inputs if i in place})
    return Graph(
        steps=steps,
        last=place[border[0]] if border else 0,
        tail=tail,
        final=border[0] if border else 0,
        output=output if output is not None else 0,
        obstacle=_obstacle(tail, border, output),
        layers={name: place[index] for name, index in ends.items() if index in place},
    )


def _ancestors(calls: list[Call], output: int | None) -> set[int]:
    """The calls that the output depends on."""
    used: set[int] = set()
    waiting = [] if output is None else [output]
    while waiting:
        index = waiting.pop()
        if index not in used:
            used.add(index)
            waiting += calls[index].inputs
    return used


def _identity(inputs: list[Tensor], *_: Any) -> Tensor:
    return inputs[0]


def _obstacle(tail: dict[int, Call], border: list[int], output: int | None) -> str:
    """Why the network can't be followed to its head, as half a sentence; empty if it can."""
    if output is None or output not in tail:
        return "the output of the network is not one row of logits made by its layers"
    reading = [call for call in tail.values() if any(i in border for i in call.inputs)]
    first = reading[0]
    where = f"layer {first.layer!r} ({first.name})"
    if len(first.shape) == 4 and first.shape[2:] != (1, 1) and not first.name.startswith("adaptive"):
        return f"{where} can't be followed"
    if len(border) > 1:
        last = reading[-1]
        return f"{where} and layer {last.layer!r} ({last.name}) read different maps"
    return ""


def _step(call: Call, inputs: list[int], steps: list[Step]) -> Step | None:
    """The step that a call stands for, or None if it reads more than a window of known shape."""
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
    step = _new(call, inputs, _identity, axes=tuple(axes), cost=float(weight[0].numel() * weight.shape[0]))
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
        return _renamed(_new(call, inputs, _identity))
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
    return None if given.get("training", True) else _renamed(_new(call, inputs, _identity))


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


_MAKERS = {
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


def _absorbed(step: Step, follower: Step) -> bool:
    """Joins a normalisation or activation to the step whose only reader it is; False if it is neither."""
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
