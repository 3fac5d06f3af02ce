"""The convolutions of a model: their names, filters and receptive fields, and where their maps are read."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.network.frozen import example_of
from hilum.explain.network.layers import check_layer
from hilum.explain.network.receptive_field import field_of
from hilum.explain.network.recording import record
from hilum.explain.network.steps import POINTWISE
from hilum.models import ChestModel


class ConvLayer(NamedTuple):
    """A convolution of a model: its name, number of filters, size of its maps, and how many rows and columns
    of the image the unit in the middle sees."""

    name: str
    filters: int
    maps: tuple[int, int]
    sees: tuple[int, int]


def conv_layers(model: nn.Module, image_size: tuple[int, int]) -> list[ConvLayer]:
    """The convolutions of a model in the order in which they run, without those that can't be followed: of a vector
    (squeeze-and-excitation), or behind a layer of an unknown kind (a transposed convolution).

    ModelError if it has none or can't take an image of `image_size` (rows, cols).

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3))
    >>> [(layer.name, layer.filters, layer.maps, layer.sees) for layer in conv_layers(net, (16, 20))]
    [('0', 4, (14, 18), (3, 3)), ('3', 8, (5, 7), (8, 8))]
    """
    outputs: list[tuple[str, torch.Size]] = []
    shapes, example = example_of(model, image_size)

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.append((name, output.shape))

    for name, module in shapes.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(keep(name))
    shapes(example)
    layers, reason = [], ""
    for name, shape in dict(outputs).items():
        try:
            box = field_of(model, name, image_size).box((shape[2] // 2, shape[3] // 2))
        except ModelError as error:
            reason = reason or str(error)
            continue
        sees = (box.bottom - box.top, box.right - box.left)
        layers.append(ConvLayer(name, shape[1], (shape[2], shape[3]), sees))
    if not layers:
        raise ModelError(f"no convolution of the model can be followed: {reason}", "give another network")
    return layers


def activated(model: nn.Module, layer: str, x: Tensor) -> str:
    """The layer at which the maps of `layer` have passed their normalisation and activation.

    `layer` itself where something else reads them, or nothing of that kind follows. ModelError for an unknown
    layer, with the nearest name.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    >>> activated(net.eval(), "0", torch.zeros(1, 1, 8, 8)), activated(net, "3", torch.zeros(1, 1, 8, 8))
    ('2', '3')
    """
    check_layer(model, layer)
    shapes, _ = example_of(model, (x.shape[2], x.shape[3]))
    for module in shapes.modules():
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 (torch's types allow modules and tensors only)
    calls, _, ends = record(shapes, torch.zeros(1, *x.shape[1:], device=next(shapes.parameters()).device))
    here, name = ends.get(layer), layer
    while here is not None:
        readers = [i for i, call in enumerate(calls) if here in call.inputs]
        if len(readers) != 1 or calls[readers[0]].name not in POINTWISE | {"batch_norm"}:
            break
        here = readers[0]
        inner = calls[here].layer
        if ends.get(inner) != here:  # a call between layers, whose value no layer gives
            break
        name = inner
        if calls[here].name in POINTWISE:
            break
    return name


LARGEST_FIELD = 0.5
"""Share of the image that a unit of the layer shown by default may see."""


def chosen_layer(model: ChestModel, layer: str | None) -> str:
    """`layer`, or of the convolutions whose middle unit sees at most half of the image the one that sees most:
    later ones see nearly all, and their receptive fields would say nothing. The first where all see more.

    ModelError for a layer that the model does not have, with the nearest name.

    >>> from hilum import models
    >>> from hilum.data.images import Pixels
    >>> chosen_layer(models.build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64))), None)
    'features.17'
    """
    if layer is not None:
        check_layer(model, layer)
        return layer
    rows, cols = model.pixels.size
    known = conv_layers(model, model.pixels.size)
    seen = [rows_seen * cols_seen for rows_seen, cols_seen in (known_layer.sees for known_layer in known)]
    small = [place for place, area in enumerate(seen) if area <= LARGEST_FIELD * rows * cols]
    return known[max(small, key=lambda place: (seen[place], place))].name if small else known[0].name
