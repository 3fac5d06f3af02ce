"""Where the masks of an occlusion map lie, and from a value per mask to a value per pixel."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.errors import RecipeError


@dataclass(frozen=True)
class Masks:
    """Where the masks lie: `height` x `width` pixels, top-left corners at all pairs of `tops` and `lefts`."""

    height: int
    width: int
    tops: np.ndarray
    lefts: np.ndarray


def place_masks(size: tuple[int, int], mask: int | tuple[int, int], stride: int | tuple[int, int]) -> Masks:
    """All positions at which the mask lies inside an image of `size` (rows, cols), `stride` pixels apart.

    >>> masks = place_masks((200, 224), 90, 1)
    >>> len(masks.tops), len(masks.lefts)
    (111, 135)
    """
    sides = (mask, mask) if isinstance(mask, int) else tuple(mask)
    steps = (stride, stride) if isinstance(stride, int) else tuple(stride)
    for side, length in zip(sides, size, strict=True):
        if not 1 <= side <= length:
            raise RecipeError(
                f"a mask of {sides[0]} x {sides[1]} px does not fit an image of {size[0]} x {size[1]} px",
                f"use a mask of 1 to {min(size)} px",
            )
    if min(steps) < 1:
        raise RecipeError(f"an occlusion stride of {min(steps)} px is not possible", "use 1 or more")
    tops, lefts = (np.arange(0, size[i] - sides[i] + 1, steps[i]) for i in range(2))
    return Masks(sides[0], sides[1], tops, lefts)


def spread(
    values: Float[Tensor, "rows cols"], masks: Masks, size: tuple[int, int]
) -> Float[Tensor, "image_rows image_cols"]:
    """One value per mask -> the mean, at each pixel, of the values of the masks that cover it.

    Pixels that no mask covers (behind the last position, or between masks of a stride above their size) get
    the value of the nearest covered pixel.

    >>> spread(torch.tensor([[1.0, 3.0]]), place_masks((1, 6), (1, 3), (1, 2)), (1, 6))
    tensor([[1., 1., 2., 3., 3., 3.]])
    """
    tables = []
    for what in (values.double(), torch.ones_like(values, dtype=torch.float64)):
        corners = torch.zeros(size[0] + 1, size[1] + 1, dtype=torch.float64, device=values.device)
        tops, lefts = torch.from_numpy(masks.tops)[:, None], torch.from_numpy(masks.lefts)
        for down, right, sign in (
            (0, 0, 1),
            (masks.height, 0, -1),
            (0, masks.width, -1),
            (masks.height, masks.width, 1),
        ):
            where = (tops.to(values.device) + down, lefts.to(values.device) + right)
            corners.index_put_(where, sign * what, accumulate=True)
        tables.append(corners.cumsum(0).cumsum(1)[:-1, :-1])
    total, count = tables
    rows, cols = (
        _nearest_covered(masks.tops, masks.height, size[0]),
        _nearest_covered(masks.lefts, masks.width, size[1]),
    )
    return (total / count.clamp_min(1))[rows.to(values.device)][:, cols.to(values.device)].float()


def _nearest_covered(begins: np.ndarray, length: int, size: int) -> Tensor:
    """For each of `size` positions the nearest one that lies in an interval [begin, begin + length)."""
    covered = np.unique(begins[:, None] + np.arange(length))
    return torch.from_numpy(covered[np.abs(np.arange(size)[:, None] - covered).argmin(1)])
