"""Integrated gradients: the gradient, averaged on the way from a baseline to the image, times that way.

Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017 (arXiv:1703.01365), eq. 1. The
values of a map sum to the evidence for the image minus the evidence for the baseline (completeness, up to the
error of the quadrature). The integral is taken by Gauss-Legendre quadrature, as in captum, whose maps are
equal (tests).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.evidence import ClassEvidence, GivenImages, at_least, class_evidence, gradient
from hilum.explain.fills import fill_for

TITLE = "Integrated gradients"
SOURCE = "Sundararajan et al., ICML 2017"
SIGNED = True


def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    baseline: str = "zero",
    steps: int = 32,
    batch: int = 8,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """What each pixel adds to the evidence, in units of the evidence (channels are summed).

    `baseline`: a fill of hilum.explain.fills; `steps`: points of the quadrature; `batch`: points computed
    together, which changes speed and memory only; `seed`: of the baseline "noise". Errors: see
    `hilum.explain.attribution.explain`; RecipeError for steps or batch below 1.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> attribute(net, torch.tensor([[[[3.0, 5.0]]]]), 0, baseline="zero")
    tensor([[[ 6., -5.]]])
    """
    at_least(1, steps=steps, batch=batch)
    score = class_evidence(model, x, target)
    heat = []
    for image in score.x.split(1):
        reference = fill_for(model, image, baseline, seed)
        heat.append(_integrated(score, image, reference, steps, batch).sum(1))
    return torch.cat(heat)


def _integrated(score: ClassEvidence, image: Tensor, reference: Tensor, steps: int, batch: int) -> Tensor:
    """The contributions "1 channels rows cols"."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    shares, widths = (0.5 * (1 + points)).tolist(), torch.from_numpy(0.5 * weights).float().to(image.device)
    total = torch.zeros_like(image)
    for first in range(0, steps, batch):
        part = slice(first, first + batch)
        slopes = gradient(
            score, torch.cat([reference + share * (image - reference) for share in shares[part]])
        )
        mean = (slopes * widths[part, None, None, None]).sum(0, keepdim=True)
        total = total + mean * (image - reference)
    return total
