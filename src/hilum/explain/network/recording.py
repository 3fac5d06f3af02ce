"""Recording one forward pass: every torch call that depends on the image, and the layer in which it happens."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode


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


def resolve(argument: Any, values: dict[int, Tensor]) -> Any:
    """Arguments of a call with results in the place of every Value.

    >>> resolve([Value(3), "same"], {3: torch.tensor(7)})
    [tensor(7), 'same']
    """
    if isinstance(argument, Value):
        return values[argument.index]
    if isinstance(argument, dict):
        return {key: resolve(item, values) for key, item in argument.items()}
    if isinstance(argument, (list, tuple)) and not isinstance(argument, torch.Size):
        return type(argument)(resolve(item, values) for item in argument)
    return argument


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
        """Hook before the forward of a layer.

        >>> recorder = Recorder(torch.zeros(1))
        >>> recorder.enter("conv")(nn.Identity(), ())
        >>> recorder.layer
        ['conv']
        """
        return lambda module, inputs: self.layer.append(name)

    def leave(self, name: str) -> Callable[..., None]:
        """Hook after it: notes which call made the result of the layer.

        >>> x = torch.zeros(1)
        >>> recorder = Recorder(x)
        >>> recorder.enter("conv")(nn.Identity(), ())
        >>> recorder.leave("conv")(nn.Identity(), (), x)
        >>> recorder.layer, recorder.ends
        ([], {'conv': 0})
        """

        def hook(module: nn.Module, inputs: Any, result: Any) -> None:
            self.layer.pop()
            if isinstance(result, Tensor) and id(result) in self.index:
                self.ends[name] = self.index[id(result)]

        return hook


def record(model: nn.Module, x: Tensor) -> tuple[list[Call], int | None, dict[str, int]]:
    """(calls, index of the call that made the output, index of the call that ends each named layer).

    >>> calls, output, ends = record(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(1, 1, 2, 2))
    >>> [call.name for call in calls], output, ends["0"]
    (['input', 'flatten', 'linear'], 2, 1)
    """
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

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval().requires_grad_(False)
    >>> fold_normalisations(net, torch.zeros(1, 1, 2, 2), keep="")
    >>> type(net[1]).__name__
    'Identity'
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
        plain = type(first) is nn.Conv2d and not first._forward_pre_hooks  # its weight is not computed anew
        if not (plain and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)):
            continue
        if second.running_mean is not None and used[conv.layer] == used[norm.layer] == 1:
            model.set_submodule(conv.layer, fuse_conv_bn_eval(first, second))
            model.set_submodule(norm.layer, nn.Identity())
