"""Randomisation: does a map change when the network has forgotten what it learned?"""

import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.evidence import at_least
from hilum.explain.faithfulness.agreement import spearman
from hilum.explain.faithfulness.explainers import Explainer, Images, Map


class Randomised(NamedTuple):
    """`layers` "points": down to which layer the network was re-initialised; `similarity` "points batch": the
    Spearman correlation of the absolute values of the maps before and after, -1 to 1."""

    layers: tuple[str, ...]
    similarity: Tensor


def randomisation(
    model: nn.Module,
    x: Images,
    target: int,
    explainer: Explainer,
    points: int = 4,
    heat: Map | None = None,
    seed: int = 0,
) -> Randomised:
    """How much of the map stays when the layers are re-initialised, from the head down to the first one.

    Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim, "Sanity checks for saliency maps" (NeurIPS 2018),
    section 4, cascading: a map that explains what the network has learned must change, so a value near 0
    is good and a value near 1 means that the map shows the image alone, as an edge detector does. The order
    is that of `named_modules` from its end; layers are re-initialised by their own `reset_parameters`. Absolute
    values are compared, because a map that only turns its sign looks the same. `points`: how many stages,
    evenly, the last one with every layer re-initialised; `heat`: the map of the trained network, if it is known.

    ModelError when no layer of the model can be re-initialised.

    >>> from hilum.explain.faithfulness.explainers import edges
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    >>> result = randomisation(net, torch.rand(1, 1, 4, 4), 1, edges)
    >>> result.layers, result.similarity.flatten().tolist()
    (('3', '0'), [1.0, 1.0])
    """
    at_least(1, points=points)
    before = explainer(model, x, target) if heat is None else heat
    random = copy.deepcopy(model)
    layers = [
        (name, module)
        for name, module in random.named_modules()
        if hasattr(module, "reset_parameters") and any(True for _ in module.parameters(recurse=False))
    ][::-1]
    if not layers:
        raise ModelError("no layer of the model can be re-initialised", "name a network with trained layers")
    stops = sorted({round(stop) for stop in np.linspace(1, len(layers), min(points, len(layers)))})
    names, similarity, done = [], [], 0
    for stop in stops:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + stop)
            for _, module in layers[done:stop]:
                module.reset_parameters()  # pyright: ignore[reportCallIssue]
        done = stop
        names.append(layers[stop - 1][0])
        similarity.append(spearman(before.abs(), explainer(random, x, target).abs()))
    return Randomised(tuple(names), torch.stack(similarity))
