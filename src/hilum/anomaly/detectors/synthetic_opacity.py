"""Synthetic opacities: a network that was trained to find synthetic opacities in healthy images scores real images.

No disease label and no abnormal image takes part: `hilum.anomaly.opacities` makes opacities as radiology textbooks
describe them. The training
(`hilum.anomaly.features.pretext`) gives images with and without an opacity the same changes of aspect ratio,
sharpness, exposure and noise. The closest published relatives are CutPaste (Li et al., CVPR 2021), foreign
patch interpolation (Tan et al., MICCAI MOOD 2020) and DRAEM (Zavrtanik et al., ICCV 2021).

An image scores by two numbers, each in standard deviations of healthy images: how far its deep features lie from
those of healthy images (Mahalanobis, with the shrunk covariance of Ledoit & Wolf 2004), and the network's own
logit. The healthy features are taken from the images as they are, mirrored, and once with a mild change of
position, aspect ratio and exposure. Without the latter the distance responds to a change of camera as much as
to disease. The map is the network's logit at each place.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly.detector import Detector, Scored
from hilum.anomaly.features import pretext
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.patches import BATCH, to_image
from hilum.data.augment import Augment
from hilum.data.augmented import augmented
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

SMALLEST: dict[str, Any] = {"width": 8, "steps": 20, "batch_size": 8, "precision": "fp32"}

ACQUISITION = Augment(
    rotate=5,
    translate=0.03,
    scale=0.1,
    aspect=0.2,
    gamma=0.25,
    contrast=0.15,
    blur=0.7,
    sharpen=0.8,
    noise=0.02,
)
"""Differences of acquisition that may occur between two healthy images."""


class SyntheticOpacity(Detector):
    """`nets`: one network per member, each with its own seed. `center`, "members dim", and `whiten`,
    "members dim dim": mean of the healthy features and a matrix W, so that |W (f - center)| is the
    Mahalanobis distance. `usual`, "members 4": mean and sd of the distance, then of the logit, of healthy
    images."""

    center: Tensor
    whiten: Tensor
    usual: Tensor
    description = (
        "networks trained to find synthetic opacities in healthy images; distance of their features from those "
        "of healthy images, and their logit"
    )

    def __init__(self, pixels: Pixels, settings: dict[str, Any], net_settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.settings = settings
        self.nets = torch.nn.ModuleList(
            pretext.build(pixels, **net_settings) for _ in range(settings["members"])
        )
        self.register_buffer("center", torch.empty(0, 0))
        self.register_buffer("whiten", torch.empty(0, 0, 0))
        self.register_buffer("usual", torch.empty(0, 4))

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains each network with its own seed, then measures healthy images with it."""
        members = len(self.nets)
        statistics = []
        for place, net in enumerate(self.nets):
            assert isinstance(net, pretext.PretextNet)
            net.learn(
                images,
                seed + 1000 * place,
                lambda done, total, place=place: advance(place * total + done, members * total),
            )
            statistics.append(_healthy_statistics(net, images, self.settings["views"], seed))
        self.center, self.whiten, self.usual = (
            torch.stack(parts).to(images.device) for parts in zip(*statistics, strict=True)
        )

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """The score is the mean over the networks and over the image and its mirror image; the map is the mean of
        their logits, brought to the image's size."""
        share = self.settings["logit_share"]
        scores, maps = [], []
        for net, center, whiten, usual in zip(self.nets, self.center, self.whiten, self.usual, strict=True):
            assert isinstance(net, pretext.PretextNet)
            for mirrored in (False, True):
                places, logit, vector = net.read(x.flip(-1) if mirrored else x)
                distance = ((vector - center) @ whiten.T).norm(dim=1)
                scores.append(
                    (1 - share) * (distance - usual[0]) / usual[1] + share * (logit - usual[2]) / usual[3]
                )
                maps.append(places.flip(-1) if mirrored else places)
        return Scored(torch.stack(scores).mean(0), to_image(torch.stack(maps).mean(0), x.shape[-2:]))


@torch.no_grad()
def _healthy_statistics(
    net: pretext.PretextNet, radiographs: HealthyImages, views: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Center, whitening matrix, and mean and sd of distance and logit on healthy radiographs."""
    from sklearn.covariance import ledoit_wolf

    chance = np.random.default_rng(seed)
    vectors, logits = [], []
    for start in range(0, len(radiographs), BATCH):
        images = np.asarray(radiographs.source[radiographs.rows[start : start + BATCH]])
        plain = torch.from_numpy(radiographs.pixels.normalize(images))[:, None]
        variants = [plain, plain.flip(-1)]
        for _ in range(views):
            changed = np.stack([augmented(ACQUISITION, image, chance) for image in images])
            variants.append(torch.from_numpy(radiographs.pixels.standardized(changed))[:, None])
        for x in variants:
            _, logit, vector = net.read(x.to(radiographs.device))
            vectors.append(vector.cpu())
            logits.append(logit.cpu())
    vector, logit = torch.cat(vectors).double(), torch.cat(logits)
    center = vector.mean(0)
    sd = vector.std(0, correction=0)
    sd = sd.clamp(min=max(1e-3 * float(sd.max()), 1e-9))  # a feature that is always zero
    covariance, _ = ledoit_wolf(((vector - center) / sd).numpy(), assume_centered=True)
    identity = torch.eye(len(center), dtype=torch.float64)
    factor = torch.linalg.cholesky(torch.from_numpy(covariance) + 1e-6 * identity)
    whiten = torch.linalg.solve_triangular(factor, identity, upper=False) / sd
    distance = ((vector - center) @ whiten.T).norm(dim=1)
    usual = [distance.mean(), distance.std(correction=0), logit.mean(), logit.std(correction=0)]
    usual[1::2] = [value.clamp(min=1e-6) for value in usual[1::2]]
    return center.float(), whiten.float(), torch.stack([value.float() for value in usual])


def build(
    pixels: Pixels,
    width: int = 32,
    blocks: int = 1,
    steps: int = 700,
    batch_size: int = 32,
    lr: float = 2e-3,
    members: int = 1,
    views: int = 1,
    logit_share: float = 0.25,
    precision: str = "bf16",
) -> SyntheticOpacity:
    """`width`, `blocks`, `steps`, `batch_size`, `lr`, `precision`: of the networks, see features/pretext;
    `members`: how many are trained; `views`: changed copies of each healthy image that the distance is
    measured from, in addition to the image and its mirror image; `logit_share`: weight of the logit, 0..1, the
    distance has the rest.

    >>> len(build(Pixels(size=(64, 64)), width=8, members=2).nets)
    2
    >>> build(Pixels(size=(64, 64)), logit_share=2)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: synthetic_opacity: logit_share is 2; choose a share between 0 and 1
    """
    if members < 1:
        raise RecipeError(f"synthetic_opacity: members is {members}", "choose 1 or more")
    if views < 0:
        raise RecipeError(f"synthetic_opacity: views is {views}", "choose 0 or more")
    if not 0 <= logit_share <= 1:
        raise RecipeError(
            f"synthetic_opacity: logit_share is {logit_share}", "choose a share between 0 and 1"
        )
    settings = {"members": members, "views": views, "logit_share": logit_share}
    net_settings = {
        "width": width,
        "blocks": blocks,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
    }
    return SyntheticOpacity(pixels, settings, net_settings)
