"""Helpers of the detectors that reconstruct an image: losses, training, and the score of a residual.

A network trained on healthy images alone should reconstruct a healthy image well and an opacity badly. Some
structures it reconstructs badly in every image (edges of ribs, the outline of the child), so a residual is compared
at each pixel with the residuals of healthy images there: the map is its distance from their mean in standard
deviations (Baur et al., "Autoencoders for unsupervised anomaly segmentation", Medical Image Analysis 2021,
discuss residual maps and their limits). The score of an image is the mean over the pixels with the largest values.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly.detector import Detector, Scored
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.opacities import lung_field
from hilum.anomaly.schedule import one_cycle
from hilum.anomaly.trunk import Trunk, set_norms
from hilum.data.images import Pixels
from hilum.errors import RecipeError, nearest
from hilum.progress import Advance

LOSSES = ("l1", "l2", "ssim", "perceptual")
SSIM_WINDOW = 7
SD_FLOOR = 0.2
"""A pixel's standard deviation is at least this share of the mean one: black borders hardly vary."""

Batch = Float[Tensor, "batch 1 rows cols"]


# -- losses: the difference of two images, one number per pixel -----------------------------------------------


def ssim_map(a: Batch, b: Batch, value_range: float = 4.0, window: int = SSIM_WINDOW) -> Batch:
    """Structural similarity at each pixel, -1..1, 1 = alike (Wang et al., IEEE TIP 2004, equation 13), over a
    square window with even weights and K1 = 0.01, K2 = 0.03. Windows at the border hold fewer pixels.

    `value_range`: the L of the equation; 4 for standardised images, which lie within about -2..2.

    >>> image = torch.rand(1, 1, 16, 16)
    >>> bool(torch.allclose(ssim_map(image, image), torch.ones(1, 1, 16, 16), atol=1e-4))
    True
    """

    def mean(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, window, 1, window // 2, count_include_pad=False)

    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * both + c2) / (var_a + var_b + c2)


