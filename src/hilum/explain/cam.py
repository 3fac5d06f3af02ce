"""What class activation maps share: the maps of one layer with the gradient of the evidence there."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.evidence import ClassEvidence
from hilum.explain.network.layers import check_layer, last_layer


def maps_and_gradients(
    score: ClassEvidence, layer: str | None
) -> tuple[Float[Tensor, "batch dim rows cols"], Float[Tensor, "batch dim rows cols"]]:
    """The maps of a layer and the gradient of the evidence with respect to them.

    `layer`: a name of `model.named_modules()`, None for `last_layer`. ModelError for a layer that
    does not exist (with the nearest name), gives no maps, or does not lead to the logits.

    >>> from hilum.explain.evidence import class_evidence
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> maps, gradients = maps_and_gradients(class_evidence(net, torch.zeros(1, 1, 8, 8), 1), layer=None)
    >>> maps.shape, gradients.shape
    (torch.Size([1, 4, 6, 6]), torch.Size([1, 4, 6, 6]))
    """
    name = last_layer(score.model, score.x) if layer is None else layer
    check_layer(score.model, name)
    maps: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        maps.append(output)

    handle = score.model.get_submodule(name).register_forward_hook(keep)
    with torch.enable_grad():
        value = score(score.x.clone().requires_grad_(True)).sum()
    handle.remove()
    if not maps or not isinstance(maps[-1], Tensor) or maps[-1].dim() != 4:
        raise ModelError(f"layer {name!r} gives no maps", "name a convolutional layer")
    gradient = torch.autograd.grad(value, maps[-1], allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise ModelError(f"the logits do not depend on layer {name!r}", "name a layer before the head")
    return maps[-1].detach(), gradient


def enlarged(
    maps: Float[Tensor, "batch rows cols"], size: tuple[int, int]
) -> Float[Tensor, "batch image_rows image_cols"]:
    """A map of a layer on the pixels of the image, linear in between.

    >>> enlarged(torch.tensor([[[1.0, 3.0]]]), (1, 4))
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
