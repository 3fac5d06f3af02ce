"""The small residual network that the feature networks share: maps at strides 4, 8 and 16."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.anomaly.healthy import HealthyImages
from hilum.models.resnet import BasicBlock, he_initialise


class Trunk(nn.Module):
    """3x3/2 convolution, 2x2 max pooling, three stages of residual blocks: widths w, 2w, 4w at strides 4, 8
    and 16. Images of 64 px and more.

    >>> [tuple(scale.shape) for scale in Trunk(width=8).eval()(torch.zeros(1, 1, 64, 80))]
    [(1, 8, 16, 20), (1, 16, 8, 10), (1, 32, 4, 5)]
    """

    def __init__(self, width: int = 32, blocks: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        stages = []
        inside = width
        for stage in range(3):
            outside = width * 2**stage
            first = BasicBlock(inside, outside, 1 if stage == 0 else 2, nn.ReLU)
            more = [BasicBlock(outside, outside, 1, nn.ReLU) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(first, *more))
            inside = outside
        self.stages = nn.ModuleList(stages)
        self.width = inside
        he_initialise(self)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps of the three stages, the finest first."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


@torch.no_grad()
def set_norms(net: nn.Module, images: HealthyImages, seed: int, count: int = 256) -> None:
    """Means and variances of the batch norms from up to `count` healthy images, drawn by a seed.

    >>> import numpy as np
    >>> from hilum.data.images import Pixels
    >>> images = HealthyImages.of_images(np.full((3, 8, 8), 255, np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
    >>> net = nn.BatchNorm2d(1)
    >>> set_norms(net, images, seed=0)
    >>> net.running_mean        # white, in the units of the network
    tensor([2.])
    """
    norms = [layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    net.train()
    seen = 0
    for x in images.batches(32, seed):
        net(x)
        seen += len(x)
        if seen >= count:
            break
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    net.eval()
