"""Layers by name: looking one up, and the one that class activation maps use."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hilum.errors import ModelError, nearest

POOLING = (
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.LPPool2d,
    nn.FractionalMaxPool2d,
)


@torch.no_grad()
def last_layer(model: nn.Module, x: Tensor, stride: int | None = None) -> str:
    """The last layer with maps of more than one position that is no pooling: the usual one for CAMs.

    `stride`: the last one with a position for every `stride` rows of the image, for a finer map. ModelError
    when no layer of the model gives such maps.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4, 2))
    >>> last_layer(net, torch.zeros(1, 1, 4, 4))
    '1'
    """
    ends: list[tuple[str, nn.Module, Tensor]] = []

    def keep(name: str) -> Callable[..., None]:
        return lambda module, _inputs, output: ends.append((name, module, output))

    named = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(keep(name)) for name, module in named]
    try:
        model(x[:1])
    finally:
        for handle in handles:
            handle.remove()
    least = 1 if stride is None else x.shape[2] // stride
    pooled = {id(output) for _, module, output in ends if isinstance(module, POOLING)}
    candidates = [
        (name, output)
        for name, _, output in ends
        if isinstance(output, Tensor)
        and output.dim() == 4
        and output.shape[2] * output.shape[3] > 1
        and output.shape[2] >= least
        and id(output) not in pooled
    ]
    if not candidates:
        raise ModelError("no layer of the model gives maps", "name a convolutional network")
    same = [name for name, output in candidates if output is candidates[-1][1]]
    return min(reversed(same), key=lambda name: name.count("."))  # of a layer and its parent, the parent


def layer_name(model: nn.Module, layer: nn.Module) -> str:
    """The name of a module inside a model. ModelError if it is not in it.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> layer_name(net, net[1])
    '1'
    """
    for name, module in model.named_modules():
        if module is layer:
            return name
    raise ModelError(f"the model does not contain this {type(layer).__name__}", "name one of its layers")


def check_layer(model: nn.Module, name: str) -> None:
    """ModelError with the nearest name, if the model has no such layer.

    >>> check_layer(nn.Sequential(nn.Flatten()), "0")
    """
    known = [known for known, _ in model.named_modules() if known]
    if name not in known:
        raise ModelError(f"the model has no layer {name!r}", nearest(name, known))
