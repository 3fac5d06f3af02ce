"""What stands where the image is left out: under an occlusion mask, or as the baseline of a method.

No choice is neutral (Sturmfels, Lundberg & Lee, "Visualizing the impact of feature attribution baselines",
Distill 2020): black is itself a finding in a lung, a blurred image keeps large opacities, noise adds texture.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from hilum.data.images import Pixels
from hilum.errors import RecipeError, nearest

FILLS = ("zero", "mean", "blur", "noise")
BLUR = 16
"""The standard deviation of the blur is the shorter side of the image divided by this."""


def fill_image(
    x: Float[Tensor, "batch channels rows cols"], name: str, pixels: Pixels | None = None, seed: int = 0
) -> Float[Tensor, "batch channels rows cols"]:
    """An image like each of `x`, in the units of the network:

    - zero: black, as under the mask of the seed report (the value 0 before it is standardised);
    - mean: the mean grey of the training images, or of the image itself when each image is standardised by
      itself;
    - blur: the image, blurred with a standard deviation of 1/16 of its shorter side, border repeated;
    - noise: normal noise with the image's mean and standard deviation; same seed, same noise.

    Without `pixels` nothing is known about the units: zero is then 0, mean is the mean of the image. Where
    each image is standardised by itself, black is the image's least value. RecipeError for another name.

    >>> x = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]]]])
    >>> fill_image(x, "mean").flatten().tolist()
    [3.0, 3.0, 3.0, 3.0]
    >>> fill_image(x, "zero", Pixels(size=(2, 2), mean=0.5, sd=0.25)).flatten().tolist()
    [-2.0, -2.0, -2.0, -2.0]
    """
    if name not in FILLS:
        raise RecipeError(f"fill {name!r} is not known", nearest(name, FILLS))
    if name == "blur":
        return _blurred(x)
    own_mean = x.mean(dim=(1, 2, 3), keepdim=True)
    if name == "noise":
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
        return own_mean + noise * x.std(dim=(1, 2, 3), correction=0, keepdim=True)
    if pixels is None:
        value = own_mean if name == "mean" else torch.zeros_like(own_mean)
    elif pixels.standardize == "image":
        value = own_mean if name == "mean" else x.amin(dim=(1, 2, 3), keepdim=True)
    else:
        value = torch.full_like(own_mean, 0.0 if name == "mean" else -pixels.mean / pixels.sd)
    return value.expand_as(x).clone()


def fill_for(model: object, x: Tensor, name: str, seed: int = 0) -> Tensor:
    """`fill_image` with the pixel contract of the model, if it has one.

    >>> fill_for(object(), torch.ones(1, 1, 1, 2), "zero").tolist()
    [[[[0.0, 0.0]]]]
    """
    pixels = getattr(model, "pixels", None)
    return fill_image(x, name, pixels if isinstance(pixels, Pixels) else None, seed)


def _blurred(x: Tensor) -> Tensor:
    """Gaussian blur, separable; the kernel reaches three standard deviations."""
    sd = max(min(x.shape[2:]) / BLUR, 0.5)
    reach = min(int(3 * sd + 0.5), 1024)
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / sd) ** 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    values = F.pad(x.float(), (reach, reach, reach, reach), mode="replicate")
    values = F.conv2d(values, kernel[:, None, :, None], groups=x.shape[1])
    return F.conv2d(values, kernel[:, None, None, :], groups=x.shape[1]).to(x)
