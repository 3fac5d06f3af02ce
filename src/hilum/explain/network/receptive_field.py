"""Receptive fields by arithmetic: which pixels a unit of a layer can see.

Exact for strides, dilation, padding of every kind, pooling and residual connections (the union of the
branches), and clipped to the image. The textbook formula "centre = i x jump" (Araujo et al., Distill 2019,
without its offset terms) is wrong for padded networks; the support of the gradient is right but needs a
backward pass and a unit that is not dead.
"""

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from hilum.errors import ModelError
from hilum.explain.network.axis import NOWHERE
from hilum.explain.network.frozen import example_of
from hilum.explain.network.graph import Graph, follow
from hilum.explain.network.layers import check_layer, layer_name
from hilum.explain.network.steps import Step


class Box(NamedTuple):
    """Pixels from (top, left) to (bottom, right), the last two not included."""

    top: int
    left: int
    bottom: int
    right: int


@dataclass(frozen=True)
class Field:
    """The receptive fields of all units of one layer.

    `rows` "positions 2": first and one past the last image row that each row of the map sees (0, 0 if none);
    `cols` the same. `padded_rows`, `padded_cols`: whether a position also sees constant padding. Such
    border units often win the maximum because of the padding, not because of the image.
    """

    layer: str
    rows: np.ndarray
    cols: np.ndarray
    padded_rows: np.ndarray
    padded_cols: np.ndarray

    def box(self, unit: tuple[int, int]) -> Box:
        """The pixels that unit (row, col) sees, all 0 for none. ModelError if there is no such unit.

        >>> field_of(nn.Sequential(nn.Conv2d(1, 1, 3)), "0", (5, 5)).box((0, 2))
        Box(top=0, left=2, bottom=3, right=5)
        """
        row, col = unit
        if not (0 <= row < len(self.rows) and 0 <= col < len(self.cols)):
            raise ModelError(
                f"layer {self.layer!r} has no unit {tuple(unit)}",
                f"its maps are {len(self.rows)} x {len(self.cols)}",
            )
        (top, bottom), (left, right) = self.rows[row].tolist(), self.cols[col].tolist()
        seen = top < bottom and left < right
        return Box(top, left, bottom, right) if seen else Box(0, 0, 0, 0)

    def sees_padding(self, unit: tuple[int, int]) -> bool:
        """Whether the unit's value also depends on constant padding.

        >>> field = field_of(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)), "0", (5, 5))
        >>> field.sees_padding((0, 2)), field.sees_padding((2, 2))
        (True, False)
        """
        return bool(self.padded_rows[unit[0]] or self.padded_cols[unit[1]])


_FIELDS: WeakKeyDictionary[nn.Module, dict[tuple[str, tuple[int, int]], Field]] = WeakKeyDictionary()
_GRAPHS: WeakKeyDictionary[nn.Module, dict[tuple[int, int], Graph]] = WeakKeyDictionary()
"""Of a copy of the model on the meta device, so that they keep neither the model nor its weights."""


def receptive_field(
    model: nn.Module, layer: str | nn.Module, unit: tuple[int, int], image_size: tuple[int, int]
) -> Box:
    """The pixels that unit (row, col) of a layer's map can see in an image of `image_size` (rows, cols).

    `layer`: its name in `model.named_modules()`, or the module itself. The model is followed, and the fields of
    a layer are worked out, at the first question (a model whose layers are changed afterwards must be copied
    first); then a question takes microseconds. ModelError for a layer or unit that does not exist, or a layer
    that can't be followed.

    >>> net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, padding=1))
    >>> receptive_field(net, "2", (4, 0), (32, 32))
    Box(top=5, left=0, bottom=13, right=5)
    """
    return field_of(model, layer, image_size).box(unit)


def field_of(model: nn.Module, layer: str | nn.Module, image_size: tuple[int, int]) -> Field:
    """The receptive fields of all units of a layer; see `receptive_field`.

    >>> field_of(nn.Sequential(nn.Conv2d(1, 1, 3)), "0", (5, 5)).rows.tolist()
    [[0, 3], [1, 4], [2, 5]]
    """
    name = layer if isinstance(layer, str) else layer_name(model, layer)
    fields = _FIELDS.setdefault(model, {})
    key = (name, (image_size[0], image_size[1]))
    if key not in fields:
        fields[key] = _field(model, name, key[1])
    return fields[key]


def _field(model: nn.Module, name: str, size: tuple[int, int]) -> Field:
    check_layer(model, name)
    graphs = _GRAPHS.setdefault(model, {})
    graph = graphs[size] if size in graphs else graphs.setdefault(size, _followed(model, size))
    if name not in graph.layers:
        reason = graph.obstacle or "it comes after the last map"
        raise ModelError(f"layer {name!r} has no receptive field: {reason}", "name a layer before it")
    last = graph.layers[name]
    (rows, padded_rows), (cols, padded_cols) = (_seen(graph.steps, last, axis) for axis in range(2))
    return Field(name, rows, cols, padded_rows, padded_cols)


def _followed(model: nn.Module, size: tuple[int, int]) -> Graph:
    """The graph of the model, from shapes alone."""
    return follow(*example_of(model, size))


def _seen(steps: list[Step], last: int, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(first and one past the last pixel "positions 2", whether padding is seen), for one axis of one map."""
    size = steps[0].size[axis]
    pixels = np.arange(size)
    begin, end, padded = [pixels], [pixels + 1], [np.zeros(size, dtype=bool)]
    for step in steps[1 : last + 1]:
        begins = np.minimum.reduce([begin[i] for i in step.inputs])
        ends = np.maximum.reduce([end[i] for i in step.inputs])
        pads = np.logical_or.reduce([padded[i] for i in step.inputs])
        if step.axes is not None:
            taps = step.axes[axis].taps
            real = taps != NOWHERE
            begins = np.where(real, begins[taps], size).min(axis=1)  # size and 0 stand for "no pixel"
            ends = np.where(real, ends[taps], 0).max(axis=1)
            pads = ((real & pads[taps]) | (~real & np.isfinite(step.fill))).any(axis=1)
        begin.append(begins)
        end.append(ends)
        padded.append(pads)
    seen = np.stack([begin[-1], end[-1]], axis=1)
    return np.where(seen[:, :1] < seen[:, 1:], seen, 0), padded[-1]
