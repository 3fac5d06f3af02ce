"""Features of a network trained, on healthy images alone, to locate synthetic opacities.

Half of the images of each batch get a synthetic opacity (`hilum.anomaly.opacities`) and all of them, with the same
chance, go through the same changes of position, aspect ratio, exposure, sharpness and noise, and get the same
letters and wires. So nothing but the opacity separates the two halves, and traces of cameras and archives do not
help. The network is `Trunk` with a light decoder (Lin et al., feature pyramid networks, CVPR
2017) that gives the map, and a head that classifies the image.
"""

import copy
from collections.abc import Iterator
from typing import Any, cast

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.ahead import ahead
from hilum.anomaly.feature_net import FeatureNet
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.lungs import Lungs
from hilum.anomaly.opacities import add_distractor, add_opacity, lung_field, ood_image
from hilum.anomaly.trunk import Trunk
from hilum.data.augment import Augment
from hilum.data.augmented import augmented
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

POSITION = Augment(rotate=15, translate=0.08, scale=0.2, aspect=0.35, flip=0.5)
EXPOSURE = Augment(gamma=0.4, contrast=0.2, blur=1.5, sharpen=1.5, noise=0.05)
OOD = 0.06
"""Share of the changed images that become an OOD image."""


class PretextNet(FeatureNet):
    """`trunk`: maps at strides 4, 8, 16; `sides` and `map_head`: logits of an opacity at each place of the finest
    map; `head`: the logit that the image holds one."""

    description = "a network trained to find synthetic opacities in healthy images"

    def __init__(self, pixels: Pixels, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.settings = settings
        width, blocks = settings["width"], settings["blocks"]
        self.trunk = Trunk(width, blocks)
        self.sides = nn.ModuleList(nn.Conv2d(width * 2**stage, width, 1) for stage in range(3))
        self.map_head = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1)
        )
        self.head = nn.Linear(2 * self.trunk.width, 1)
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 4, 8 and 16."""
        return self.trunk(x)

    def logits(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, Tensor]:
        """Logits of the places "batch rows/4 cols/4" and of the image "batch".

        >>> places, image = build(Pixels(size=(64, 80)), width=8).logits(torch.zeros(2, 1, 64, 80))
        >>> tuple(places.shape), tuple(image.shape)
        ((2, 16, 20), (2,))
        """
        return self._heads(self.trunk(x))

    def read(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, Tensor, Tensor]:
        """As `logits`, and the vector of the image, "batch 3*dim": mean, largest value and standard deviation of
        each of the deepest maps.

        >>> _, _, vector = build(Pixels(size=(64, 64)), width=8).read(torch.zeros(2, 1, 64, 64))
        >>> vector.shape          # 3 x 32 deepest maps
        torch.Size([2, 96])
        """
        maps = self.trunk(x)
        deep = maps[2].flatten(2)
        vector = torch.cat([deep.mean(2), deep.amax(2), deep.std(2, correction=0)], dim=1)
        return *self._heads(maps), vector

    def _heads(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        down = self.sides[2](maps[2])
        for stage in (1, 0):
            down = functional.interpolate(down, maps[stage].shape[-2:], mode="bilinear", align_corners=False)
            down = functional.relu(down + self.sides[stage](maps[stage]))
        deep = maps[2].flatten(2)
        pooled = torch.cat([deep.mean(2), deep.amax(2)], dim=1)
        return self.map_head(down)[:, 0], self.head(pooled)[:, 0]

    def learn(self, radiographs: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains with AdamW and averaged weights; the first weights come from torch's generator."""
        settings = self.settings
        fresh = PretextNet(self.pixels, settings)
        self.load_state_dict(fresh.state_dict())
        cast(Any, self).to(memory_format=torch.channels_last)  # twice as fast in bf16
        steps = settings["steps"]
        batches = _batches(radiographs.images, steps, settings["batch_size"], seed)
        optimizer = torch.optim.AdamW(self.parameters(), lr=settings["lr"], weight_decay=0.05)
        average = copy.deepcopy(self)
        self.train()
        for step, drawn in enumerate(ahead(batches)):
            _set_rate(optimizer, settings["lr"], step, steps)
            x, strength, has_opacity = (each.to(radiographs.device) for each in self._tensors(*drawn))
            with torch.autocast(x.device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
                place_logits, image_logit = self.logits(x)
            loss = functional.binary_cross_entropy_with_logits(image_logit.float(), has_opacity)
            loss = loss + _map_loss(place_logits.float(), strength)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            _average(average, self, min(0.995, (1 + step) / (10 + step)))
            advance(step + 1, steps)
        self.load_state_dict(average.state_dict())
        cast(Any, self).to(memory_format=torch.contiguous_format)
        self.eval()

    def _tensors(self, radiographs: np.ndarray, masks: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Images "batch 1 rows cols", strengths "batch rows/4 cols/4", and 1.0 for images with an opacity."""
        x = torch.from_numpy(self.pixels.standardized(radiographs))[:, None]
        strength = torch.from_numpy(masks)[:, None]
        rows, cols = (-(-side // 4) for side in x.shape[-2:])
        strength = functional.adaptive_avg_pool2d(strength, (rows, cols))[:, 0]
        has_opacity = torch.tensor([float(count % 2) for count in range(len(radiographs))])
        return x.contiguous(memory_format=torch.channels_last), strength, has_opacity


def _batches(images: np.ndarray, steps: int, size: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each step: radiographs "batch rows cols" and strengths of the same shape, float32 in 0..1. NumPy and
    OpenCV alone, so that a second thread can draw them."""
    lungs = [Lungs(lung_field(image)) for image in images]
    chance = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(steps):
        while len(order) < size:
            order += chance.permutation(len(images)).tolist()
        chosen, order = order[:size], order[size:]
        yield _batch(images, lungs, chosen, chance)


def _batch(
    images: np.ndarray, lungs: list[Lungs], chosen: list[int], chance: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen radiographs, changed; every second one with an opacity. And the strengths."""
    radiographs, masks = [], []
    for count, index in enumerate(chosen):
        radiograph, mask = images[index], np.zeros_like(images[index])
        if count % 2:
            if chance.random() < OOD:
                radiograph, mask = ood_image(radiograph, chance)
            else:
                radiograph, mask = add_opacity(
                    radiograph, lungs[index], chance, images[chance.integers(len(images))]
                )
        radiograph, mask = varied(radiograph, mask, chance)
        radiographs.append(radiograph)
        masks.append(mask)
    return np.stack(radiographs), np.stack(masks)


def varied(image: np.ndarray, mask: np.ndarray, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The changes that both halves go through. uint8 image and mask -> float32 of the same shape in 0..1; the
    mask takes the image's new position.

    >>> grey, none = np.full((64, 64), 90, np.uint8), np.zeros((64, 64), np.float32)
    >>> image, mask = varied(grey, none, np.random.default_rng(0))
    >>> image.shape, image.dtype, mask.max()
    ((64, 64), dtype('float32'), np.float32(0.0))
    """
    if chance.random() < 0.3:
        image = add_distractor(image, chance)
    if chance.random() < 0.3:  # images that come smaller or more compressed
        image = _compressed(image, chance)
    place = int(chance.integers(2**32))
    moved = augmented(POSITION, image, np.random.default_rng(place))
    moved_mask = augmented(POSITION if mask.any() else Augment(), mask, np.random.default_rng(place))
    return augmented(EXPOSURE, np.rint(moved * 255).astype(np.uint8), chance), moved_mask


def _compressed(image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(chance.integers(30, 96))])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def _map_loss(logits: Tensor, strength: Tensor) -> Tensor:
    """Cross-entropy with the strength as a soft label; a place with a full opacity counts five-fold, because
    most places have none."""
    loss = functional.binary_cross_entropy_with_logits(logits, strength, reduction="none")
    return (loss * (1 + 4 * strength)).mean() * 2


def _set_rate(optimizer: torch.optim.Optimizer, lr: float, step: int, steps: int) -> None:
    """Linear warm-up over a twentieth of the steps, then half a cosine."""
    warm = max(1, steps // 20)
    share = (step + 1) / warm if step < warm else 0.5 * (1 + np.cos(np.pi * (step - warm) / (steps - warm)))
    for group in optimizer.param_groups:
        group["lr"] = lr * share


@torch.no_grad()
def _average(average: nn.Module, net: nn.Module, decay: float) -> None:
    for mean, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(new, 1 - decay)
        else:
            mean.copy_(new)


def build(
    pixels: Pixels,
    width: int = 32,
    blocks: int = 1,
    steps: int = 700,
    batch_size: int = 32,
    lr: float = 2e-3,
    precision: str = "bf16",
) -> PretextNet:
    """`width`, `blocks`: of the trunk; `steps` of `batch_size` images each; `lr`: of AdamW; `precision` of the
    training: 'bf16' (autocast) or 'fp32'.

    >>> [tuple(scale.shape) for scale in build(Pixels(size=(64, 64)), width=8)(torch.zeros(1, 1, 64, 64))]
    [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4)]
    """
    if steps < 1 or batch_size < 2 or width < 1 or blocks < 1:
        raise RecipeError(
            f"pretext: width {width}, blocks {blocks}, steps {steps}, batch_size {batch_size} are too small",
            "choose 1 or more, and two images per batch",
        )
    if precision not in ("bf16", "fp32"):
        raise RecipeError(f"pretext: precision {precision!r} is not known", "choose 'bf16' or 'fp32'")
    if not lr > 0:
        raise RecipeError(f"pretext: lr is {lr}", "choose more than 0")
    settings = {
        "width": width,
        "blocks": blocks,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
    }
    return PretextNet(pixels, settings).eval()
