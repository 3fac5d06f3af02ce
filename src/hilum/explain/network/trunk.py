"""The network up to one layer: the forward pass ends where the layer's maps are."""

from contextlib import suppress

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
        self.model.get_submodule(name).register_forward_hook(self._stop)

    def _stop(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.maps = output
        raise _Reached

    def output(self, x: Tensor) -> Tensor:
        """What the layer gives for images "batch channels rows cols". ModelError when the model does not use
        the layer."""
        self.maps = None
        with suppress(_Reached):
            self.model(x.to(self.dtype, memory_format=torch.channels_last))
        if self.maps is None:
            raise ModelError(f"layer {self.name!r} is not used by the model", "name a layer that is")
        return self.maps
