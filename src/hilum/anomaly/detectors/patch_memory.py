"""A memory of healthy patches: a patch scores by the distance to its nearest neighbour in the memory (PatchCore).

Roth et al., "Towards total recall in industrial anomaly detection", CVPR 2022 (arXiv:2106.08265). What
differs: features are standardised per channel (ours come from networks whose scales differ), the candidates
for the memory are a seeded sample of bounded size, and an image's score may be the mean of its highest-scoring
patches.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly import feature_net as networks
from hilum.anomaly.coreset import k_center
from hilum.anomaly.detector import Detector, Scored
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.patches import mean_and_sd, patch_settings, sampled, summary, to_image
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

SMALLEST: dict[str, Any] = {"features": "pixels", "feature_options": {"side": 8}, "memory": 20}

SEARCHED = 128
"""Patches searched for at once: their distances to some thousand others stay in the processor's cache."""


class PatchMemory(Detector):
    """`memory`: float32 "patches dim", standardised features of healthy patches."""

    memory: Tensor
    mean: Tensor
    sd: Tensor

    def __init__(self, pixels: Pixels, network: networks.FeatureNet, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.network = network
        self.pretrained = network.pretrained
        self.settings = settings
        self.description = (
            f"distance of each patch to the nearest of {settings['memory']:,} healthy patches in memory; "
            f"features: {network.description}"
        )
        for name, shape in (("memory", (0, 0)), ("mean", (0,)), ("sd", (0,))):
            self.register_buffer(name, torch.empty(shape))
        self._bank = np.empty((0, 0), np.float32)
        self._bank_of: Tensor | None = None

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains the features, samples patches, and keeps the k-centre coreset of them."""
        self.network.learn(images, seed, advance)
        patches, _ = sampled(self._features, images, self.settings["candidates"], seed, advance)
        self.mean, self.sd = mean_and_sd(patches)
        patches -= self.mean
        patches /= self.sd
        count = min(self.settings["memory"], len(patches))
        self.memory = patches[torch.from_numpy(k_center(patches, count, seed))].clone()

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """Distances to the nearest healthy patch at each place, brought to the image's size; the score is the mean of
        the largest. Distances are found image by image, so the memory used does not grow with the batch."""
        maps = self._features(x)
        scores, maps_of_images = [], []
        for patches in self._standardised(maps):
            distance, row = self.nearest(patches)
            scores.append(self._image_score(patches, distance, row))
            maps_of_images.append(distance.reshape(maps.shape[-2:]))
        return Scored(torch.stack(scores), to_image(torch.stack(maps_of_images), x.shape[-2:]))

    def patches_of(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch places dim"]:
        """The standardised features of every patch, row by row; the memory holds patches of healthy images.

        >>> detector = build(Pixels(size=(16, 16)), "pixels", {"side": 4})
        >>> detector.mean, detector.sd = torch.zeros(16), torch.ones(16)
        >>> detector.patches_of(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 16, 16])
        """
        return self._standardised(self._features(x))

    def nearest(self, patches: Float[Tensor, "places dim"]) -> tuple[Tensor, Tensor]:
        """Distance to and row of the nearest patch in memory. The row comes from a matrix product, the distance
        from the difference, so a patch that is in memory has the distance 0.

        >>> detector = build(Pixels(size=(16, 16)), "pixels")
        >>> detector.memory = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> detector.nearest(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
        (tensor([1., 0.]), tensor([0, 1]))
        """
        if patches.is_cpu:
            row = torch.from_numpy(self._search(patches.numpy()))
        else:
            row = (self.memory.square().sum(1) - 2 * patches @ self.memory.T).argmin(1)
        return (patches - self.memory[row]).square().sum(1).sqrt(), row

    def _search(self, patches: np.ndarray) -> np.ndarray:
        """Row of the smallest |m|^2 - 2 p.m, some patches at a time. NumPy's argmin is faster than torch's.
        The squared lengths are part of the product: the patches get a 1 at their end."""
        if self._bank_of is not self.memory:
            memory = self.memory.numpy()
            self._bank = np.vstack([-2 * memory.T, np.einsum("ij,ij->i", memory, memory)])
            self._bank_of = self.memory
        with_1 = np.concatenate([patches, np.ones((len(patches), 1), np.float32)], axis=1)
        row = np.empty(len(patches), np.int64)
        space = np.empty((SEARCHED, self._bank.shape[1]), np.float32)
        for start in range(0, len(patches), SEARCHED):
            some = with_1[start : start + SEARCHED]
            row[start : start + SEARCHED] = np.matmul(some, self._bank, out=space[: len(some)]).argmin(axis=1)
        return row

    def _standardised(self, maps: Tensor) -> Float[Tensor, "batch places dim"]:
        return (maps.flatten(2).mT - self.mean) / self.sd

    def _features(self, x: Tensor) -> Float[Tensor, "batch dim rows cols"]:
        maps = networks.chosen_scales(self.network(x), self.settings["layers"])
        return networks.patch_features(maps, self.settings["neighbourhood"])

    def _image_score(self, patches: Tensor, distance: Tensor, nearest: Tensor) -> Tensor:
        """The mean of the highest-scoring patches; with `reweight`, PatchCore's eq. 7 on the highest one."""
        count = self.settings["reweight"]
        if not count:
            return summary(distance[None], self.settings["top"])[0]
        highest = distance.argmax()
        neighbour = self.memory[nearest[highest]]
        to_neighbour = (self.memory - neighbour).square().sum(1)
        around = to_neighbour.topk(min(count, len(self.memory)), largest=False).indices
        others = (patches[highest] - self.memory[around]).square().sum(1).sqrt()
        # 1 - exp(d) / sum of exp(d_i), written so that large distances do not overflow.
        share = torch.exp(distance[highest] - torch.logsumexp(others, 0)).clamp(max=1.0)
        return (1 - share) * distance[highest]


def build(
    pixels: Pixels,
    features: str = "random",
    feature_options: dict[str, Any] | None = None,
    layers: Sequence[int] | None = None,
    neighbourhood: int = 3,
    memory: int = 4000,
    candidates: int = 300_000,
    top: float = 0.05,
    reweight: int = 0,
) -> PatchMemory:
    """`features`, `feature_options`: the network (see the folder features/); `layers`: its scales to use,
    0 = finest, None = all; `neighbourhood`: places averaged around each; `memory`: patches kept;
    `candidates`: patches that they are chosen from, a seeded sample; `top`: share of an image's patches, those
    with the largest distances, whose mean is its score (0 = the largest alone); `reweight`: neighbours in the
    memory for PatchCore's reweighted score of the highest patch, 0 = off.

    >>> build(Pixels(size=(64, 64)), features="pixels", memory=500).description
    'distance of each patch to the nearest of 500 healthy patches in memory; features: raw pixels'
    >>> build(Pixels(size=(64, 64)), memory=500, candidates=100)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: patch_memory: candidates is 100; choose 500 or more
    """
    for name, value, low in (
        ("memory", memory, 1),
        ("candidates", candidates, memory),
        ("reweight", reweight, 0),
    ):
        if value < low:
            raise RecipeError(f"patch_memory: {name} is {value}", f"choose {low} or more")
    settings = {
        **patch_settings("patch_memory", layers, neighbourhood, top),
        "memory": memory,
        "candidates": candidates,
        "reweight": reweight,
    }
    return PatchMemory(pixels, networks.build(features, pixels, feature_options), settings)
