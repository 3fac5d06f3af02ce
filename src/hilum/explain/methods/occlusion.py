"""Occlusion: by how much the probability falls, on average over the masks that cover a pixel.

Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (arXiv:1311.2901), section
4.2. The map of probabilities itself, one value per position of the mask, is `hilum.occlusion_map`.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.evidence import GivenImages, class_evidence, scored
from hilum.explain.fills import fill_for
from hilum.explain.occlusion.masks import place_masks, spread
from hilum.explain.occlusion.occlusion_map import occlusion_map

TITLE = "Occlusion"
SOURCE = "Zeiler & Fergus, ECCV 2014"
SIGNED = True


def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    mask: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: str | float = "zero",
    output: str = "probability",
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """By how much the probability of the class falls, on average over the masks that cover a pixel, -1 to 1.

    `mask`: by default a quarter of the shorter side; `stride`: by default a quarter of the mask. `fill`: a
    number in the units of the network or a name of hilum.explain.fills. `output`: what falls. `dtype`: see
    `occlusion_map`. `seed`: of the fill "noise". A pixel at the far border that no mask reaches has the value
    of its nearest covered neighbour. Errors: see `hilum.explain.attribution.explain` and `occlusion_map`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, 0.0, 0.0, -1.0]])
    >>> attribute(net, torch.ones(1, 1, 1, 4), 0, mask=(1, 2), stride=(1, 1), fill=0.0, output="logit")
    tensor([[[ 2.0000,  1.0000, -0.5000, -1.0000]]])
    """
    score = class_evidence(model, x, target)
    size = (x.shape[2], x.shape[3])
    side = mask if mask is not None else max(1, min(size) // 4)
    step = stride if stride is not None else max(1, (side if isinstance(side, int) else min(side)) // 4)
    masks = place_masks(size, side, step)
    heat = []
    for image in score.x.split(1):
        filled = fill_for(model, image, fill, seed) if isinstance(fill, str) else float(fill)
        covered = occlusion_map(score.model, image, target, side, step, filled, dtype, output=output)
        with torch.no_grad():
            whole = scored(score.model(image), target, output)
        heat.append(spread(whole - covered, masks, size))
    return torch.stack(heat)
