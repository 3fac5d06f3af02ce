"""Grad-CAM: the maps of one layer, each weighted with the mean gradient of the evidence over its positions.

Selvaraju et al., "Grad-CAM: Visual explanations from deep networks via gradient-based localization", ICCV
2017 (arXiv:1610.02391), eqs. 1 and 2:

    w_k = mean over positions of d evidence / d A_k        map = relu(sum over k of w_k A_k)

The map has the size of the layer and is enlarged linearly, so it can't be sharper than one unit of the layer.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.cam import Maps, weighted_maps
from hilum.explain.evidence import GivenImages

TITLE = "Grad-CAM"
SOURCE = "Selvaraju et al., ICCV 2017"
SIGNED = False


def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    layer: str | None = None,
    relu: bool = True,
) -> Float[Tensor, "batch rows cols"]:
    """Where the layer's maps are evidence for the class, 0 or more (with `relu=False`, signed).

    `layer`: its name, by default the last one with maps that is no pooling. Errors: see
    `hilum.explain.attribution.explain`; ModelError for an unknown layer, with the nearest name.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net[0].weight.data = torch.tensor([0.0, 4.0]).view(2, 1, 1, 1)
    >>> attribute(net, torch.tensor([[[[1.0, 0.0], [0.0, -2.0]]]]), 1)
    tensor([[[1., 0.],
             [0., 0.]]])
    """
    return weighted_maps(model, x, target, layer, _mean_gradient, relu)


def _mean_gradient(maps: Maps, gradients: Maps) -> Tensor:
    return gradients.mean(dim=(2, 3), keepdim=True)
