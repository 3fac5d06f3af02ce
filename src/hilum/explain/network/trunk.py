"""The network up to one layer: the forward pass ends where the layer's maps are."""

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import torch
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.network.frozen import frozen_copy
from hilum.explain.network.recording import fold_normalisations


class _Reached(Exception):
    """Ends the forward pass."""


class Trunk:
    """A frozen copy of `model` in eval mode that runs up to layer `name`, convolutions with channels last and
    normalisations multiplied into them. `x`: an image of the size to come; `dtype`: of the arithmetic.

    >>> trunk = Trunk(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), "0", torch.zeros(1, 1, 5, 5))
    >>> trunk.output(torch.zeros(4, 1, 5, 5)).shape
    torch.Size([4, 2, 3, 3])
    """

    def __init__(self, model: nn.Module, name: str, x: Tensor, dtype: torch.dtype | None = None) -> None:
        self.name, self.dtype = name, dtype or x.dtype
        self.image_size = (x.shape[2], x.shape[3])
        self.model = frozen_copy(model)
        fold_normalisations(self.model, x, name)
        self.model.to(self.dtype)
        self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.maps: Tensor | None = None
        self.layer = self.model.get_submodule(name)
        _pool_first(self.model, self.layer)
        self.layer.register_forward_hook(self._stop)
        self._all = [value.data for value in self.layer.parameters(recurse=False)]

    def _stop(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.maps = output
        raise _Reached

    def narrow(self, filters: Sequence[int]) -> list[int]:
        """From now on a convolution computes these of its filters alone, most of which a climb does not ask for. Where
        each stands in `output`; any other layer stays as it is.

        >>> trunk = Trunk(nn.Sequential(nn.Conv2d(1, 8, 3)), "0", torch.zeros(1, 1, 5, 5))
        >>> trunk.narrow([7, 2]), trunk.output(torch.zeros(1, 1, 5, 5)).shape
        ([0, 1], torch.Size([1, 2, 3, 3]))
        """
        if not isinstance(self.layer, nn.Conv2d) or self.layer.groups != 1:
            return list(filters)
        for value, whole in zip(self.layer.parameters(recurse=False), self._all, strict=True):
            value.data = whole[list(filters)]
        return list(range(len(filters)))

    def output(self, x: Tensor) -> Tensor:
        """What the layer gives for images "batch channels rows cols". ModelError when the model does not use
        the layer."""
        self.maps = None
        with suppress(_Reached):
            self.model(x.to(self.dtype, memory_format=torch.channels_last))
        if self.maps is None:
            raise ModelError(f"layer {self.name!r} is not used by the model", "name a layer that is")
        return self.maps


def _pool_first(model: nn.Module, kept: nn.Module) -> None:
    """Max-pooling before ReLU instead of after it: the same values and gradients, with a quarter of the work for ReLU.

    The largest of some values is positive where one of them is, and it is the same one. `kept` stays where it is.
    """
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for (first, relu), (second, pool) in pairwise(
            list(block._modules.items())
        ):  # children() lists none twice
            if not (isinstance(relu, nn.ReLU) and isinstance(pool, nn.MaxPool2d)) or pool.return_indices:
                continue
            if kept not in (relu, pool):
                setattr(block, first, pool)
                setattr(block, second, relu)
