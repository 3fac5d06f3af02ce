"""Variational auto-encoder: the codes of healthy images follow a standard normal distribution.

Kingma & Welling, "Auto-encoding variational Bayes", ICLR 2014, with the weight of the divergence as an option
(Higgins et al., beta-VAE, ICLR 2017). An image scores by its residual and, as an option, by the divergence of its
code from that distribution (Zimmerer et al., MIDL 2019, combine both).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly import reconstruction
from hilum.anomaly.detector import Scored
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.reconstruction import Batch, Reconstruction, checked_settings
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

SMALLEST: dict[str, Any] = reconstruction.SMALLEST


def divergence(mean: Tensor, log_variance: Tensor) -> Float[Tensor, " batch"]:
    """Kullback-Leibler divergence of a normal distribution from the standard one, in nats, summed over an image's code
    (appendix B of Kingma & Welling).

    >>> divergence(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2)).item()
    0.5
    """
    each = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
    return each.flatten(1).sum(1)


class VariationalAutoencoder(Reconstruction):
    """`spread` gives the logarithm of the variance of each number of the code; the coder's own code is the
    mean. `usual`: mean and standard deviation of the divergence of healthy images."""

    usual: Tensor
    description = (
        "a variational auto-encoder trained on healthy images; residual at each pixel and place of the code"
    )

    def __init__(self, pixels: Pixels, settings: dict[str, Any]) -> None:
        super().__init__(pixels, settings)
        self.spread = self._new_spread()
        self.register_buffer("usual", torch.zeros(2))

    def _new_spread(self) -> nn.Conv2d:
        spread = nn.Conv2d(self.settings["latent"], self.settings["latent"], 1)
        nn.init.zeros_(spread.weight)
        nn.init.constant_(spread.bias, -2.0)  # type: ignore[arg-type]
        return spread

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """As every reconstruction detector; then the divergence of healthy images."""
        self.spread = self._new_spread().to(images.device)
        super().learn(images, seed, advance)
        with torch.no_grad():
            healthy = torch.cat([self._divergence(x) for x in images.batches(32)])
        self.usual = torch.stack([healthy.mean(), healthy.std(correction=0).clamp(min=1e-6)])

    def loss_of(self, x: Batch) -> Tensor:
        """Difference per pixel + beta x divergence per pixel, a scalar averaged over the images.

        >>> build(Pixels(size=(32, 32)), **SMALLEST).loss_of(torch.zeros(2, 1, 32, 32)).shape
        torch.Size([])
        """
        mean = self.coder.encode(x)
        log_variance = self.spread(mean).clamp(-8, 4)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        reconstruction = self.coder.decode(code, x.shape[-2:])
        share = divergence(mean.float(), log_variance.float()).mean() / x[0].numel()
        return self.difference(reconstruction, x).mean() + self.settings["beta"] * share

    def measure(self, x: Batch) -> Scored:
        """The residual's score, and `divergence` times the standardised divergence of the code."""
        scored = super().measure(x)
        weight = self.settings["divergence"]
        if not weight:
            return scored
        standardised = (self._divergence(x) - self.usual[0]) / self.usual[1]
        return scored._replace(score=scored.score + weight * functional.softplus(standardised))

    def _divergence(self, x: Batch) -> Float[Tensor, " batch"]:
        mean = self.coder.encode(x)
        return divergence(mean, self.spread(mean).clamp(-8, 4))


def build(
    pixels: Pixels,
    loss: str = "l1",
    beta: float = 0.3,
    divergence: float = 0.0,
    width: int = 16,
    depth: int = 5,
    latent: int = 32,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 2e-3,
    smooth: int = 5,
    top: float = 0.02,
    field: str = "image",
    precision: str = "bf16",
) -> VariationalAutoencoder:
    """`beta`: weight of the divergence in training; `divergence`: its weight in the score. The others as in
    autoencoder.

    >>> build(Pixels(size=(64, 64)), beta=-1)
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: variational_autoencoder: beta is -1; choose 0 or more
    """
    settings = checked_settings("variational_autoencoder", locals())
    for name in ("beta", "divergence"):
        if not settings[name] >= 0:
            raise RecipeError(f"variational_autoencoder: {name} is {settings[name]}", "choose 0 or more")
    return VariationalAutoencoder(pixels, settings)
