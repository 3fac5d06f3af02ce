"""A Gaussian of healthy features at every position; a patch scores by its Mahalanobis distance (PaDiM).

Defard et al., "PaDiM: a patch distribution modeling framework", ICPR 2020 workshops (arXiv:2011.08785). As
there, a random subset of channels is kept and 0.01 is added to the covariance's diagonal. Here the channels
are standardised first, so that 0.01 means the same for every network.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly import feature_net as networks
from hilum.anomaly.detector import Detector, Scored, no_progress
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.patches import BATCH, mean_and_sd, patch_settings, sampled, summary, to_image
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

SMALLEST: dict[str, Any] = {"features": "pixels", "feature_options": {"side": 8}, "channels": 4}

SCALE_FROM = 100_000
"""Patches that the mean and standard deviation of a channel are taken from."""


class PatchGaussian(Detector):
    """`center`: "places channels"; `whiten`: "places channels channels", the inverse of the covariance's
    Cholesky factor, so that the length of whiten @ (x - center) is the Mahalanobis distance."""

    channels: Tensor
    mean: Tensor
    sd: Tensor
    center: Tensor
    whiten: Tensor

    def __init__(self, pixels: Pixels, network: networks.FeatureNet, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.network = network
        self.pretrained = network.pretrained
        self.settings = settings
        self.description = (
            "Mahalanobis distance of each patch from healthy patches at its position; features:"
            f" {network.description}"
        )
        self.register_buffer("channels", torch.empty(0, dtype=torch.int64))
        for name, axes in (("mean", 1), ("sd", 1), ("center", 2), ("whiten", 3)):
            self.register_buffer(name, torch.empty((0,) * axes))

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains the features, draws channels, and sums up first and second moments in one pass."""
        self.network.learn(images, seed, advance)
        chance = np.random.default_rng(seed)
        sample = images.part(np.sort(chance.permutation(len(images))[:256]))
        patches, _ = sampled(self._features, sample, SCALE_FROM, seed, no_progress)
        dim = patches.shape[1]
        chosen = np.sort(chance.permutation(dim)[: self.settings["channels"]])
        self.channels = torch.from_numpy(chosen).to(images.device)
        self.mean, self.sd = (values[self.channels] for values in mean_and_sd(patches))
        center, covariance = self._moments(images, advance)
        identity = torch.eye(len(chosen), dtype=torch.float64, device=images.device)
        self.center = center.float()
        self.whiten = torch.empty(covariance.shape, device=images.device)
        for place, matrix in enumerate(covariance):  # one at a time: no second copy of all in float64
            factor = torch.linalg.cholesky(matrix + self.settings["regularisation"] * identity)
            self.whiten[place] = torch.linalg.solve_triangular(factor, identity, upper=False).float()

    @torch.no_grad()
    def _moments(self, images: HealthyImages, advance: Advance) -> tuple[Tensor, Tensor]:
        """Mean "places channels" and covariance "places channels channels" at every place, float64."""
        total = squares = torch.zeros(())
        seen = 0
        for x in images.batches(BATCH):
            vectors = self._placed(self._features(x)).double()
            total = total + vectors.sum(1)
            products = vectors.mT @ vectors
            squares = products if not seen else squares.add_(products)
            seen += len(x)
            advance(seen, len(images))
        center = total / seen
        for place, mean in enumerate(center):
            squares[place].addr_(mean, mean, alpha=-seen)
        return center, squares.div_(seen - 1)

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """Distances at each place, in standard deviations, brought to the image's size; the score is the mean of the
        largest."""
        maps = self._features(x)
        difference = self._placed(maps) - self.center[:, None]
        distance = (difference @ self.whiten.mT).square().sum(2).sqrt().T
        maps_of_images = distance.reshape(len(x), *maps.shape[-2:])
        return Scored(summary(distance, self.settings["top"]), to_image(maps_of_images, x.shape[-2:]))

    def _features(self, x: Tensor) -> Float[Tensor, "batch dim rows cols"]:
        maps = networks.chosen_scales(self.network(x), self.settings["layers"])
        return networks.patch_features(maps, self.settings["neighbourhood"])

    def _placed(self, maps: Tensor) -> Float[Tensor, "places batch channels"]:
        chosen = maps[:, self.channels].flatten(2).permute(2, 0, 1)
        return (chosen - self.mean) / self.sd


def build(
    pixels: Pixels,
    features: str = "random",
    feature_options: dict[str, Any] | None = None,
    layers: Sequence[int] | None = None,
    neighbourhood: int = 3,
    channels: int = 64,
    regularisation: float = 0.01,
    top: float = 0.05,
) -> PatchGaussian:
    """`features`, `feature_options`, `layers`, `neighbourhood`, `top`: as in patch_memory; `channels`: how
    many are drawn (all if the features have fewer); `regularisation`: added to the diagonal of the covariance
    of standardised channels. Memory: 20 bytes x places x channels^2 while it is fitted, 4 afterwards.

    >>> build(Pixels(size=(64, 64)), features="pixels").description
    'Mahalanobis distance of each patch from healthy patches at its position; features: raw pixels'
    >>> build(Pixels(size=(64, 64)), channels=0)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: patch_gaussian: channels is 0; choose 1 or more
    """
    if channels < 1:
        raise RecipeError(f"patch_gaussian: channels is {channels}", "choose 1 or more")
    if not regularisation > 0:
        raise RecipeError(f"patch_gaussian: regularisation is {regularisation}", "choose more than 0")
    settings = {
        **patch_settings("patch_gaussian", layers, neighbourhood, top),
        "channels": channels,
        "regularisation": regularisation,
    }
    return PatchGaussian(pixels, networks.build(features, pixels, feature_options), settings)
