"""A copy of a network that can be looked into: frozen, in eval mode, with one row of logits per image."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.models import ChestModel


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode without gradients. One logit per image, "batch", becomes one row, "batch 1".

    A network whose layers keep a computed weight (weight_norm, spectral_norm) can be copied as well.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(0))
    >>> frozen_copy(net)(torch.zeros(2, 1, 3, 3)).shape
    torch.Size([2, 1])
    """
    with _leaves(model):
        copied = copy.deepcopy(model)
    copied.register_forward_hook(_as_rows)
    return copied.eval().requires_grad_(False)


def _as_rows(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    """A hook: a list of one number per image becomes a column."""
    images = inputs[0] if inputs else None
    if isinstance(output, Tensor) and isinstance(images, Tensor) and output.dim() < 2:
        return output.reshape(-1, 1) if output.numel() == len(images) else output
    return output


@contextmanager
def _leaves(model: nn.Module) -> Iterator[None]:
    """Computed tensors among the attributes of layers are set to constants while the block runs: torch copies no
    others."""
    computed = [
        (layer, name, value)
        for layer in model.modules()
        for name, value in vars(layer).items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    for layer, name, value in computed:
        setattr(layer, name, value.detach())
    try:
        yield
    finally:
        for layer, name, value in computed:
            setattr(layer, name, value)


def example_of(model: nn.Module, image_size: tuple[int, int]) -> tuple[nn.Module, Tensor]:
    """A frozen copy and an image that it takes, "1 channels rows cols": on the meta device, where nothing is computed,
    or, for a network that asks for values, on the CPU.

    The channels are those of the first convolution, or 1 or 3 where the network takes only these: it may repeat a grey
    image. ModelError for a network that can't take an image of this size, or that takes more than one tensor.

    >>> example_of(nn.Sequential(nn.Conv2d(3, 8, 1)), (4, 5))[1].shape
    torch.Size([1, 3, 4, 5])
    """
    reasons: list[str] = []
    for device in ("meta", "cpu"):
        copied = frozen_copy(model).float().to(device)
        for channels in _channels(model):
            image = torch.zeros(1, channels, *image_size, device=device)
            try:
                with torch.no_grad():
                    copied(image)
                return copied, image
            except TypeError as error:
                raise takes_no_image(error) from None
            except (RuntimeError, NotImplementedError) as error:
                reasons.append(str(error).splitlines()[0])
        if not any("meta" in reason for reason in reasons):
            break
    raise ModelError(
        f"the model can't take an image of {image_size[0]} x {image_size[1]} px ({reasons[0]})",
        "give a size that fits",
    )


def takes_no_image(error: TypeError) -> ModelError:
    """The sentence for a network that can't be called with one tensor of images.

    >>> str(takes_no_image(TypeError("missing 'age'")))[:62]
    "the model can't be called with images alone (missing 'age'); w"
    """
    return ModelError(
        f"the model can't be called with images alone ({error})",
        "wrap it in a module that takes images and returns logits",
    )


def _channels(model: nn.Module) -> list[int]:
    """Numbers of channels to try, the most likely first. ModelError without a convolution."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ModelError("the model has no convolution", "give a network of images")
    own = [model.pixels.channels] if isinstance(model, ChestModel) else []
    return list(dict.fromkeys([*own, first.in_channels, 1, 3]))
