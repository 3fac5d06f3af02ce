"""From the last map to the vector behind it, as a sum over positions.

Global average pooling and "flatten, then dense" are linear in the last map. The value for a masked image is
then put together from sums over rectangles, and most of these sums are shared by all masks (prefix sums).
"""

import torch
from torch import Tensor

from hilum.explain.network.graph import Graph
from hilum.explain.network.recording import Call, Value


class Readout:
    """The vector "numbers" that a network reads from its last map; `known(sums)` is the start of its tail.

    `weight` "rows cols channels numbers" for a dense layer after flattening, None for average pooling.
    """

    def __init__(
        self,
        call: int,
        shape: tuple[int, ...],
        divisor: int,
        dtype: torch.dtype,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> None:
        self.call = call
        self.shape = shape[1:]
        self.divisor = divisor
        self.dtype = dtype
        self.weight = weight
        self.bias = bias

    def known(self, sums: Tensor) -> dict[int, Tensor]:
        """The result of the call that made the vector, from sums "batch numbers" over all positions.

        >>> Readout(call=3, shape=(1, 2), divisor=4, dtype=torch.float32).known(torch.tensor([[8.0, 4.0]]))
        {3: tensor([[2., 1.]])}
        """
        values = sums / self.divisor
        if self.bias is not None:
            values = values + self.bias
        return {self.call: values.to(self.dtype).view(-1, *self.shape)}

    def cells(self, maps: Tensor, row: int, col: int) -> Tensor:
        """What each position of a part "rows cols channels" of a map, which begins at (row, col), adds.

        >>> dense = Readout(3, (1, 2), 1, torch.float32, weight=torch.ones(4, 4, 3, 2))
        >>> dense.cells(torch.ones(1, 1, 3), 0, 0).tolist()
        [[[3.0, 3.0]]]
        """
        if self.weight is None:
            return maps.to(self.dtype)
        weight = self.weight[row : row + maps.shape[0], col : col + maps.shape[1]]
        return torch.einsum("hwc,hwcd->hwd", maps.to(self.dtype), weight)

    def columns(self, patches: Tensor, rows: Tensor, col: int) -> Tensor:
        """Sums "batch cols numbers" over the rows of patches that lie at `rows` "batch rows" and `col`.

        >>> average = Readout(call=3, shape=(1, 2), divisor=16, dtype=torch.float32)
        >>> average.columns(torch.ones(1, 4, 1, 2), torch.arange(4)[None], 0).tolist()
        [[[4.0, 4.0]]]
        """
        if self.weight is None:
            return patches.sum(1, dtype=self.dtype)
        sums = patches.new_empty((len(patches), patches.shape[2], self.weight.shape[3]), dtype=self.dtype)
        start = rows[:, 0] if rows.shape[1] else rows.new_zeros(len(rows))
        for row in start.unique().tolist():
            here = start == row
            weight = self.weight[row : row + patches.shape[1], col : col + patches.shape[2]]
            sums[here] = torch.einsum("nhwc,hwcd->nwd", patches[here].to(self.dtype), weight)
        return sums


def readout_of(graph: Graph, dtype: torch.dtype) -> Readout | None:
    """The readout of a head that begins with global average pooling or a dense layer, or None.

    >>> from hilum.explain.network.graph import follow
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> readout_of(follow(net.eval(), torch.zeros(1, 1, 5, 5)), torch.float32).divisor
    9
    """
    step = graph.steps[graph.last]
    readers = [(index, call) for index, call in graph.tail.items() if graph.final in call.inputs]
    if graph.obstacle or len(readers) != 1:
        return None
    index, call = readers[0]
    rows, cols = step.size
    if _averages(call):
        return Readout(index, call.shape, rows * cols, dtype)
    if call.name not in ("flatten", "view", "reshape") or call.shape != (1, step.channels * rows * cols):
        return None
    dense = _only_reader(graph, index)
    while dense is not None and graph.tail[dense].name == "dropout" and not _training(graph.tail[dense]):
        index, dense = dense, _only_reader(graph, dense)
    if dense is None or graph.tail[dense].name != "linear":
        return None
    call = graph.tail[dense]
    given = dict(zip(("input", "weight", "bias"), call.args, strict=False)) | call.kwargs
    weight = given["weight"]
    if given["input"] != Value(index) or not isinstance(weight, Tensor):
        return None
    shaped = weight.to(dtype).view(-1, step.channels, rows, cols).permute(2, 3, 1, 0).contiguous()
    return Readout(dense, call.shape, 1, dtype, shaped, given.get("bias"))


def _only_reader(graph: Graph, index: int) -> int | None:
    readers = [i for i, call in graph.tail.items() if index in call.inputs]
    return readers[0] if len(readers) == 1 else None


def _training(dropout: Call) -> bool:
    given = dict(zip(("input", "p", "training"), dropout.args, strict=False)) | dropout.kwargs
    return given.get("training", True)


def _averages(call: Call) -> bool:
    if call.name == "adaptive_avg_pool2d":
        return call.shape[2:] == (1, 1)
    if call.name != "mean":
        return False
    dims = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
    return isinstance(dims, (tuple, list)) and sorted(dim % 4 for dim in dims) == [2, 3]
