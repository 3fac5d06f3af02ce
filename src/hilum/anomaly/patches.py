"""What the patch detectors share: sampling patches in bounded memory, scaling, scores and maps of images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hilum.anomaly import Advance, HealthyImages
from hilum.errors import RecipeError

BATCH = 16


@torch.no_grad()
def sampled(
    network: Callable[[Tensor], Tensor], images: HealthyImages, limit: int, seed: int, advance: Advance
) -> tuple[Float[Tensor, "patches dim"], np.ndarray]:
    """Features of at most `limit` patches, equally many of each image, at places drawn by the seed.

    `network`: images -> "batch dim rows cols". Returns the features and the image of each, int64 "patches".
    When there are more images than `limit`, a sample of the images gives one patch each. Images are read and
    forgotten batch by batch: only the drawn patches stay in memory.
    """
    chance = np.random.default_rng(seed)
    order = np.arange(len(images))
    if len(images) > limit:
        order = np.sort(chance.choice(len(images), limit, replace=False))
    found: Tensor | None = None
    owners: list[np.ndarray] = []
    filled = 0
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        maps = network(images.tensor(index)).flatten(2)
        places = maps.shape[2]
        each = min(places, limit // len(order))
        if found is None:
            found = torch.empty(each * len(order), maps.shape[1])
        for image, one in zip(index, maps, strict=True):
            drawn = (
                np.sort(chance.choice(places, each, replace=False)) if each < places else np.arange(places)
            )
            found[filled : filled + each] = one[:, torch.from_numpy(drawn)].T
            owners.append(np.full(each, image))
            filled += each
        advance(min(start + BATCH, len(order)), len(order))
    assert found is not None
    return found, np.concatenate(owners)


def standardised(patches: Float[Tensor, "patches dim"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel; a channel that hardly varies keeps a floor of 1e-4 of the
    largest, so that it can't be blown up."""
    mean, sd = patches.mean(0), patches.std(0, correction=0)
    return mean, sd.clamp(min=max(1e-4 * float(sd.max()), 1e-12))


def summary(values: Float[Tensor, "batch patches"], top: float) -> Float[Tensor, " batch"]:
    """The score of an image: the mean of its strangest patches, `top` as a share (0 = the strangest alone).

    >>> summary(torch.tensor([[4.0, 1.0, 2.0, 3.0]]), 0.5)
    tensor([3.5000])
    """
    count = max(1, round(top * values.shape[1]))
    return values.topk(count, dim=1).values.mean(1)


def to_image(
    maps: Float[Tensor, "batch rows cols"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch image_rows image_cols"]:
    """Maps in image coordinates: bilinear between the centres of the patches. Values stay raw."""
    return functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def patch_choices(who: str, layers: Sequence[int] | None, neighbourhood: int, top: float) -> dict[str, Any]:
    """The options that every patch detector has, checked; RecipeError for a value out of range."""
    if neighbourhood < 1 or neighbourhood % 2 == 0:
        raise RecipeError(f"{who}: neighbourhood is {neighbourhood}", "choose an odd number, 1 or more")
    if not 0 <= top <= 1:
        raise RecipeError(f"{who}: top is {top}", "choose a share between 0 and 1")
    if layers is not None and not len(layers):
        raise RecipeError(f"{who}: layers is empty", "name one scale or more, or leave it out for all")
    return {"layers": layers, "neighbourhood": neighbourhood, "top": top}
