"""Grad-CAM++: Grad-CAM with weights that count several findings of one class, large or small, alike.

Chattopadhay, Sarkar, Howlader & Balasubramanian, "Grad-CAM++: Generalized gradient-based visual explanations
for deep convolutional networks", WACV 2018 (arXiv:1710.11063), eqs. 5 and 19, with g = d evidence / d A_k and
the exponential of the evidence as the score, so that higher derivatives are powers of g:

    alpha_k = g^2 / (2 g^2 + g^3 * sum over positions of A_k)      w_k = sum over positions of alpha_k relu(g)
    map = relu(sum over k of w_k A_k)
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.cam import Maps, weighted_maps
from hilum.explain.evidence import GivenImages

TITLE = "Grad-CAM++"
SOURCE = "Chattopadhay et al., WACV 2018"
SIGNED = False


def attribute(
    model: nn.Module, x: GivenImages, target: int, layer: str | None = None
) -> Float[Tensor, "batch rows cols"]:
    """Where the layer's maps are evidence for the class, 0 or more. The formula is meant for maps that are not
    negative (after a ReLU).

    `layer`: its name, by default the last one with maps that is no pooling. Errors: see
    `hilum.explain.attribution.explain`; ModelError for an unknown layer, with the nearest name.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net[0].weight.data = torch.tensor([0.0, 4.0]).view(2, 1, 1, 1)
    >>> attribute(net, torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]]), 1)
    tensor([[[1.3333, 0.0000],
             [0.0000, 0.0000]]])
    """
    return weighted_maps(model, x, target, layer, _weights)


def _weights(maps: Maps, gradients: Maps) -> Tensor:
    below = 2 + gradients * maps.sum(dim=(2, 3), keepdim=True)  # eq. 19, divided by g^2
    alpha = torch.where((gradients != 0) & (below.abs() > 1e-12), 1 / below, 0.0)
    return (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
