"""Rank correlation of maps, and the agreement of methods."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from hilum.explain.faithfulness.explainers import Map


def spearman(
    first: Float[Tensor, "batch rows cols"], second: Float[Tensor, "batch rows cols"]
) -> Float[Tensor, " batch"]:
    """Spearman's rank correlation of two maps, -1 to 1, equal values sharing their mean rank; 0 when one of
    them is constant, because it orders nothing.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> spearman(a, torch.tensor([[[10.0, 30.0, 20.0]]])), spearman(a, -a), spearman(a, 0 * a)
    (tensor([0.5000]), tensor([-1.]), tensor([0.]))
    """
    correlations = []
    for pair in zip(first, second, strict=True):
        ranks = [rankdata(values.detach().cpu().numpy().ravel()) for values in pair]
        centred = [values - values.mean() for values in ranks]
        length = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
        correlations.append(float(centred[0] @ centred[1] / length) if length else 0.0)
    return torch.tensor(correlations, dtype=torch.float32)


def agreement(maps: Mapping[str, Map]) -> tuple[list[str], Float[np.ndarray, "maps maps"]]:
    """The names and the Spearman correlation of each pair of maps, mean over the images, -1 to 1.

    Methods that agree may be wrong together; of methods that disagree, not all can be right.

    >>> a = torch.tensor([[[1.0, 2.0, 3.0]]])
    >>> agreement({"one": a, "two": -a})[1].tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    names = list(maps)
    table = np.eye(len(names))
    for i, name in enumerate(names):
        for j in range(i):
            table[i, j] = table[j, i] = float(spearman(maps[name], maps[names[j]]).double().mean())
    return names, table
