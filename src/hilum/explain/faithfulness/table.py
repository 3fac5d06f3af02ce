"""Faithfulness of attribution maps: every figure for every method and baseline, without knowing the truth.

Each figure asks one question, and each has a weakness, so they are read together and beside maps that know
nothing of the network (`BASELINES`): a random map, an edge detector, a blob in the middle.

    deletion, insertion     does the class go when the marked pixels go?
    infidelity              do the values add up to what the answer loses?
    randomisation           does the map change when the network has forgotten everything?
    stability               does the map stay when the image hardly changes?
    agreement               do the methods agree? (they may be wrong together)

Removed pixels make images that no network was trained on, so a low deletion curve is partly the network's
surprise (Hooker et al., NeurIPS 2019). Where the truth is known, `hilum.explain.faithfulness.phantoms` asks the
better question.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import Agreement, Faithfulness, MapFigures, MethodFigures
from hilum.errors import DataError
from hilum.evaluation.means import above_zero, mean_over_patients
from hilum.explain.faithfulness.agreement import agreement
from hilum.explain.faithfulness.curves import deletion, insertion
from hilum.explain.faithfulness.explainers import BASELINES, Explainer, title_of
from hilum.explain.faithfulness.infidelity import infidelity
from hilum.explain.faithfulness.randomisation import randomisation
from hilum.explain.faithfulness.stability import stability

LIMITS = {"deletion": (0, 1), "insertion": (0, 1), "unexplained": (0, 1), "noise_change": (0, np.inf)}
LIMITS |= {"shift_change": (0, np.inf)}
SIGNED = (-1, 1)
"""Between which values the figures lie; correlations between the last two."""

POINTS = 2
"""Stages of the randomisation; the last one has every layer re-initialised."""


def faithfulness_table(
    model: nn.Module,
    images: Mapping[str, tuple[Tensor, int]],
    methods: Mapping[str, Explainer],
    steps: int = 16,
    samples: int = 32,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    patients: Mapping[str, str] | None = None,
) -> Faithfulness:
    """Every figure for every method on some images, further rows for `BASELINES`, and how far methods agree.

    `images`: by case_id an image "1 channels rows cols" and the class to explain. `methods`: see `explainers`.
    `steps`: points of a deletion or insertion curve; `samples`: changes of an infidelity. `patients`: by case_id,
    None: each image has its own. DataError without images.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    >>> table = faithfulness_table(net, {"a": (torch.rand(1, 1, 8, 8), 1)}, {}, steps=2, samples=2)
    >>> [row.name for row in table.rows]
    ['random', 'edges', 'centre']
    """
    if not images:
        raise DataError("there is no image to check explanations on", "ask for one image or more")
    tried = {**methods, **BASELINES}
    figures: dict[str, dict[str, MapFigures]] = {name: {} for name in tried}
    correlations = []
    for number, (case_id, (x, target)) in enumerate(images.items()):
        maps = {}
        for place, (name, explainer) in enumerate(tried.items()):
            maps[name] = explainer(model, x, target)
            figures[name][case_id] = map_figures(
                model, x, target, explainer, maps[name], steps, samples, seed
            )
            if progress:
                progress(number * len(tried) + place + 1, len(images) * len(tried))
        correlations.append(agreement(maps)[1])
    people = [(patients or {}).get(case_id, case_id) for case_id in images]
    unaware = {name: figures[name] for name in BASELINES}
    rows = [_row(name, own, unaware, people) for name, own in figures.items()]
    names = [row.title for row in rows]
    values = [
        [_correlation(column, people) for column in line]
        for line in np.moveaxis(np.array(correlations), 0, -1)
    ]
    return Faithfulness(images=len(images), rows=rows, agreement=Agreement(names=names, values=values))


def _correlation(values: np.ndarray, people: list[str]) -> Figure:
    """The mean correlation of two maps; that of a map with itself is 1 by definition."""
    return mean_over_patients(np.round(values, 6), people, -1, 1)


def map_figures(
    model: nn.Module,
    x: Tensor,
    target: int,
    explainer: Explainer,
    heat: Tensor,
    steps: int,
    samples: int,
    seed: int,
) -> MapFigures:
    """The figures of one map `heat`, which `explainer` made of `x`.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2))
    >>> x, centre = torch.rand(1, 1, 8, 8), BASELINES["centre"]
    >>> figures = map_figures(net, x, 1, centre, centre(net, x, 1), steps=2, samples=2, seed=0)
    >>> figures.randomised  # a map that knows nothing of the network stays as it is
    1.0
    """
    steady = stability(model, x, target, explainer, repeats=1, heat=heat, seed=seed)
    values = {
        "deletion": deletion(model, x, target, heat, steps, seed=seed).auc,
        "insertion": insertion(model, x, target, heat, steps, seed=seed).auc,
        "unexplained": infidelity(model, x, target, heat, samples=samples, seed=seed).share,
        "randomised": randomisation(model, x, target, explainer, POINTS, heat, seed).similarity[-1],
        "noise": steady.noise_likeness,
        "shift": steady.shift_likeness,
        "noise_change": steady.noise,
        "shift_change": steady.shift,
    }
    return MapFigures(**{key: float(value.mean()) for key, value in values.items()})


def _row(
    name: str,
    own: Mapping[str, MapFigures],
    unaware: Mapping[str, Mapping[str, MapFigures]],
    people: Sequence[str],
) -> MethodFigures:
    """Means over the images, and whether the areas beat those of every map that knows nothing of the network."""
    areas: dict[str, float] = {}
    if name not in unaware:
        areas = {
            f"p_{area}": max(above_zero(gains(own, other, area, sign), people) for other in unaware.values())
            for area, sign in (("deletion", -1), ("insertion", 1))
        }
    means = {
        key: mean_over_patients(
            [getattr(image, key) for image in own.values()], people, *LIMITS.get(key, SIGNED)
        )
        for key in MapFigures.model_fields
    }
    kind = "baseline" if name in unaware else "method"
    facts = {"name": name, "title": title_of(name), "kind": kind, "images": dict(own)}
    return MethodFigures.model_validate({**facts, **means, **areas})


def gains(
    own: Mapping[str, MapFigures], other: Mapping[str, MapFigures], area: str, sign: int
) -> list[float]:
    """By how much an area of each image is better than that of another map; `sign`: -1 where low is good.

    >>> values = {key: 0.5 for key in MapFigures.model_fields}
    >>> good, bad = ({"a": MapFigures(**values | {"deletion": area})} for area in (0.25, 0.5))
    >>> gains(good, bad, "deletion", -1)
    [0.25]
    """
    return [sign * (getattr(own[case], area) - getattr(other[case], area)) for case in own]
