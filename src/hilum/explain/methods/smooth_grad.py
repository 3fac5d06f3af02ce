"""SmoothGrad: the gradient, averaged over copies of the image with noise.

Smilkov, Thorat, Kim, Viégas & Wattenberg, "SmoothGrad: removing noise by adding noise" (arXiv:1706.03825),
section 3. They add normal noise of 10 to 20 % of the image's range and find little gain beyond 50 copies.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.explain.evidence import GivenImages, at_least, class_evidence, gradient

TITLE = "SmoothGrad"
SOURCE = "Smilkov et al., arXiv 2017"
SIGNED = True


def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    samples: int = 32,
    noise: float = 0.15,
    times_input: bool = False,
    batch: int = 8,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """By how much the evidence would grow per unit that a pixel grows, averaged over noisy copies.

    `samples`: copies; `noise`: standard deviation of the noise as a share of the range of the image;
    `times_input` multiplies with the pixel; `batch`: copies computed together; `seed`: every image gets the
    same noise, so the map of an image does not depend on the others. Errors: see `hilum.explain.attribution.explain`;
    RecipeError for a number of samples below 1 or noise below 0.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> attribute(net, torch.tensor([[[[3.0, 5.0]]]]), 0, samples=3)
    tensor([[[ 2., -1.]]])
    """
    at_least(1, samples=samples, batch=batch)
    at_least(0, noise=noise)
    score = class_evidence(model, x, target)
    heat = []
    for image in score.x.split(1):
        generator = torch.Generator().manual_seed(seed)
        strength = noise * (image.max() - image.min())
        total = torch.zeros_like(image)
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            noises = [torch.randn(image.shape[1:], generator=generator) for _ in range(count)]
            copies = image + strength * torch.stack(noises).to(image)
            total += gradient(score, copies).sum(0, keepdim=True)
        mean = total / samples
        heat.append((mean * image if times_input else mean).sum(1))
    return torch.cat(heat)
