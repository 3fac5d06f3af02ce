"""Convolutional auto-encoder: reconstructs healthy images through a bottleneck (the seed report's detector)."""

from typing import Any

from hilum.anomaly import reconstruction
from hilum.anomaly.reconstruction import Reconstruction, checked_settings
from hilum.data.images import Pixels

SMALLEST: dict[str, Any] = reconstruction.SMALLEST


class Autoencoder(Reconstruction):
    """Trained to reconstruct its input."""

    description = "a convolutional auto-encoder trained on healthy images; residual at each pixel"


def build(
    pixels: Pixels,
    loss: str = "l1",
    width: int = 16,
    depth: int = 5,
    latent: int = 16,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 2e-3,
    smooth: int = 5,
    top: float = 0.02,
    field: str = "image",
    precision: str = "bf16",
) -> Autoencoder:
    """`loss`: l1, l2, ssim or perceptual, which is also the residual; `width`, `depth`, `latent`: of the
    network (depth halvings, then `latent` maps); `smooth`: window in pixels over which the residual is
    averaged; `top`: the share of pixels, those with the largest residual, whose mean is the score; `field`: 'lung'
    weighs pixels by how often they were lung in the healthy images, 'image' does not; `precision` of the training.

    >>> import torch
    >>> detector = build(Pixels(size=(64, 96)), depth=4, latent=8)
    >>> detector.coder.encode(torch.zeros(1, 1, 64, 96)).shape    # latent maps, the sides halved depth times
    torch.Size([1, 8, 4, 6])
    """
    return Autoencoder(
        pixels,
        checked_settings(
            "autoencoder",
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
        ),
    )
