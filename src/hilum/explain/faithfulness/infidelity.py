"""Infidelity: do the values of a map add up to what the answer loses?"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hilum.errors import RecipeError
from hilum.explain.evidence import at_least, class_evidence, scored
from hilum.explain.faithfulness.curves import check_map
from hilum.explain.faithfulness.explainers import GivenMap, Images
from hilum.explain.fills import fill_for


class Infidelity(NamedTuple):
    """`raw` "batch": the mean squared error as published, 0 or more, in squared units of the answer.
    `share` "batch": the same after the map is multiplied with its best factor, relative to the mean square
    of the changes, 0 to 1; 0: the map predicts every change, 1: it predicts none. Lower is better."""

    raw: Tensor
    share: Tensor


@torch.no_grad()
def infidelity(
    model: nn.Module,
    x: Images,
    target: int,
    heat: GivenMap,
    perturb: str = "squares",
    samples: int = 64,
    size: float = 0.15,
    fill: str = "mean",
    output: str = "evidence",
    batch: int = 32,
    seed: int = 0,
) -> Infidelity:
    """How far the map is from predicting what a random change does to the answer.

    Yeh, Hsieh, Suggala, Inouye & Ravikumar (NeurIPS 2019), definition 2.1:

        E over I of (sum of I * map - (f(x) - f(x - I)))^2

    `perturb`: "squares" replaces one square of a side of `size` of the shorter side by `fill`, and I counts
    its pixels, so a pixel's value must be its contribution (their square removal); "noise" takes normal noise
    of standard deviation `size` times the range of the image off, and a pixel's value must be a change per
    unit, a gradient. Maps are in different units, so `share` is what compares methods. `output`: the units
    of the answer. `samples` changes, the same for every map; `seed`.

    RecipeError for another word for `perturb` or numbers out of range; DataError as for `deletion`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> x = torch.rand(1, 1, 2, 2)
    >>> heat = net[1].weight.detach().view(1, 2, 2)
    >>> bool(infidelity(net, x, 0, heat, "noise").raw < 1e-9)
    True
    """
    if perturb not in ("squares", "noise"):
        raise RecipeError(f"option perturb = {perturb!r} is not possible", "use squares or noise")
    at_least(1, samples=samples, batch=batch)
    if not 0 < size <= 1:
        raise RecipeError(f"option size = {size!r} is not possible", "use a share above 0, at most 1")
    score = class_evidence(model, x, target)
    check_map(score.x, heat)
    filled = fill_for(model, score.x, fill, seed)
    raw, share = [], []
    for i in range(len(x)):
        generator = torch.Generator().manual_seed(seed)
        image = score.x[i]
        whole = scored(score.model(image[None]), target, output).double()
        predictions, changes = [], []
        for first in range(0, samples, batch):
            count = min(batch, samples - first)
            if perturb == "noise":
                noise = torch.randn(count, 1, *image.shape[1:], generator=generator)
                change = noise.to(image) * (size * (image.max() - image.min()))
                changed = image - change
            else:
                change = _squares(count, (image.shape[1], image.shape[2]), size, generator).to(image)
                changed = torch.where(change > 0, filled[i], image)
            predictions.append((change[:, 0].double() * heat[i].double()).sum((1, 2)))
            changes.append(whole - scored(score.model(changed), target, output).double())
        predicted, true = torch.cat(predictions), torch.cat(changes)
        raw.append((predicted - true).square().mean())
        share.append(_unexplained(predicted, true))
    return Infidelity(torch.stack(raw).float().cpu(), torch.stack(share).float().cpu())


def _squares(count: int, size: tuple[int, int], share: float, generator: torch.Generator) -> Tensor:
    """Masks "count 1 rows cols" of one square each, 1 inside; every position alike likely."""
    side = max(1, round(share * min(size)))
    masks = torch.zeros(count, 1, *size)
    for mask in masks:
        top, left = (int(torch.randint(edge - side + 1, (), generator=generator)) for edge in size)
        mask[:, top : top + side, left : left + side] = 1
    return masks


def _unexplained(predicted: Tensor, true: Tensor) -> Tensor:
    """The share of the mean square of `true` that no multiple of `predicted` explains. A negative factor would
    reward a map of opposite sign, so it counts as 0. Nothing to explain: 0."""
    total, own = true.square().sum(), predicted.square().sum()
    if total <= 1e-18:
        return torch.zeros_like(total)
    if own <= 1e-30:
        return torch.ones_like(total)
    common = (predicted * true).sum().clamp_min(0)
    return (1 - common.square() / (own * total)).clamp(0, 1)
