"""LayerCAM: the maps of one layer, each position weighted with its own positive gradient.

Jiang, Zhang, Hou, Cheng & Wei, "LayerCAM: Exploring hierarchical class activation maps for localization",
IEEE TIP 2021, eqs. 5 to 7:

    map = relu(sum over k of relu(d evidence / d A_k) * A_k)

Unlike Grad-CAM it stays meaningful in earlier, finer layers, where a map answers to many things.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.cam import weighted_maps
from hilum.explain.evidence import GivenImages

TITLE = "LayerCAM"
SOURCE = "Jiang et al., IEEE TIP 2021"
SIGNED = False


def attribute(
    model: nn.Module, x: GivenImages, target: int, layer: str | None = None
) -> Float[Tensor, "batch rows cols"]:
    """Where the layer's maps are evidence for the class, 0 or more.

    `layer`: its name, by default the last one with maps that is no pooling. Errors: see
    `hilum.explain.attribution.explain`; ModelError for an unknown layer, with the nearest name.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net[0].weight.data = torch.tensor([0.0, 4.0]).view(2, 1, 1, 1)
    >>> attribute(net, torch.tensor([[[[1.0, 0.0], [0.0, -2.0]]]]), 1)
    tensor([[[1., 0.],
             [0., 0.]]])
    """
    return weighted_maps(model, x, target, layer, lambda maps, gradients: gradients.relu())
