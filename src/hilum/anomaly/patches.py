"""Helpers of the patch detectors: sampling patches in bounded memory, scaling, scores and maps of images."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hilum.anomaly.healthy import HealthyImages
from hilum.errors import RecipeError
from hilum.progress import Advance

BATCH = 16


@torch.no_grad()
def sampled(
    network: Callable[[Tensor], Tensor], images: HealthyImages, limit: int, seed: int, advance: Advance
) -> tuple[Float[Tensor, "patches dim"], np.ndarray]:
    """Features of at most `limit` patches, equally many of each image, at positions drawn by the seed.

    `network`: images -> "batch dim rows cols". Returns the features and the image of each, int64 "patches".
    When there are more images than `limit`, a sample of the images gives one patch each. Images are read and
    dropped batch by batch: only the sampled patches stay in memory.

    >>> from hilum.data.images import Pixels
    >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
    >>> features, owners = sampled(lambda x: x, images, 6, seed=0, advance=lambda done, total: None)
    >>> tuple(features.shape), owners.tolist()
    ((6, 1), [0, 0, 1, 1, 2, 2])
    """
    chance = np.random.default_rng(seed)
    order = np.arange(len(images))
    if len(images) > limit:
        order = np.sort(chance.choice(len(images), limit, replace=False))
    features: Tensor | None = None
    owners: list[np.ndarray] = []
    filled = 0
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        maps = network(images.tensor(index)).flatten(2)
        places = maps.shape[2]
        each = min(places, limit // len(order))
        if features is None:
            features = torch.empty(each * len(order), maps.shape[1], device=maps.device)
        for image, vectors in zip(index, maps, strict=True):
            chosen = (
                np.sort(chance.choice(places, each, replace=False)) if each < places else np.arange(places)
            )
            features[filled : filled + each] = vectors[:, torch.from_numpy(chosen)].T
            owners.append(np.full(each, image))
            filled += each
        advance(min(start + BATCH, len(order)), len(order))
    assert features is not None
    return features, np.concatenate(owners)


def mean_and_sd(patches: Float[Tensor, "patches dim"]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, "dim" each; a standard deviation is at least 1e-4 of the
    largest, so that a channel that hardly varies is not amplified.

    >>> mean, sd = mean_and_sd(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
    >>> mean.tolist(), sd.round(decimals=4).tolist()
    ([1.0, 5.0], [1.0, 0.0001])
    """
    mean, sd = patches.mean(0), patches.std(0, correction=0)
    return mean, sd.clamp(min=max(1e-4 * float(sd.max()), 1e-12))


def summary(values: Float[Tensor, "batch patches"], top: float) -> Float[Tensor, " batch"]:
    """The score of an image: the mean of its largest values, `top` as a share (0 = the largest alone).

    >>> summary(torch.tensor([[4.0, 1.0, 2.0, 3.0]]), 0.5)
    tensor([3.5000])
    """
    count = max(1, round(top * values.shape[1]))
    return values.topk(count, dim=1).values.mean(1)


def to_image(
    maps: Float[Tensor, "batch rows cols"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch image_rows image_cols"]:
    """Maps in image coordinates: bilinear between the centres of the patches. Values stay raw.

    >>> to_image(torch.zeros(1, 4, 4), (16, 20)).shape
    torch.Size([1, 16, 20])
    """
    return functional.interpolate(maps[:, None], size=tuple(size), mode="bilinear", align_corners=False)[:, 0]


def patch_settings(who: str, layers: Sequence[int] | None, neighbourhood: int, top: float) -> dict[str, Any]:
    """The options that every patch detector has, checked; RecipeError for a value out of range.

    >>> patch_settings("patch_memory", None, 3, 0.05)
    {'layers': None, 'neighbourhood': 3, 'top': 0.05}
    >>> patch_settings("patch_memory", None, 4, 0.05)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: patch_memory: neighbourhood is 4; choose an odd number, 1 or more
    """
    if neighbourhood < 1 or neighbourhood % 2 == 0:
        raise RecipeError(f"{who}: neighbourhood is {neighbourhood}", "choose an odd number, 1 or more")
    if not 0 <= top <= 1:
        raise RecipeError(f"{who}: top is {top}", "choose a share between 0 and 1")
    if layers is not None and not len(layers):
        raise RecipeError(f"{who}: layers is empty", "name one scale or more, or leave it out for all")
    return {"layers": layers, "neighbourhood": neighbourhood, "top": top}
