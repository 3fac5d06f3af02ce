"""Features of a network trained, on healthy images alone, to recognise two views of the same image.

VICReg (Bardes, Ponce & LeCun, ICLR 2022): two views of each image, changed in position, aspect ratio,
exposure, sharpness and noise, should get the same vector (invariance), while each number of the vector varies
over the images (variance) and no two numbers are correlated (covariance). It needs no negative pairs and so no
large batch. The features keep what the changes do not affect: the chest, not the camera.
"""

from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly.feature_net import FeatureNet
from hilum.anomaly.features.pretext import varied
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.schedule import one_cycle
from hilum.anomaly.trunk import Trunk
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

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
    for view in (a, b):
        variance = variance + functional.relu(1 - (view.var(0) + 1e-4).sqrt()).mean()
        centred = view - view.mean(0)
        matrix = centred.T @ centred / (len(view) - 1)
        covariance = covariance + (matrix.square().sum() - matrix.diag().square().sum()) / view.shape[1]
    return (a - b).square().mean(), variance, covariance


class ContrastiveNet(FeatureNet):
    """`trunk`: maps at strides 4, 8, 16; the projector that the loss needs is dropped after training."""

    description = "a network trained to recognise two changed views of the same healthy image"

    def __init__(self, pixels: Pixels, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.settings = settings
        self.trunk = Trunk(settings["width"])

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 4, 8 and 16."""
        return self.trunk(x)

    def learn(self, radiographs: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains with AdamW; the first weights come from torch's generator."""
        settings = self.settings
        self.trunk = Trunk(settings["width"]).to(radiographs.device)
        wide = settings["projector"]
        projector = nn.Sequential(
            nn.Linear(self.trunk.width, wide), nn.BatchNorm1d(wide), nn.ReLU(), nn.Linear(wide, wide)
        ).to(radiographs.device)
        cast(Any, self.trunk).to(memory_format=torch.channels_last)
        weights = [*self.trunk.parameters(), *projector.parameters()]
        optimizer = torch.optim.AdamW(weights, lr=settings["lr"], weight_decay=1e-4)
        steps = settings["steps"]
        rates = one_cycle(optimizer, settings["lr"], steps)
        images = radiographs.images
        chance = np.random.default_rng(seed)
        self.trunk.train()
        order: list[int] = []
        for step in range(steps):
            while len(order) < settings["batch_size"]:
                order += chance.permutation(len(images)).tolist()
            chosen, order = order[: settings["batch_size"]], order[settings["batch_size"] :]
            views = torch.cat([self._views(images[chosen], chance) for _ in range(2)]).to(radiographs.device)
            with torch.autocast(views.device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
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
    images with two views each; `precision` of the training: 'bf16' (autocast) or 'fp32'.

    >>> [tuple(scale.shape) for scale in build(Pixels(size=(64, 64)), width=8)(torch.zeros(1, 1, 64, 64))]
    [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4)]
    """
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
    settings = {
        "width": width,
        "projector": projector,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
    }
    return ContrastiveNet(pixels, settings).eval()
