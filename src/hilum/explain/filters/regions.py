"""Where in the chest the strongest units of filters lie: in the right lung, the left lung, between them, or elsewhere.

The seed report reads from such pictures that one filter looks for the left lung and another for the spine. Here the
lung field says where each receptive field has its centre, and the same is asked of all positions of the layer's maps:
a filter that looks for nothing lies in each region as often as they do. The field of a late layer covers much of the
image, so its centre says where a filter looks, not what it sees there.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int8

from hilum.artifacts.explanations import REGIONS
from hilum.explain.filters.maximal import Maxima
from hilum.explain.network.receptive_field import Field

RIGHT, LEFT, BETWEEN, ELSEWHERE = range(len(REGIONS))


def regions_of(lungs: Bool[np.ndarray, "rows cols"]) -> Int8[np.ndarray, "rows cols"]:
    """The place in REGIONS of every pixel. Between the lungs: heart, mediastinum and spine, in the rows that hold
    both lungs. Lungs that touch are divided where they are lowest, near the middle of their box. All is elsewhere
    without lungs.

    >>> regions_of(np.array([[False] * 5, [True, True, False, True, False]])).tolist()
    [[3, 3, 3, 3, 3], [0, 0, 2, 1, 3]]
    """
    answer = np.full(lungs.shape, ELSEWHERE, np.int8)
    cols = np.flatnonzero(lungs.any(0))
    if not len(cols):
        return answer
    place = np.arange(lungs.shape[1])
    right = lungs & (place < _middle(lungs, cols))
    left = lungs & ~right
    both = right.any(1) & left.any(1)
    inner_right = np.where(right, place, -1).max(1)
    inner_left = np.where(left, place, lungs.shape[1]).min(1)
    between = both[:, None] & (place > inner_right[:, None]) & (place < inner_left[:, None])
    answer[between], answer[right], answer[left] = BETWEEN, RIGHT, LEFT
    return answer


def _middle(lungs: np.ndarray, cols: np.ndarray) -> float:
    """The column that divides the lungs: the middle of the widest gap between them. Without a gap the emptiest in the
    middle third of their box; of the image where they are too narrow to be two."""
    gaps = np.diff(cols)
    if len(gaps) and gaps.max() > 1:
        return float(cols[gaps.argmax()] + cols[gaps.argmax() + 1]) / 2
    width = cols[-1] - cols[0] + 1
    if 2 * width <= lungs.shape[1]:
        return lungs.shape[1] / 2
    start, end = cols[0] + width // 3, cols[-1] + 1 - width // 3
    counts = lungs[:, start:end].sum(0)
    return float(start + np.flatnonzero(counts == counts.min()).mean())


def region_shares(
    maxima: Maxima, field: Field, lungs: Callable[[int], Bool[np.ndarray, "rows cols"]]
) -> tuple[np.ndarray, np.ndarray]:
    """For each shown filter and image the region of its strongest unit, "filters images", -1 where there is no image;
    and for each filter the share of all positions in each region, "filters regions", mean over its images.

    `lungs`: the lung field that the model sees of an image, by its number in the stream.

    >>> import torch
    >>> from hilum.explain.filters.maximal import maximal_activations
    >>> from hilum.explain.network.receptive_field import field_of
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1, bias=False), torch.nn.ReLU())
    >>> net[0].weight.data = torch.ones(1, 1, 1, 1)
    >>> maxima = maximal_activations(net, [torch.tensor([[[[0.0, 0.0, 9.0, 1.0]]]])], images=1)
    >>> lungs = np.array([[True, False, False, True]])
    >>> region, chance = region_shares(maxima, field_of(net, maxima.layer, (1, 4)), lambda number: lungs)
    >>> [REGIONS[place] for place in region[0]], chance[0].tolist()
    (['between the lungs'], [0.25, 0.25, 0.5, 0.0])
    """
    region = np.full(maxima.image.shape, -1, np.int8)
    shares = np.zeros((len(maxima.filters), len(REGIONS)))
    known: dict[int, np.ndarray] = {}
    for row, numbers in enumerate(maxima.image):
        shown = np.flatnonzero(numbers >= 0)
        for place in shown:
            number = int(numbers[place])
            if number not in known:
                known[number] = _of_units(regions_of(lungs(number)), field)
            region[row, place] = known[number][tuple(maxima.unit[row, place])]
            counted = np.bincount(known[number].ravel(), minlength=len(REGIONS))
            shares[row] += counted / counted.sum() / len(shown)
    return region, shares


def _of_units(regions: np.ndarray, field: Field) -> np.ndarray:
    """The region at the centre of each unit's receptive field, "map rows, map cols"."""
    rows, cols = (
        np.minimum(ends.sum(1) // 2, length - 1)
        for ends, length in zip((field.rows, field.cols), regions.shape, strict=True)
    )
    return regions[np.ix_(rows, cols)]
