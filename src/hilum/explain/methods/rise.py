"""RISE: random masks; a pixel matters when the class is more probable with it than on average.

Petsiuk, Das & Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018
(arXiv:1806.07421), eqs. 4 to 6. Masks are coarse grids of zeros and ones, enlarged linearly and shifted at
random. Their map is

    S = 1 / (E[M] N) * sum over masks of f(x * M) M,

an estimate of E[f | pixel kept]. Here the mean of f over the masks is taken off f first, so that the map is
the difference that keeping the pixel makes, around 0, with less noise and the same order of pixels.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import RecipeError
from hilum.explain.evidence import GivenImages, at_least, class_evidence, scored
from hilum.explain.fills import fill_for

TITLE = "RISE"
SOURCE = "Petsiuk et al., BMVC 2018"
SIGNED = True


@torch.no_grad()
def attribute(
    model: nn.Module,
    x: GivenImages,
    target: int,
    masks: int = 1000,
    cells: int = 7,
    keep: float = 0.5,
    fill: str = "zero",
    output: str = "probability",
    batch: int = 16,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """By how much the probability of the class grows when the pixel is kept, -1 to 1.

    `masks`: how many; the error falls with their square root. `cells`: cells of the grid per side; `keep`:
    chance that a cell is kept; `fill`: what stands elsewhere (hilum.explain.fills); `output`: what is
    averaged, "probability", "logit" or "evidence"; `batch`: masked images computed together; `seed`: every
    image gets the same masks. Errors: see `hilum.explain.attribution.explain`; RecipeError for numbers out of range.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[8.0, 0.0, 0.0, 0.0]])
    >>> attribute(net, torch.ones(1, 1, 2, 2), 0, masks=200, cells=2, fill="zero").flatten().argmax()
    tensor(0)
    """
    at_least(1, masks=masks, cells=cells, batch=batch)
    if not 0 < keep < 1:
        raise RecipeError(f"option keep = {keep!r} is not possible", "use a number between 0 and 1")
    score = class_evidence(model, x, target)
    filled = fill_for(model, score.x, fill, seed)
    size = (x.shape[2], x.shape[3])
    total = torch.zeros(len(x), *size, dtype=torch.float64, device=x.device)
    scores = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    kept = torch.zeros(size, dtype=torch.float64, device=x.device)
    for masked in draw_masks(size, masks, cells, keep, batch, seed):
        shown = masked.to(score.x)[:, None]
        kept += shown[:, 0].double().sum(0)
        for i in range(len(x)):
            evidence = scored(
                score.model(filled[i] + shown * (score.x[i] - filled[i])), target, output
            ).double()
            total[i] += torch.einsum("n,nhw->hw", evidence, shown[:, 0].double())
            scores[i] += evidence.sum()
    return ((total - scores[:, None, None] / masks * kept) / (keep * masks)).float()


def draw_masks(
    size: tuple[int, int], masks: int, cells: int, keep: float, batch: int, seed: int
) -> Iterator[Float[Tensor, "batch rows cols"]]:
    """Masks of 0 to 1 in batches. The mean of every pixel is `keep`. Same seed, same masks, whatever `batch`.

    >>> sum(len(part) for part in draw_masks((8, 12), 10, 3, 0.5, 4, seed=0))
    10
    """
    generator = torch.Generator().manual_seed(seed)
    sides = [-(-side // cells) for side in size]
    large = [(cells + 1) * side for side in sides]
    for first in range(0, masks, batch):
        made = []
        for _ in range(min(batch, masks - first)):
            grid = (torch.rand(1, 1, cells + 1, cells + 1, generator=generator) < keep).float()
            top, left = (int(torch.randint(side, (), generator=generator)) for side in sides)
            smooth = F.interpolate(grid, size=large, mode="bilinear", align_corners=False)
            made.append(smooth[0, 0, top : top + size[0], left : left + size[1]])
        yield torch.stack(made).clamp(0, 1)
