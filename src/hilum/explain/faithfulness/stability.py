"""Stability: does a map stay when the image hardly changes?"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hilum.errors import RecipeError
from hilum.explain.evidence import at_least
from hilum.explain.faithfulness.agreement import spearman
from hilum.explain.faithfulness.explainers import Explainer, Images, Map


class Stability(NamedTuple):
    """`noise`, `shift`: relative changes of the map "batch", the length of the difference by the length of
    the map. 0: the same map; 1.41: two maps of equal length that have nothing in common. Lower is better.
    `noise_likeness`, `shift_likeness`: the Spearman correlation of the same maps "batch", -1 to 1, near 1 is
    better."""

    noise: Tensor
    shift: Tensor
    noise_likeness: Tensor
    shift_likeness: Tensor


def stability(
    model: nn.Module,
    x: Images,
    target: int,
    explainer: Explainer,
    noise: float = 0.02,
    shift: int = 2,
    repeats: int = 3,
    heat: Map | None = None,
    seed: int = 0,
) -> Stability:
    """How much the map changes under little noise, and when the image moves by a few pixels.

    After Yeh et al. (NeurIPS 2019), section 4, sensitivity, with the mean instead of the maximum. `noise`:
    standard deviation as a share of the range of the image, `repeats` draws. `shift`: pixels to the right,
    left, down and up in turn, the border repeated; the map is moved back and compared inside. `heat`: the
    map of `x`, if it is known. A map that ignores the network is perfectly stable: this alone says nothing.

    RecipeError for noise or shift below 0, or a shift of half the image.

    >>> from hilum.explain.faithfulness.explainers import centre
    >>> result = stability(nn.Flatten(), torch.rand(1, 1, 16, 16), 0, centre)
    >>> result.noise.item(), result.shift.item() > 0
    (0.0, True)
    """
    at_least(0, noise=noise, shift=shift)
    at_least(1, repeats=repeats)
    rows, cols = x.shape[2:]
    if 2 * shift >= min(rows, cols):
        raise RecipeError(f"option shift = {shift} is not possible", f"use less than {min(rows, cols) // 2}")
    before = explainer(model, x, target) if heat is None else heat
    generator = torch.Generator().manual_seed(seed)
    strength = noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    pairs = []
    for _ in range(repeats):
        normal = torch.randn(x.shape[1:], generator=generator).to(x)
        pairs.append((before, explainer(model, x + strength * normal, target)))
    inside = (slice(None), slice(shift, rows - shift), slice(shift, cols - shift))
    for down, right in ((0, shift), (0, -shift), (shift, 0), (-shift, 0)):
        after = _moved(explainer(model, _moved(x, down, right), target)[:, None], -down, -right)[:, 0]
        pairs.append((before[inside], after[inside]))
    figures = []
    for compare in (_change, spearman):
        values = torch.stack([compare(old, new) for old, new in pairs])
        figures += [values[:repeats].mean(0), values[repeats:].mean(0)]
    return Stability(*figures)


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """Images "... rows cols" moved by whole pixels, the border repeated."""
    rows = (torch.arange(x.shape[-2]) - down).clamp(0, x.shape[-2] - 1).to(x.device)
    cols = (torch.arange(x.shape[-1]) - right).clamp(0, x.shape[-1] - 1).to(x.device)
    return x[..., rows, :][..., cols]


def _change(before: Tensor, after: Tensor) -> Tensor:
    """Relative change "batch"; of a map of zeros: 0 if it stays, 1 if it does not."""
    old, difference = before.flatten(1).norm(dim=1), (after - before).flatten(1).norm(dim=1)
    return torch.where(old > 0, difference / old.clamp_min(1e-30), (difference > 0).float()).float().cpu()
