"""Is a finished occlusion map what the network itself says? A few positions, one masked image at a time.

A network that branches on its values (on the mean of the image, say) is followed along one branch. The masked images
whose mean or contrast is lowest and highest are the likeliest to take another, and so are those with the lowest and
highest value of the map.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from hilum.explain.network.rounding import SHORT
from hilum.explain.occlusion.engines import Network

NEAR, NEAR_SHORT = 1e-3, 0.05
"""Largest difference of a value, relative to the largest one or to 1, in full and in short arithmetic."""


def spot_check(
    network: Network,
    values: Float[Tensor, "rows cols"],
    fresh: Bool[Tensor, "rows cols"],
    score: Callable[[Tensor], Tensor],
) -> float:
    """The largest difference between the map and the network at a few positions that were computed (`fresh`), 0.0 where
    it is rounding. `score`: one number "batch" per row of logits.

    >>> from torch import nn
    >>> from hilum.explain.occlusion.masks import place_masks
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> x, values = torch.zeros(1, 1, 8, 8), torch.zeros(5, 5)
    >>> network = Network(net.eval().requires_grad_(False), x, x, place_masks((8, 8), 4, 1), x.dtype)
    >>> spot_check(network, values, values == 0, lambda logits: logits[:, 0])
    0.0
    """
    near = NEAR_SHORT if network.dtype in SHORT else NEAR
    apart = 0.0
    for row, col in _positions(network, values):
        if fresh[row, col]:
            alone = float(score(network.model(network.masked(row, col)))[0])
            apart = max(apart, abs(alone - float(values[row, col])))
    return apart if apart > near * max(1.0, float(values.abs().max())) else 0.0


def _positions(network: Network, values: Tensor) -> list[tuple[int, int]]:
    """Where mean, contrast and value are lowest and highest; (row, col)."""
    ends = {*_ends(values)}
    for power in (1, 2):
        ends |= {*_ends(_sums(network, power))}
    return sorted(ends)


def _ends(numbers: Tensor) -> list[tuple[int, int]]:
    cols = numbers.shape[1]
    return [divmod(int(place), cols) for place in (numbers.argmin(), numbers.argmax())]


def _sums(network: Network, power: int) -> Float[Tensor, "rows cols"]:
    """The sum of the pixels, to a power, of each masked image, but for a constant."""
    masks = network.masks
    change = (network.filled**power - network.x**power).double().sum((0, 1))
    table = torch.nn.functional.pad(change.cumsum(0).cumsum(1), (1, 0, 1, 0))
    top, left = torch.as_tensor(masks.tops), torch.as_tensor(masks.lefts)
    bottom, right = top + masks.height, left + masks.width
    table = table.cpu()
    return table[bottom][:, right] - table[top][:, right] - table[bottom][:, left] + table[top][:, left]
