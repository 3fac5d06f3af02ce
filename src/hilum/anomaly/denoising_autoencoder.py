"""Denoising auto-encoder: given a healthy image with coarse noise laid over it, draws the image without.

Kascenas et al., "Denoising autoencoders for unsupervised anomaly detection in brain MRI", MIDL 2022: noise
that is coarse (here 1/8 of the image's resolution, enlarged) teaches to take away what is as large as a
lesion.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hilum.anomaly import reconstruction
from hilum.anomaly.reconstruction import Images, Reconstruction, checked
from hilum.data.images import Pixels
from hilum.errors import RecipeError

SMALLEST: dict[str, Any] = reconstruction.SMALLEST


class DenoisingAutoencoder(Reconstruction):
    """The network sees a corrupted image in training and the image as it is when it scores. `noise`: the standard
    deviation it learnt with, kept beside the weights."""

    noise: Tensor

    reads = "an auto-encoder that learnt to take coarse noise off healthy images; residual at each pixel"

    def __init__(self, pixels: Pixels, choices: dict[str, Any]) -> None:
        super().__init__(pixels, choices)
        self.register_buffer("noise", torch.tensor(float(choices["noise"])))

    def spoil(self, x: Images) -> Images:
        """Smooth noise of `noise` standard deviations, moved so that no place is special."""
        rows, cols = x.shape[-2:]
        scale = self.choices["noise_scale"]
        small = torch.randn(len(x), 1, rows // scale + 2, cols // scale + 2)
        large = functional.interpolate(small, scale_factor=scale, mode="bilinear", align_corners=False)
        down, right = (int(value) for value in torch.randint(0, scale, (2,)))
        return x + self.noise * large[..., down : down + rows, right : right + cols]

    def loss_of(self, x: Images) -> Tensor:
        """How far the cleaned image is from the one without noise."""
        return self.difference(self.coder(self.spoil(x)), x).mean()


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
    grain in pixels. The others as in autoencoder."""
    if not noise > 0:
        raise RecipeError(f"denoising_autoencoder: noise is {noise}", "choose more than 0")
    if noise_scale < 1:
        raise RecipeError(f"denoising_autoencoder: noise_scale is {noise_scale}", "choose 1 or more")
    choices = checked(
        "denoising_autoencoder",
        loss=loss,
        width=width,
        depth=depth,
        latent=latent,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        smooth=smooth,
        top=top,
        field=field,
        precision=precision,
    )
    return DenoisingAutoencoder(pixels, {**choices, "noise": noise, "noise_scale": noise_scale})
