"""Saliency: the gradient of the evidence with respect to the pixels, the plainest of all methods.

Simonyan, Vedaldi & Zisserman, "Deep inside convolutional networks", ICLR Workshop 2014 (arXiv:1312.6034),
section 3, with the sign kept.
"""

from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.evidence import GivenImages, class_evidence, gradient

TITLE = "Saliency"
SOURCE = "Simonyan et al., ICLR Workshop 2014"
SIGNED = True


def attribute(
    model: nn.Module, x: GivenImages, target: int, times_input: bool = False
) -> Float[Tensor, "batch rows cols"]:
    """By how much the evidence would grow per unit that a pixel grows (channels are summed).

    A negative value means: brighter pixels here are evidence against the class. `times_input` multiplies with the
    pixel, which makes it a contribution against an image of zeros. Errors: see `hilum.explain.attribution.explain`.

    >>> import torch
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> attribute(net, torch.tensor([[[[3.0, 5.0]]]]), 0)
    tensor([[[ 2., -1.]]])
    """
    score = class_evidence(model, x, target)
    slopes = gradient(score, score.x)
    return (slopes * score.x if times_input else slopes).sum(1)
