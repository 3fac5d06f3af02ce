"""Rounding the weights of a convolution to a short number format without moving what its filters answer.

Rounded to nearest, the errors of a filter's weights and of its bias move its answer by about the same amount
at every position and for every mask, and pooling does not average that away. Here some weights go to their
second-nearest neighbour instead, so that each filter's mean answer to given maps stays what it was. That is
the goal of bias correction (Nagel et al., "Data-free quantization through weight equalization and bias
correction", ICCV 2019, section 4.2), reached in the manner of Nagel et al., "Up or down? Adaptive rounding
for post-training quantization", ICML 2020, because here the bias itself is rounded as well.
"""

import torch
from jaxtyping import Float
from torch import Tensor

SHORT = (torch.bfloat16, torch.float16)
"""Number formats that are worth the care."""


def rounded(
    weight: Float[Tensor, "filters inputs rows cols"],
    bias: Float[Tensor, " filters"] | None,
    exact: Float[Tensor, " channels"],
    rough: Float[Tensor, " channels"],
    dtype: torch.dtype,
) -> tuple[Float[Tensor, "filters inputs rows cols"], Float[Tensor, " filters"] | None]:
    """Weights and bias in `dtype`. `exact`, `rough`: means of the channels that the convolution reads, in
    full and in short arithmetic; the mean answer to `rough` becomes that of the given weights to `exact`.

    Each weight goes to one of its two neighbours in `dtype`; those closest to half-way are moved first.

    >>> weight = torch.full((1, 4, 1, 1), 1.003)
    >>> rounded(weight, None, torch.ones(4), torch.ones(4), torch.bfloat16)[0].flatten().tolist()
    [1.0078125, 1.0078125, 1.0, 1.0]
    """
    filters = len(weight)
    groups = len(exact) // weight.shape[1]
    wanted = weight.double().flatten(1)
    near = weight.to(dtype)
    towards = torch.where(weight > near.to(weight), torch.inf, -torch.inf).to(near)
    far = torch.nextafter(near, towards).double().flatten(1)
    near = near.double().flatten(1)
    short_bias = None if bias is None else bias.to(dtype)

    def seen(means: Tensor) -> Tensor:
        """The mean that stands behind each weight "filters numbers"."""
        parts = means.double().view(groups, 1, -1, 1).expand(-1, filters // groups, -1, weight[0, 0].numel())
        return parts.reshape(filters, -1)

    before = seen(rough)
    error = (near * before).sum(1) - (wanted * seen(exact)).sum(1)
    if bias is not None and short_bias is not None:
        error += short_bias.double() - bias.double()
    gain = torch.where(near == wanted, 0.0, (far - near) * before)
    helps = gain.sign() == -error.sign()[:, None]
    price = torch.where(helps, ((far - wanted) / (far - near)).abs(), torch.inf)
    order = price.argsort(dim=1, stable=True)
    total = torch.where(helps, gain, 0.0).gather(1, order).abs().cumsum(1)
    moved = torch.zeros_like(helps).scatter(1, order, total <= error.abs()[:, None]) & helps
    error = error + torch.where(moved, gain, 0.0).sum(1)
    after = torch.where(moved | ~helps, torch.inf, (error[:, None] + gain).abs())
    best = after.argmin(1, keepdim=True)
    moved |= torch.zeros_like(moved).scatter(1, best, after.gather(1, best) < error.abs()[:, None])
    return torch.where(moved, far, near).view_as(weight).to(dtype), short_bias
