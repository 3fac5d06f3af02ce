"""An untrained residual network: the baseline for patch features."""

import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly.feature_net import FeatureNet
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.trunk import Trunk, set_norms
from hilum.data.images import Pixels
from hilum.progress import Advance


class RandomNet(FeatureNet):
    """`Trunk` with weights drawn from the seed of `fit`. Only the batch norms' means and variances are set,
    from healthy images."""

    description = "an untrained network with random weights"

    def __init__(self, pixels: Pixels, width: int) -> None:
        super().__init__(pixels)
        self.width = width
        self.trunk = Trunk(width)

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Draws the weights anew, so that they depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.trunk = Trunk(self.width).to(images.device)
        set_norms(self.trunk, images, seed)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps at strides 4, 8 and 16."""
        return self.trunk(x)


def build(pixels: Pixels, width: int = 32) -> RandomNet:
    """`width`: channels of the finest map; the next two have twice and four times as many.

    >>> [tuple(scale.shape) for scale in build(Pixels(size=(64, 64)), width=8)(torch.zeros(1, 1, 64, 64))]
    [(1, 8, 16, 16), (1, 16, 8, 8), (1, 32, 4, 4)]
    """
    return RandomNet(pixels, width).eval()
