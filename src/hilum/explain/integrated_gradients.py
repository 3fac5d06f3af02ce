"""Integrated gradients: the gradient, averaged on the way from a baseline to the image, times that way.

Sundararajan, Taly & Yan, "Axiomatic attribution for deep networks", ICML 2017 (arXiv:1703.01365), eq. 1. The
values of a map sum to the evidence for the image minus the evidence for the baseline (completeness, up to the
error of the quadrature). Computed by captum, with Gauss-Legendre quadrature.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.evidence import at_least, subject
from hilum.explain.fills import fill_for

TITLE = "Integrated gradients"
SOURCE = "Sundararajan et al., ICML 2017"
SIGNED = True


def attribute(
    model: nn.Module,
    x: Float[Tensor, "batch channels rows cols"],
    target: int,
    baseline: str = "zero",
    steps: int = 32,
    batch: int = 8,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """What each pixel adds to the evidence, in units of the evidence (channels are summed).

    `baseline`: a fill of hilum.explain.fills; `steps`: points of the quadrature; `batch`: images computed
    together, which changes speed and memory only; `seed`: of the baseline "noise". Errors: see
    `hilum.explain.explain`; RecipeError for steps or batch below 1.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> attribute(net, torch.tensor([[[[3.0, 5.0]]]]), 0, baseline="zero")
    tensor([[[ 6., -5.]]])
    """
    from captum.attr import IntegratedGradients

    at_least(1, steps=steps, batch=batch)
    asked = subject(model, x, target)
    heat = []
    with torch.enable_grad():
        for image in asked.x.split(1):
            found = IntegratedGradients(asked, multiply_by_inputs=True).attribute(
                image,
                baselines=fill_for(model, image, baseline, seed),
                n_steps=steps,
                method="gausslegendre",
                internal_batch_size=batch,
            )
            heat.append(found.detach().sum(1))
    return torch.cat(heat)
