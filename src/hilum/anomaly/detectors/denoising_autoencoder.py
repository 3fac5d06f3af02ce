"""Denoising auto-encoder: removes coarse noise that was added to healthy images.

Kascenas et al., "Denoising autoencoders for unsupervised anomaly detection in brain MRI", MIDL 2022: noise
that is coarse (here 1/8 of the image's resolution, enlarged) teaches the network to remove structures as large
as a lesion.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hilum.anomaly import reconstruction
from hilum.anomaly.reconstruction import Batch, Reconstruction, checked_settings
from hilum.data.images import Pixels
from hilum.errors import RecipeError

SMALLEST: dict[str, Any] = reconstruction.SMALLEST


class DenoisingAutoencoder(Reconstruction):
    """The network sees noisy images in training and unaltered images when it scores. `noise`: the standard
    deviation in training, kept beside the weights."""

    noise: Tensor

    description = "an auto-encoder trained to remove coarse noise from healthy images; residual at each pixel"

    def __init__(self, pixels: Pixels, settings: dict[str, Any]) -> None:
        super().__init__(pixels, settings)
        self.register_buffer("noise", torch.tensor(float(settings["noise"])))

    def corrupt(self, x: Batch) -> Batch:
        """Adds smooth noise of `noise` standard deviations at a random offset, so that no position is special.

        >>> noisy = build(Pixels(size=(32, 48)), noise=0.6).corrupt(torch.zeros(2, 1, 32, 48))
        >>> tuple(noisy.shape), bool(noisy.std() > 0)
        ((2, 1, 32, 48), True)
        """
        rows, cols = x.shape[-2:]
        scale = self.settings["noise_scale"]
        small = torch.randn(len(x), 1, rows // scale + 2, cols // scale + 2, device=x.device)
        large = functional.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False)
        down, right = (int(value) for value in torch.randint(0, scale, (2,)))
        return x + self.noise * large[..., down : down + rows, right : right + cols]

    def loss_of(self, x: Batch) -> Tensor:
        """Difference between the denoised image and the one without noise, a scalar averaged over pixels and images.

        >>> loss = build(Pixels(size=(32, 32)), **SMALLEST).loss_of(torch.zeros(2, 1, 32, 32))
        >>> loss.shape, bool(loss > 0)
        (torch.Size([]), True)
        """
        return self.difference(self.coder(self.corrupt(x)), x).mean()


def build(
    pixels: Pixels,
    loss: str = "l2",
    noise: float = 0.6,
    noise_scale: int = 8,
    width: int = 16,
    depth: int = 4,
    latent: int = 32,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 2e-3,
    smooth: int = 5,
    top: float = 0.02,
    field: str = "image",
    precision: str = "bf16",
) -> DenoisingAutoencoder:
    """`noise`: standard deviation of the noise in units of the network's input; `noise_scale`: size of its
    grain in pixels. The others as in autoencoder.

    >>> build(Pixels(size=(64, 64)), noise=0.5).noise
    tensor(0.5000)
    >>> build(Pixels(size=(64, 64)), noise=0)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: denoising_autoencoder: noise is 0; choose more than 0
    """
    settings = checked_settings("denoising_autoencoder", locals())
    if not noise > 0:
        raise RecipeError(f"denoising_autoencoder: noise is {noise}", "choose more than 0")
    if noise_scale < 1:
        raise RecipeError(f"denoising_autoencoder: noise_scale is {noise_scale}", "choose 1 or more")
    return DenoisingAutoencoder(pixels, settings)
