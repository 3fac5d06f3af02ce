"""Synthesised inputs: images that drive one filter, by gradient ascent on the pixels.

`synthesize` is the plain way of the seed report: start from an image, climb the mean activation of one
filter per session, nothing else. `synthesize_clean` is the careful way of Olah et al., "Feature
Visualization", Distill 2017: the image is made of Fourier coefficients with decorrelated strengths, it is
shifted and scaled a little at every step, total variation is held down, and gradients have unit length. The
first shows what raises a filter from a given radiograph, the second what the filter responds to at all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, TrainingError
from hilum.explain.network.layers import check_layer, layer_name
from hilum.explain.network.trunk import Trunk

BATCH = 4
"""Filters climbed together on a CPU; larger batches leave the cache and are slower."""


@dataclass(frozen=True)
class Synthesis:
    """Images "filters channels rows cols"; mean activations "filters steps+1" before and after each step."""

    filters: tuple[int, ...]
    images: Tensor
    activation: Tensor


def synthesize(
    model: nn.Module,
    layer: str | nn.Module,
    filters: Sequence[int],
    start: Float[Tensor, "*batch channels rows cols"],
    steps: int = 1000,
    lr: float = 10_000.0,
    *,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """Plain gradient ascent from `start` on the mean of each filter's map: x <- x + lr * d mean(map) / dx.

    As in the seed report: 1000 steps, learning rate 10,000 (the mean over a map makes gradients tiny),
    pixels not limited. Each filter has an image of its own; filters share a batch only to be fast, and
    their gradients are those of separate sessions. The network is run up to `layer` only, in eval mode and
    with frozen weights; the model is not changed. `dtype=torch.bfloat16` runs the network in bfloat16; the
    pixels stay as they are. `progress` is called with (filter steps done, in all).

    Errors: ModelError for an unknown layer or filter; DataError for more than one start image; RecipeError
    for steps below 0 or a learning rate that is not above 0; TrainingError when an image is no longer
    finite.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False))
    >>> net[0].weight.data = torch.tensor([3.0, -1.0]).view(2, 1, 1, 1)
    >>> found = synthesize(net, "0", [0, 1], torch.zeros(1, 2, 2), steps=2, lr=4.0)
    >>> found.images[:, 0, 0, 0].tolist(), found.activation[0].tolist()
    ([6.0, -2.0], [0.0, 9.0, 18.0])
    """
    image = _one_image(start)
    _check_settings(steps, lr)
    ascent = _Ascent(model, layer, image, filters, dtype)
    return ascent.run(batch, steps, progress, lambda wanted: _Plain(image, len(wanted), lr))


def synthesize_clean(
    model: nn.Module,
    layer: str | nn.Module,
    filters: Sequence[int],
    start: Float[Tensor, "*batch channels rows cols"],
    steps: int = 256,
    lr: float = 0.5,
    *,
    shift: int = 8,
    frame_fraction: float = 0.1,
    smooth: float = 0.02,
    seed: int = 0,
    batch: int | None = None,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Synthesis:
    """The same by the careful way; `start` gives the size, the mean and the spread of the pixel values.

    `lr`: length of a step, in standard deviations of `start` per pixel and root of steps; `shift`: largest
    random shift in pixels; `frame_fraction`: largest random change of scale; `smooth`: weight of the total variation,
    relative to the activation; `dtype`: as in `synthesize`. Pixels stay within four standard deviations of the mean.
    Same seed, same images.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3))
    >>> found = synthesize_clean(net, "0", [1], torch.rand(1, 16, 16), steps=8)
    >>> found.images.shape, bool(found.activation[0, -1] > found.activation[0, 0])
    (torch.Size([1, 1, 16, 16]), True)
    """
    image = _one_image(start)
    _check_settings(steps, lr)
    if shift < 0 or not 0 <= frame_fraction < 1 or smooth < 0:
        raise RecipeError(
            f"shift {shift}, frame_fraction {frame_fraction} or smooth {smooth} is out of range",
            "use 0 or more, frame_fraction below 1",
        )
    ascent = _Ascent(model, layer, image, filters, dtype)
    generator = torch.Generator().manual_seed(seed)
    return ascent.run(
        batch,
        steps,
        progress,
        lambda wanted: _Clean(image, len(wanted), lr, shift, frame_fraction, smooth, generator),
    )


def _one_image(start: Tensor) -> Tensor:
    if start.dim() not in (3, 4) or (start.dim() == 4 and len(start) != 1):
        raise DataError(
            f"synthesis starts from one image, not from shape {tuple(start.shape)}", "give one image"
        )
    return start.detach().reshape(1, *start.shape[-3:])


def _check_settings(steps: int, lr: float) -> None:
    if steps < 0:
        raise RecipeError(f"{steps} steps of synthesis are not possible", "use 0 or more")
    if not (lr > 0 and math.isfinite(lr)):
        raise RecipeError(f"a learning rate of {lr} is not possible", "use a number above 0")


# -- the ascent ----------------------------------------------------------------------------------------------


class _Ascent:
    """Gradient ascent on the activations of filters of one layer."""

    def __init__(
        self,
        model: nn.Module,
        layer: str | nn.Module,
        image: Tensor,
        filters: Sequence[int],
        dtype: torch.dtype | None,
    ) -> None:
        name = layer if isinstance(layer, str) else layer_name(model, layer)
        check_layer(model, name)
        self.filters = tuple(int(number) for number in filters)
        if not self.filters:
            raise ModelError("no filter is named", f"name filters of layer {name!r}")
        self.trunk = Trunk(model, name, image, dtype)
        maps = self.trunk.output(image)
        channels = maps.shape[1] if maps.dim() > 1 else 0
        for number in self.filters:
            if not 0 <= number < channels:
                raise ModelError(
                    f"layer {name!r} has no filter {number}", f"it has {channels}: 0 to {channels - 1}"
                )

    def activation(self, x: Tensor, places: Sequence[int]) -> Tensor:
        """The mean of map places[i] for image i (the value itself, for a dense layer)."""
        maps = self.trunk.output(x)
        images, numbers = torch.tensor([list(range(len(places))), list(places)]).to(maps.device)
        mine = maps[images, numbers]
        return mine.float().flatten(1).mean(1) if mine.dim() > 1 else mine.float()

    def run(
        self,
        batch: int | None,
        steps: int,
        progress: Callable[[int, int], None] | None,
        starting: Callable[[Sequence[int]], "_Plain | _Clean"],
    ) -> Synthesis:
        """Gradient ascent for all filters, a batch at a time."""
        size = batch or BATCH
        images, curves = [], []
        for first in range(0, len(self.filters), size):
            wanted = self.filters[first : first + size]
            places = self.trunk.narrow(wanted)
            climber = starting(wanted)
            curve = []
            for step in range(steps):
                curve.append(climber.step(lambda x, places=places: self.activation(x, places)))
                if progress is not None:
                    progress(first * steps + (step + 1) * len(wanted), len(self.filters) * steps)
            with torch.no_grad():
                image = climber.image()
                curve.append(self.activation(image, places))
            if not (image.isfinite().all() and curve[-1].isfinite().all()):
                raise TrainingError(
                    f"a synthesised image for layer {self.trunk.name!r} is no longer finite",
                    "lower the learning rate",
                )
            images.append(image.detach())
            curves.append(torch.stack(curve, dim=1))
        return Synthesis(self.filters, torch.cat(images), torch.cat(curves))


# -- two ways to climb ---------------------------------------------------------------------------------------


class _Plain:
    """Pixels, and the gradient as it is."""

    def __init__(self, image: Tensor, count: int, lr: float) -> None:
        self.pixels = image.repeat(count, 1, 1, 1).requires_grad_(True)
        self.lr = lr

    def image(self) -> Tensor:
        return self.pixels

    def step(self, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """One step; the activations before it."""
        values = activation(self.pixels)
        (gradient,) = torch.autograd.grad(values.sum(), self.pixels)
        with torch.no_grad():
            self.pixels.add_(gradient, alpha=self.lr)
        return values.detach()


class _Clean:
    """Fourier coefficients of decorrelated strength, random moves, total variation, unit gradients."""

    def __init__(
        self,
        image: Tensor,
        count: int,
        lr: float,
        shift: int,
        frame_fraction: float,
        smooth: float,
        generator: torch.Generator,
    ) -> None:
        rows, cols = image.shape[2:]
        self.size = (rows, cols)
        self.mean, self.spread = image.mean(), image.std().clamp_min(1e-6)
        self.lr, self.shift, self.frame_fraction, self.smooth, self.generator = (
            lr,
            shift,
            frame_fraction,
            smooth,
            generator,
        )
        frequency = (torch.fft.fftfreq(rows)[:, None] ** 2 + torch.fft.rfftfreq(cols) ** 2).sqrt()
        self.strength = (1 / frequency.clamp_min(1 / max(rows, cols))).to(image.device)
        noise = torch.randn(count, image.shape[1], *frequency.shape, 2, generator=generator) * 0.01
        self.coefficients = noise.to(image.device).requires_grad_(True)

    def image(self) -> Tensor:
        spectrum = torch.view_as_complex(self.coefficients) * self.strength
        waves = torch.fft.irfft2(spectrum, s=self.size, norm="ortho")
        return self.mean + 4 * self.spread * torch.tanh(waves / 4)

    def step(self, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """One step; the activations of the moved images before it."""
        image = self.image()
        values = activation(self._moved(image))
        variation = (
            image.diff(dim=2).abs().mean((1, 2, 3)) + image.diff(dim=3).abs().mean((1, 2, 3))
        ) / self.spread
        goal = values - self.smooth * values.detach().abs() * variation
        (gradient,) = torch.autograd.grad(goal.sum(), self.coefficients)
        with torch.no_grad():
            length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1, 1)
            self.coefficients.add_(gradient / length, alpha=self.lr)
        return values.detach()

    def _moved(self, image: Tensor) -> Tensor:
        """The images shifted and scaled at random, the border repeated."""
        count = len(image)
        random = torch.rand(3, count, generator=self.generator) * 2 - 1
        scale = 1 + self.frame_fraction * random[0]
        grid = torch.zeros(count, 2, 3)
        grid[:, 0, 0] = grid[:, 1, 1] = scale
        grid[:, 0, 2] = random[1] * self.shift * 2 / self.size[1]
        grid[:, 1, 2] = random[2] * self.shift * 2 / self.size[0]
        where = F.affine_grid(grid.to(image.device), list(image.shape), align_corners=False)
        return F.grid_sample(image, where, padding_mode="border", align_corners=False)
