"""Explainers: attribution methods as functions, and baselines that know nothing of the network.

An `Explainer` is a function (model, x, target) -> "batch rows cols"; `explainers` makes them of method names.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.attribution import explain, load_method
from hilum.explain.attribution import methods as known_methods

Explainer = Callable[[nn.Module, Tensor, int], Tensor]
Map = Float[Tensor, "batch rows cols"]
GivenMap = Float[
    Tensor, "_batch _rows _cols"
]  # of a caller: `check_map` says in a sentence what does not fit
Images = Float[Tensor, "batch channels rows cols"]


def explainers(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, Explainer]:
    """Method names with their options -> functions (model, x, target) -> map.

    >>> list(explainers({"grad_cam": {}}))
    ['grad_cam']
    """
    return {name: partial(_explained, name, dict(options)) for name, options in methods.items()}


def _explained(name: str, options: dict[str, Any], model: nn.Module, x: Tensor, target: int) -> Tensor:
    return explain(name, model, x, target, options)


def random_map(model: nn.Module, x: Images, target: int, seed: int = 0) -> Map:
    """Uniform chance in 0..1 per pixel; the same map for every image.

    >>> random_map(nn.Identity(), torch.zeros(2, 1, 3, 4), 0).shape
    torch.Size([2, 3, 4])
    """
    values = torch.rand(x.shape[2:], generator=torch.Generator().manual_seed(seed))
    return values.to(x.device).expand(len(x), -1, -1).clone()


def edges(model: nn.Module, x: Images, target: int) -> Map:
    """The length of the image's gradient by Sobel's filter, 0 or more; Adebayo et al. (NeurIPS 2018) show how
    much some methods' maps look like this.

    >>> edges(nn.Identity(), torch.tensor([[[[0.0, 0.0, 8.0, 8.0]]]]), 0)
    tensor([[[ 0., 32., 32.,  0.]]])
    """
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=x.device)
    grey = F.pad(x.detach().float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    slopes = F.conv2d(grey, torch.stack([across, across.T])[:, None])
    return slopes.square().sum(1).sqrt()


def centre(model: nn.Module, x: Images, target: int) -> Map:
    """A round blob in the middle, standard deviation a quarter of the shorter side: a fair guess on chests.

    >>> centre(nn.Identity(), torch.zeros(1, 1, 3, 3), 0).flatten().argmax()
    tensor(4)
    """
    rows, cols = x.shape[2:]
    down = torch.arange(rows, device=x.device)[:, None] - (rows - 1) / 2
    right = torch.arange(cols, device=x.device) - (cols - 1) / 2
    blob = torch.exp(-0.5 * (down**2 + right**2) / (min(rows, cols) / 4) ** 2)
    return blob.expand(len(x), -1, -1).clone()


BASELINES: dict[str, Explainer] = {"random": random_map, "edges": edges, "centre": centre}
"""Maps that know nothing of the network: every method is read beside what they score."""

TITLES = {"random": "Random numbers", "edges": "Edge detector", "centre": "Blob in the middle"}


def title_of(name: str) -> str:
    """The title of a row: the method's, a baseline's, or the name itself.

    >>> title_of("grad_cam"), title_of("edges"), title_of("layer_cam, finer")
    ('Grad-CAM', 'Edge detector', 'layer_cam, finer')
    """
    if name in TITLES:
        return TITLES[name]
    return str(load_method(name).TITLE) if name in known_methods() else name
