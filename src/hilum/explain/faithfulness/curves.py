"""Deletion and insertion: does the class go when the marked pixels go?"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.errors import DataError
from hilum.explain.evidence import at_least, class_evidence, scored
from hilum.explain.faithfulness.explainers import GivenMap, Images
from hilum.explain.fills import fill_for


class Curves(NamedTuple):
    """`share` of changed pixels "points", 0 to 1; `answer` of the network there "batch points"; `auc`, the
    area under it by the trapezoid rule, "batch", in the units of the answer."""

    share: Tensor
    answer: Tensor
    auc: Tensor


def deletion(
    model: nn.Module,
    x: Images,
    target: int,
    heat: GivenMap,
    steps: int = 32,
    fill: str = "mean",
    output: str = "probability",
    batch: int = 32,
    seed: int = 0,
) -> Curves:
    """The answer while pixels are taken away, the most important first; lower `auc` is better, 0 to 1 for
    probabilities.

    Petsiuk, Das & Saenko (BMVC 2018), section 4.1. Pixels go in `steps` equal parts; what stands there
    instead is a `fill` of hilum.explain.fills (theirs is grey). Pixels of equal value go in an order by
    chance (`seed`). `output`: "probability", "logit" or "evidence"; `batch`: images computed together.

    DataError for a map of another shape than the images or with NaN; RecipeError for numbers out of range.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[3.0, 1.0]])
    >>> heat = torch.tensor([[[3.0, 1.0]]])
    >>> deletion(net, torch.ones(1, 1, 1, 2), 0, heat, steps=2, fill="zero", output="evidence").answer
    tensor([[4., 1., 0.]])
    """
    return _curves(model, x, target, heat, steps, fill, output, batch, seed, inserting=False)


def insertion(
    model: nn.Module,
    x: Images,
    target: int,
    heat: GivenMap,
    steps: int = 32,
    fill: str = "blur",
    output: str = "probability",
    batch: int = 32,
    seed: int = 0,
) -> Curves:
    """The answer while pixels are put into a blurred image, the most important first; higher `auc` is better,
    0 to 1 for probabilities. Otherwise as `deletion`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[3.0, 1.0]])
    >>> heat = torch.tensor([[[3.0, 1.0]]])
    >>> insertion(net, torch.ones(1, 1, 1, 2), 0, heat, steps=2, fill="zero", output="evidence").answer
    tensor([[0., 3., 4.]])
    """
    return _curves(model, x, target, heat, steps, fill, output, batch, seed, inserting=True)


@torch.no_grad()
def _curves(
    model: nn.Module,
    x: Tensor,
    target: int,
    heat: Tensor,
    steps: int,
    fill: str,
    output: str,
    batch: int,
    seed: int,
    inserting: bool,
) -> Curves:
    at_least(1, steps=steps, batch=batch)
    score = class_evidence(model, x, target)
    check_map(score.x, heat)
    steps = min(steps, heat[0].numel())
    filled = fill_for(model, score.x, fill, seed)
    begin, end = (filled, score.x) if inserting else (score.x, filled)
    pixels = heat[0].numel()
    counts = torch.linspace(0, pixels, steps + 1).round().to(heat.device)
    rows = []
    for i in range(len(x)):
        place = places(heat[i], seed)
        parts = []
        for some in counts.split(batch):
            changed = (place[None] < some[:, None, None])[:, None]
            parts.append(scored(score.model(torch.where(changed, end[i], begin[i])), target, output))
        rows.append(torch.cat(parts))
    answer, share = torch.stack(rows).float().cpu(), (counts / pixels).cpu()
    return Curves(share, answer, torch.trapezoid(answer, share, dim=1))


def places(heat: Float[Tensor, "rows cols"], seed: int = 0) -> Int[Tensor, "rows cols"]:
    """The place of each pixel in the order of importance, 0 first; equal values in an order by chance.

    >>> places(torch.tensor([[0.5, 2.0, -1.0]]))
    tensor([[1, 0, 2]])
    """
    flat = heat.detach().flatten()
    chance = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed)).to(flat.device)
    order = chance[torch.argsort(flat[chance], descending=True, stable=True)]
    place = torch.empty_like(order)
    place[order] = torch.arange(len(flat), device=flat.device)
    return place.view(heat.shape)


def check_map(x: Tensor, heat: Tensor) -> None:
    """DataError when a map does not lie on the pixels of the images or is not finite.

    >>> check_map(torch.zeros(2, 1, 3, 4), torch.zeros(2, 3, 4))
    """
    if heat.shape != (len(x), *x.shape[2:]):
        raise DataError(
            f"a map of shape {tuple(heat.shape)} does not lie on images of shape {tuple(x.shape)}",
            "give batch x rows x cols",
        )
    if not heat.isfinite().all():
        raise DataError("a map holds NaN or infinity", "leave this method out for this image")
