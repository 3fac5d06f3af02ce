"""Batch normalisation over the images of all processes. torch's own SyncBatchNorm works on CUDA alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum over all processes; so is its gradient, because each process's value goes into the loss of all."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _sum(values: Tensor) -> Tensor:
    return cast(Tensor, _Sum.apply(values))


class SharedBatchNorm(nn.BatchNorm2d):
    """A BatchNorm2d whose mean and variance, in training, are those of the whole batch. Two rounds of sums: the mean
    first, then the squares about it, which loses no digits. Each process holds as many images as the others.
    Outside a process group it is a plain BatchNorm2d.

    >>> x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(SharedBatchNorm(2)(x), nn.BatchNorm2d(2)(x))
    True
    """

    def forward(self, x: Tensor) -> Tensor:
        """ "batch channels rows cols" -> the same shape and type.

        >>> SharedBatchNorm(2).forward(torch.zeros(1, 2, 3, 3)).shape
        torch.Size([1, 2, 3, 3])
        """
        if not (self.training and torch.distributed.is_initialized()):
            return super().forward(x)
        world = torch.distributed.get_world_size()
        values, axes = x.float(), (0, 2, 3)
        mean = _sum(values.mean(axes)) / world
        centred = values - mean[:, None, None]
        variance = _sum(centred.square().mean(axes)) / world
        self._remember(mean.detach(), variance.detach(), world * x.numel() // x.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """The running statistics, as BatchNorm2d keeps them: the variance unbiased."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)


@contextmanager
def shared_batch_norm(net: nn.Module) -> Iterator[None]:
    """Inside, every BatchNorm2d of the network is a SharedBatchNorm, with the same weights and names.

    >>> net = nn.Sequential(nn.BatchNorm2d(2))
    >>> with shared_batch_norm(net):
    ...     type(net[0]).__name__
    'SharedBatchNorm'
    >>> type(net[0]).__name__
    'BatchNorm2d'
    """
    plain = [part for part in net.modules() if type(part) is nn.BatchNorm2d]
    for part in plain:
        part.__class__ = SharedBatchNorm
    try:
        yield
    finally:
        for part in plain:
            part.__class__ = nn.BatchNorm2d
