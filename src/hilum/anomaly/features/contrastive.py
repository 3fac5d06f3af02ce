"""Features of a network that learnt, from healthy images alone, which two views show the same image.

VICReg (Bardes, Ponce & LeCun, ICLR 2022): two views of each image, changed in position, aspect ratio,
exposure, sharpness and noise, should get the same vector (invariance), while each number of the vector varies
over the images (variance) and no two numbers say the same (covariance). It needs no negative pairs and so no
large batch. What survives is what the changes leave alone: the chest, not the camera.
"""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly import Advance, HealthyImages
from hilum.anomaly.features import FeatureNet
from hilum.anomaly.features.pretext import varied
from hilum.anomaly.features.trunk import Trunk
from hilum.anomaly.rates import one_cycle
from hilum.data.images import Pixels
from hilum.errors import RecipeError

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
"""The weights of the paper."""


def vicreg_terms(
    a: Float[Tensor, "images dim"], b: Float[Tensor, "images dim"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Invariance, variance and covariance terms (equations 1 to 5 of the paper), without their weights.

    >>> [round(float(term), 3) for term in vicreg_terms(torch.zeros(4, 2), torch.ones(4, 2))]
    [1.0, 1.98, 0.0]
    """
    variance = torch.zeros(())
    covariance = torch.zeros(())
    for one in (a, b):
        variance = variance + functional.relu(1 - (one.var(0) + 1e-4).sqrt()).mean()
        away = one - one.mean(0)
        matrix = away.T @ away / (len(one) - 1)
        covariance = covariance + (matrix.square().sum() - matrix.diag().square().sum()) / one.shape[1]
    return (a - b).square().mean(), variance, covariance


class ContrastiveNet(FeatureNet):
    """`trunk`: maps at strides 4, 8, 16; the projector that the loss needs is forgotten after training."""

    reads = "a network that learnt which two changed views show the same healthy image"

    def __init__(self, pixels: Pixels, choices: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.choices = choices
        self.trunk = Trunk(choices["width"])

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 4, 8 and 16."""
        return self.trunk(x)

    def learn(self, radiographs: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains with AdamW; the weights are drawn anew from torch's generator."""
        choices = self.choices
        self.trunk = Trunk(choices["width"])
        wide = choices["projector"]
        projector = nn.Sequential(
            nn.Linear(self.trunk.width, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Linear(wide, wide)
        )
        cast(Any, self.trunk).to(memory_format=torch.channels_last)
        weights = [*self.trunk.parameters(), *projector.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=choices["lr"], weight_decay=1e-4)
        steps = choices["steps"]
        rates = one_cycle(optimizer, choices["lr"], steps)
        images = radiographs.images
        chance = np.random.default_rng(seed)
        self.trunk.train()
        order: list[int] = []
        for step in range(steps):
            while len(order) < choices["batch_size"]:
                order += chance.permutation(len(images)).tolist()
            chosen, order = order[: choices["batch_size"]], order[choices["batch_size"] :]
            views = torch.cat([self._views(images[chosen], chance) for _ in range(2)])
            with torch.autocast("cpu", torch.bfloat16, enabled=choices["precision"] == "bf16"):
                deep = self.trunk(views)[-1].mean((2, 3))
                vectors = projector(deep)
            terms = vicreg_terms(*vectors.float().chunk(2))
            loss = INVARIANCE * terms[0] + VARIANCE * terms[1] + COVARIANCE * terms[2]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimizer.step()
            rates.step()
            advance(step + 1, steps)
        cast(Any, self.trunk).to(memory_format=torch.contiguous_format)
        self.eval()

    def _views(self, images: np.ndarray, chance: np.random.Generator) -> Tensor:
        changed = np.stack([varied(image, np.zeros_like(image), chance)[0] for image in images])
        x = torch.from_numpy(self.pixels.standardized(changed))[:, None]
        return x.contiguous(memory_format=torch.channels_last)


def build(
    pixels: Pixels,
    width: int = 32,
    projector: int = 256,
    steps: int = 500,
    batch_size: int = 48,
    lr: float = 2e-3,
    precision: str = "bf16",
) -> ContrastiveNet:
    """`width`: of the trunk; `projector`: numbers per image that the loss compares; `steps` of `batch_size`
    images with two views each; `precision` of the training: 'bf16' (autocast) or 'fp32'."""
    if steps < 1 or batch_size < 2 or width < 1 or projector < 2:
        raise RecipeError(
            f"contrastive: width {width}, projector {projector}, steps {steps}, batch_size {batch_size} are "
            "too small",
            "choose 1 or more, and two images per batch",
        )
    if precision not in ("bf16", "fp32"):
        raise RecipeError(f"contrastive: precision {precision!r} is not known", "choose 'bf16' or 'fp32'")
    if not lr > 0:
        raise RecipeError(f"contrastive: lr is {lr}", "choose more than 0")
    choices = {
        "width": width,
        "projector": projector,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
    }
    return ContrastiveNet(pixels, choices).eval()
