"""Ablation: what is lost when a filter, or a whole layer, says the same about every image.

A filter is set to one number, its mean over the images and positions ("mean ablation", as in Morcos et al.,
"On the importance of single directions for generalization", ICLR 2018, who compare it with zero), and the
network is run on from there. The mean keeps the rest of the network where it is used to work; zero is often a
value that it has never seen. What a filter costs alone says nothing about filters that can stand in for each
other: the costs of all filters do not add up to the cost of the layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.explain.evidence import evidence, probability
from hilum.explain.network.convolutions import activated
from hilum.explain.network.cut import Cut
from hilum.explain.network.layers import last_layer

FILLS = ("mean", "zero")
BATCH = 32


@dataclass(frozen=True)
class Effect:
    """What the network does on the images. `loss`: mean cross-entropy, nats. `accuracy`: share of the images
    whose class has the largest logit, 0 to 1. By true class, "classes": `hit` that share, `probability` the mean
    probability of the true class, `evidence` its mean evidence (see hilum.explain.evidence); NaN for a class
    without images. `losses`, `of_truth`: the loss, and the probability of the true class, of each image, "images".
    """

    loss: float
    accuracy: float
    hit: np.ndarray
    probability: np.ndarray
    evidence: np.ndarray
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    of_truth: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Ablation:
    """`base`: the whole network; `whole`: with all filters of the layer set; `filters[i]`: with filter
    `numbers[i]` set. `fill`: what they are set to, `values` "all filters" the numbers. `images`: how many.
    """

    layer: str
    fill: str
    numbers: tuple[int, ...]
    values: np.ndarray
    base: Effect
    whole: Effect
    filters: tuple[Effect, ...]
    images: int

    def costs(self) -> np.ndarray:
        """Rise of the loss per filter, nats, "filters": positive where the filter helps.

        >>> none = np.array([])
        >>> base, *without = (Effect(loss, 1.0, none, none, none) for loss in (0.5, 0.4, 0.9))
        >>> Ablation("conv", "mean", (0, 1), np.zeros(2), base, base, tuple(without), 8).costs().round(1).tolist()
        [-0.1, 0.4]
        """
        return np.array([effect.loss - self.base.loss for effect in self.filters])

    def changes(self, what: Literal["hit", "probability", "evidence"] = "probability") -> np.ndarray:
        """Change for the images of each class, "filters classes": negative where the filter helps it.

        >>> base, without = (Effect(0.5, 1.0, *[np.array(shares)] * 3) for shares in ([1.0, 0.8], [0.5, 0.9]))
        >>> Ablation("conv", "mean", (0,), np.zeros(1), base, base, (without,), 8).changes().round(1).tolist()
        [[-0.5, 0.1]]
        """
        return np.array([getattr(effect, what) - getattr(self.base, what) for effect in self.filters])

    def ranked(self) -> np.ndarray:
        """Positions in `numbers`, the costliest filter first; equals keep their order.

        >>> none = np.array([])
        >>> base, *without = (Effect(loss, 1.0, none, none, none) for loss in (0.5, 0.4, 0.9))
        >>> Ablation("conv", "mean", (0, 1), np.zeros(2), base, base, tuple(without), 8).ranked().tolist()
        [1, 0]
        """
        return np.argsort(-self.costs(), kind="stable")


@torch.no_grad()
def ablate(
    model: nn.Module,
    x: Float[Tensor, "images channels rows cols"],
    targets: Sequence[int] | np.ndarray,
    layer: str | None = None,
    filters: Sequence[int] | None = None,
    fill: str = "mean",
    *,
    batch: int = BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Ablation:
    """Sets each filter of a layer, and the whole layer, and measures what changes; the model is not changed.

    `x`: prepared images, all at once; `targets`: their true classes. `layer`: a name of
    `model.named_modules()`, None for the last one with maps; a convolution is taken behind its normalisation
    and activation. `filters`: numbers, None for all. `fill`: "mean" over the images and positions, or "zero".
    The images run up to the layer once; per filter only the rest of the network runs. `progress` is called
    with (images done, images in all).

    Errors: ModelError for an unknown layer (with the nearest name), filter or class; RecipeError for an
    unknown fill; DataError for targets that do not fit the images. A logit alone (one output) has no classes:
    ModelError.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net[0].weight.data = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    >>> images = torch.tensor([-1.0, 3.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    >>> ablation = ablate(net, images, [0, 1], layer="0")
    >>> ablation.values.tolist(), ablation.ranked().tolist(), ablation.changes("evidence")[1].tolist()
    ([0.0, 1.0], [1, 0], [-2.0, -2.0])
    """
    if fill not in FILLS:
        raise RecipeError(f"fill {fill!r} is not known", nearest(fill, FILLS))
    truth = _checked(x, targets)
    name = last_layer(model, x[:1]) if layer is None else activated(model, layer, x)
    cut = Cut(model, name, x)
    known = [cut.before(part) for part in x.split(batch)]
    maps = [cut.maps(part) for part in known]
    if maps[0].dim() != 4:
        raise ModelError(f"layer {name!r} gives no maps", "name a convolutional layer")
    count = maps[0].shape[1]
    numbers = tuple(range(count)) if filters is None else tuple(int(number) for number in filters)
    for number in numbers:
        if not 0 <= number < count:
            raise ModelError(f"layer {name!r} has no filter {number}", f"it has {count}: 0 to {count - 1}")
    values = torch.zeros(count, dtype=torch.float64, device=maps[0].device)
    if fill == "mean":
        values = sum((part.double().mean((2, 3)).sum(0) for part in maps), values) / len(x)
    constant = values.to(maps[0])[None, :, None, None]
    logits: list[list[Tensor]] = [[] for _ in range(len(numbers) + 2)]
    for done, part in enumerate(known, start=1):
        logits[0].append(cut.after(part))
        logits[1].append(cut.after(part, lambda layer_maps: constant.expand_as(layer_maps)))
        for place, number in enumerate(numbers):
            logits[2 + place].append(cut.after(part, _setting(number, constant)))
        if progress is not None:
            progress(min(done * batch, len(x)), len(x))
    effects = [effect(torch.cat(parts), truth) for parts in logits]
    return Ablation(
        name, fill, numbers, values.cpu().numpy(), effects[0], effects[1], tuple(effects[2:]), len(x)
    )


def _setting(number: int, constant: Tensor) -> Callable[[Tensor], Tensor]:
    """Sets one filter of the layer's maps."""

    def change(maps: Tensor) -> Tensor:
        maps = maps.clone()
        maps[:, number] = constant[:, number]
        return maps

    return change


def effect(logits: Float[Tensor, "images classes"], targets: Tensor) -> Effect:
    """Loss, accuracy and what each class gets, from logits and the true classes "images".

    ModelError for one output or a class that the model does not have.

    >>> result = effect(torch.tensor([[0.0, 2.0], [0.0, -2.0]]), torch.tensor([1, 1]))
    >>> result.accuracy, result.hit.tolist(), result.evidence.tolist()
    (0.5, [nan, 0.5], [nan, 0.0])
    """
    classes = logits.shape[1]
    if classes < 2:
        raise ModelError("a model with one output has no classes to compare", "give logits (0, z)")
    if int(targets.max()) >= classes or int(targets.min()) < 0:
        raise ModelError(f"the model has no class {int(targets.max())}", f"it has {classes}")
    logits = logits.double()
    right = (logits.argmax(1) == targets).double()
    per_class, of_truth = np.full((3, classes), np.nan), np.zeros(len(targets))
    for target in range(classes):
        mine = targets == target
        if mine.any():
            of_truth[mine.cpu().numpy()] = probability(logits[mine], target).cpu().numpy()
            per_class[:, target] = [
                float(right[mine].mean()),
                float(probability(logits[mine], target).mean()),
                float(evidence(logits[mine], target).mean()),
            ]
    losses = F.cross_entropy(logits, targets, reduction="none")
    share = float(right.mean())
    return Effect(float(losses.mean()), share, *per_class, losses=losses.cpu().numpy(), of_truth=of_truth)


def _checked(x: Tensor, targets: Sequence[int] | np.ndarray) -> Tensor:
    if x.dim() != 4 or len(x) == 0:
        raise DataError(f"images of shape {tuple(x.shape)} don't fit", "give images x channels x rows x cols")
    truth = torch.as_tensor(np.asarray(targets, np.int64), device=x.device)
    if truth.shape != (len(x),):
        raise DataError(f"{len(truth)} targets do not fit {len(x)} images", "name the class of each image")
    return truth
