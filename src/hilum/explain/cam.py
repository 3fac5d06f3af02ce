"""What class activation maps share: the maps of one layer with the gradient of the evidence there."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.evidence import Subject
from hilum.explain.receptive_field import check_layer

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
    """The last layer with maps of more than one position that is no pooling: where CAMs are usually drawn.

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
    found = [
        (name, output)
        for name, _, output in ends
        if isinstance(output, Tensor)
        and output.dim() == 4
        and output.shape[2] * output.shape[3] > 1
        and output.shape[2] >= least
        and id(output) not in pooled
    ]
    if not found:
        raise ModelError("no layer of the model gives maps", "name a convolutional network")
    same = [name for name, output in found if output is found[-1][1]]
    return min(reversed(same), key=lambda name: name.count("."))  # of a layer and its parent, the parent


def maps_and_gradients(
    subject: Subject, layer: str | None
) -> tuple[Float[Tensor, "batch dim rows cols"], Float[Tensor, "batch dim rows cols"]]:
    """The maps of a layer and the gradient of the evidence with respect to them.

    `layer`: a name of `model.named_modules()`, None for `last_layer`. ModelError for a layer that
    does not exist (with the nearest name), gives no maps, or does not lead to the logits.
    """
    name = last_layer(subject.model, subject.x) if layer is None else layer
    check_layer(subject.model, name)
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        found.append(output)

    handle = subject.model.get_submodule(name).register_forward_hook(keep)
    with torch.enable_grad():
        value = subject(subject.x.clone().requires_grad_(True)).sum()
    handle.remove()
    if not found or not isinstance(found[-1], Tensor) or found[-1].dim() != 4:
        raise ModelError(f"layer {name!r} gives no maps", "name a convolutional layer")
    gradient = torch.autograd.grad(value, found[-1], allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise ModelError(f"the logits do not depend on layer {name!r}", "name a layer before the head")
    return found[-1].detach(), gradient


def enlarged(
    maps: Float[Tensor, "batch rows cols"], size: tuple[int, int]
) -> Float[Tensor, "batch image_rows image_cols"]:
    """A map of a layer on the pixels of the image, linear in between.

    >>> enlarged(torch.tensor([[[1.0, 3.0]]]), (1, 4))
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