class Perceptual(nn.Module):
    """Distance in the features of a seeded, untrained trunk: no disease label and no foreign weights behind
    it. Each scale is normalised over its channels, squared differences are averaged over them and brought to
    the image's size (as LPIPS, Zhang et al., CVPR 2018, but without its learnt weights)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.trunk = Trunk(width).eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "Perceptual":
        """Stays in eval mode: its batch norms are fixed."""
        return super().train(False)

    def forward(self, a: Batch, b: Batch) -> Batch:
        """One distance per pixel, 0..4 per scale.

        >>> image = torch.rand(1, 1, 64, 64)
        >>> distance = Perceptual()(image, image)
        >>> tuple(distance.shape), float(distance.max())
        ((1, 1, 64, 64), 0.0)
        """
        total = torch.zeros_like(a)
        for first, second in zip(self.trunk(a), self.trunk(b), strict=True):
            squared = (functional.normalize(first, dim=1) - functional.normalize(second, dim=1)).square()
            total = total + functional.interpolate(
                squared.sum(1, keepdim=True), a.shape[-2:], mode="bilinear", align_corners=False
            )
        return total


def differences(loss: str, perceptual: Perceptual | None = None) -> Callable[[Batch, Batch], Batch]:
    """The per-pixel difference that a loss averages, by the loss's name; RecipeError for an unknown one.

    >>> differences("l1")(torch.tensor([[[[1.0]]]]), torch.tensor([[[[3.0]]]])).item()
    2.0
    """
    if loss == "l1":
        return lambda a, b: (a - b).abs()
    if loss == "l2":
        return lambda a, b: (a - b).square()
    if loss == "ssim":  # alone it leaves the grey level loose
        return lambda a, b: (1 - ssim_map(a, b)) / 2 + 0.1 * (a - b).abs()
    if loss == "perceptual":
        assert perceptual is not None
        return lambda a, b: perceptual(a, b) + 0.5 * (a - b).abs()
    raise RecipeError(f"loss {loss!r} is not known", nearest(loss, LOSSES))


# -- networks ------------------------------------------------------------------------------------------------


def halving(inside: int, outside: int) -> nn.Sequential:
    """Convolution of stride 2, batch norm, leaky ReLU: half the rows and columns.

    >>> halving(1, 8)(torch.zeros(2, 1, 16, 20)).shape
    torch.Size([2, 8, 8, 10])
    """
    return nn.Sequential(
        nn.Conv2d(inside, outside, 4, stride=2, padding=1), nn.BatchNorm2d(outside), nn.LeakyReLU(0.1)
    )


def doubling(inside: int, outside: int) -> nn.Sequential:
    """Bilinear enlargement and a convolution (no checkerboards: Odena et al., Distill 2016).

    >>> doubling(8, 4)(torch.zeros(2, 8, 8, 10)).shape
    torch.Size([2, 4, 16, 20])
    """
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(inside, outside, 3, padding=1),
        nn.BatchNorm2d(outside),
        nn.LeakyReLU(0.1),
    )


class Coder(nn.Module):
    """Encoder and decoder of `depth` halvings with widths w, 2w, 4w ..., and a bottleneck of `latent` maps.

    The image is brought to a multiple of 2**depth inside, and back.
    """

    def __init__(self, width: int, depth: int, latent: int) -> None:
        super().__init__()
        widths = [min(width * 2**step, 8 * width) for step in range(depth)]
        self.step = 2**depth
        self.encoder = nn.Sequential(*(halving(a, b) for a, b in zip([1, *widths], widths, strict=False)))
        self.narrow = nn.Conv2d(widths[-1], latent, 1)
        self.widen = nn.Conv2d(latent, widths[-1], 1)
        back = widths[::-1]
        outs = [*back[1:], width]
        self.decoder = nn.Sequential(*(doubling(a, b) for a, b in zip(back, outs, strict=True)))
        self.last = nn.Conv2d(width, 1, 3, padding=1)

    def encode(self, x: Batch) -> Tensor:
        """Codes "batch latent rows/2**depth cols/2**depth".

        >>> Coder(width=4, depth=3, latent=2).encode(torch.zeros(1, 1, 64, 80)).shape
        torch.Size([1, 2, 8, 10])
        """
        size = [max(1, round(side / self.step)) * self.step for side in x.shape[-2:]]
        if list(x.shape[-2:]) != size:
            x = functional.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.narrow(self.encoder(x))

    def decode(self, code: Tensor, size: torch.Size | tuple[int, ...]) -> Batch:
        """The image "batch 1 rows cols" of a code, at the size given.

        >>> Coder(width=4, depth=3, latent=2).decode(torch.zeros(1, 2, 8, 10), (64, 80)).shape
        torch.Size([1, 1, 64, 80])
        """
        image = self.last(self.decoder(self.widen(code)))
        if tuple(image.shape[-2:]) != tuple(size):
            image = functional.interpolate(image, tuple(size), mode="bilinear", align_corners=False)
        return image

    def forward(self, x: Batch) -> Batch:
        """The reconstruction of an image, of the same size.

        >>> Coder(width=4, depth=3, latent=2)(torch.zeros(1, 1, 60, 75)).shape
        torch.Size([1, 1, 60, 75])
        """
        return self.decode(self.encode(x), x.shape[-2:])


# -- the detectors' base -------------------------------------------------------------------------------------


class Reconstruction(Detector):
    """`coder` reconstructs images; `center` and `sd`, "rows cols", are the mean and standard deviation of the
    residual of healthy images at each pixel; `field`, "rows cols", weighs pixels by how often they were lung.

    Subclasses may change the training loss (`loss_of`).
    """

    center: Tensor
    sd: Tensor
    field: Tensor

    def __init__(self, pixels: Pixels, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.settings = settings
        self.coder = Coder(settings["width"], settings["depth"], settings["latent"])
        self.perceptual = Perceptual() if settings["loss"] == "perceptual" else None
        self.difference = differences(settings["loss"], self.perceptual)
        for name in ("center", "sd", "field"):
            self.register_buffer(name, torch.empty(0, 0))

    def loss_of(self, x: Batch) -> Tensor:
        """The loss of a batch, a scalar averaged over pixels and images."""
        return self.difference(self.coder(x), x).mean()

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains the network, then measures its residuals on healthy images.

        The residuals of the training images are smaller than those of other images, by about the same factor at
        every pixel, which does not affect the ranking of images; the threshold comes from other images.
        """
        self.coder = Coder(self.settings["width"], self.settings["depth"], self.settings["latent"])
        self.coder.to(images.device)
        if self.perceptual is not None:
            self.perceptual.trunk = Trunk(16).to(images.device)
            set_norms(self.perceptual.trunk, images, seed)
            self.perceptual.trunk.requires_grad_(False)
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.settings["lr"], weight_decay=1e-4)
        epochs = self.settings["epochs"]
        size = self.settings["batch_size"]
        steps = epochs * -(-len(images) // size)
        rates = one_cycle(optimizer, self.settings["lr"], steps)
        done = 0
        self.train()
        for epoch in range(epochs):
            for x in images.batches(size, seed + epoch):
                with torch.autocast(
                    x.device.type, torch.bfloat16, enabled=self.settings["precision"] == "bf16"
                ):
                    loss = self.loss_of(x)
                optimizer.zero_grad(set_to_none=True)
                loss.float().backward()
                nn.utils.clip_grad_norm_(self.parameters(), 1.0)
                optimizer.step()
                rates.step()
                done += 1
                advance(done, steps + 1)
        self.eval()
        self._sum_up(images)
        advance(steps + 1, steps + 1)

    @torch.no_grad()
    def _sum_up(self, images: HealthyImages) -> None:
        """First and second moments of the residual at each pixel, and how often a pixel was lung."""
        total = squares = torch.zeros(self.pixels.size, dtype=torch.float64, device=images.device)
        for x in images.batches(32):
            residual = self._residual(x).double()
            total, squares = total + residual.sum(0), squares + residual.square().sum(0)
        self.center = (total / len(images)).float()
        variance = (squares / len(images) - self.center.double().square()).clamp(min=0)
        sd = variance.sqrt().float()
        self.sd = sd.clamp(min=max(SD_FLOOR * float(sd.mean()), 1e-6))
        often = np.mean([lung_field(image) for image in images.images], axis=0)
        self.field = torch.from_numpy(often.astype(np.float32)).to(images.device)

    def _residual(self, x: Batch) -> Float[Tensor, "batch rows cols"]:
        return self._smoothed(self.difference(self.coder(x), x))[:, 0]

    def _smoothed(self, difference: Batch) -> Batch:
        """Mean over a small window: a lesion is larger than a pixel."""
        window = self.settings["smooth"]
        if window == 1:
            return difference
        return functional.avg_pool2d(difference, window, 1, window // 2, count_include_pad=False)

    def measure(self, x: Batch) -> Scored:
        """The standardised residual; its largest values give the score."""
        reconstruction = self.coder(x)
        residual = self._smoothed(self.difference(reconstruction, x))[:, 0]
        standardised = (residual - self.center) / self.sd
        if self.settings["field"] == "lung":
            weight = (self.field / self.field.max().clamp(min=1e-6)).clamp(min=0.02)
            standardised = standardised * weight
        flat = standardised.flatten(1)
        count = max(1, round(self.settings["top"] * flat.shape[1]))
        return Scored(flat.topk(count, dim=1).values.mean(1), standardised, reconstruction[:, 0])


SMALLEST: dict[str, Any] = {
    "width": 4,
    "depth": 3,
    "latent": 4,
    "epochs": 2,
    "batch_size": 4,
    "precision": "fp32",
}


def checked_settings(who: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The settings of a reconstruction detector: all parameters of its build() but the pixels.

    `parameters`: `locals()` in the first line of build(), so that no name is written twice. RecipeError for an
    option that every such detector has, with a value out of range.

    >>> checked_settings("autoencoder", {"width": 0, "latent": 4, "epochs": 2, "depth": 3})
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: autoencoder: width is 0; choose 1 or more
    """
    settings = {name: value for name, value in parameters.items() if name != "pixels"}
    for name in ("width", "latent", "epochs", "depth"):
        if settings[name] < 1:
            raise RecipeError(f"{who}: {name} is {settings[name]}", "choose 1 or more")
    if settings["batch_size"] < 2:
        raise RecipeError(f"{who}: batch_size is {settings['batch_size']}", "choose 2 or more")
    if settings["depth"] > 6:
        raise RecipeError(f"{who}: depth is {settings['depth']}", "choose 6 or less")
    if settings["loss"] not in LOSSES:
        raise RecipeError(
            f"{who}: loss {settings['loss']!r} is not known", nearest(str(settings["loss"]), LOSSES)
        )
    if settings["field"] not in ("image", "lung"):
        raise RecipeError(f"{who}: field {settings['field']!r} is not known", "choose 'image' or 'lung'")
    if settings["precision"] not in ("bf16", "fp32"):
        raise RecipeError(
            f"{who}: precision {settings['precision']!r} is not known", "choose 'bf16' or 'fp32'"
        )
    if settings["smooth"] < 1 or settings["smooth"] % 2 == 0:
        raise RecipeError(f"{who}: smooth is {settings['smooth']}", "choose an odd number, 1 or more")
    if not 0 < settings["top"] <= 1:
        raise RecipeError(f"{who}: top is {settings['top']}", "choose a share above 0, up to 1")
    if not settings["lr"] > 0:
        raise RecipeError(f"{who}: lr is {settings['lr']}", "choose more than 0")
    return settings
