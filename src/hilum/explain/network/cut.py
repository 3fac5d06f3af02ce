"""A network cut at one layer: the images run up to it once, the rest runs again with changed maps."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.explain.network.frozen import frozen_copy
from hilum.explain.network.layers import check_layer
from hilum.explain.network.recording import Call, record, resolve

SAME = 1e-3
"""Largest logit difference, relative to the largest logit, at which the two halves are the model."""

Known = dict[int, Tensor]
Change = Callable[[Tensor], Tensor]


class Cut:
    """`before(x)` gives what the rest of the network needs, `after(known, change)` the logits.

    The torch calls of one forward pass are noted; those that depend on the layer are replayed. A network
    whose calls can't be replayed (they hold the number of images, or chance) is run from the image each time,
    with the same results.
    """

    def __init__(self, model: nn.Module, layer: str, x: Float[Tensor, "batch channels rows cols"]) -> None:
        """`x`: any images of the size to come. ModelError for a layer that does not exist, with the nearest
        name, or that the logits do not depend on."""
        check_layer(model, layer)
        self.model = frozen_copy(model).float()
        for module in self.model.modules():
            if getattr(module, "inplace", False) is True:
                setattr(module, "inplace", False)  # noqa: B010 (torch's types allow modules and tensors only)
        self.layer = layer
        with torch.no_grad():
            self.calls, output, ends = record(self.model, x[:1].float())
        end = ends.get(layer)
        rest = {} if end is None else _readers(self.calls, end)
        if end is None or output not in rest:
            raise ModelError(f"the logits do not depend on layer {layer!r}", "name a layer before the head")
        self.end, self.output, self.rest = end, int(output or 0), sorted(rest)
        needed = {i for index in self.rest for i in self.calls[index].inputs} - set(self.rest)
        self.kept = sorted(needed | {end})
        self.replayed = self._replays(x[:2].float())

    @torch.no_grad()
    def before(self, x: Float[Tensor, "batch channels rows cols"]) -> Known:
        """Results of the calls that the rest reads, by the index of the call.

        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> known = Cut(net, "0", torch.zeros(1, 1, 8, 8)).before(torch.zeros(4, 1, 8, 8))
        >>> [tuple(result.shape) for result in known.values()]
        [(4, 2, 6, 6)]
        """
        x = x.float()
        if not self.replayed:
            return {0: x}
        values = {0: x}
        for index, call in enumerate(self.calls[1 : self.kept[-1] + 1], start=1):
            if all(i in values for i in call.inputs):
                values[index] = call.function(*resolve(call.args, values), **resolve(call.kwargs, values))
        return {index: values[index] for index in self.kept}

    def maps(self, known: Known) -> Tensor:
        """The layer's result, "batch channels ...".

        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> cut = Cut(net, "0", torch.zeros(1, 1, 8, 8))
        >>> cut.maps(cut.before(torch.zeros(4, 1, 8, 8))).shape
        torch.Size([4, 2, 6, 6])
        """
        if self.replayed:
            return known[self.end]
        results: list[Tensor] = []
        self.after(known, lambda maps: (results.append(maps), maps)[1])
        return results[-1]

    def after(self, known: Known, change: Change | None = None) -> Float[Tensor, "batch classes"]:
        """The logits when the layer's result is put through `change`, which must leave its input alone.

        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> cut = Cut(net, "0", torch.zeros(1, 1, 8, 8))
        >>> cut.after(cut.before(torch.zeros(1, 1, 8, 8)), torch.ones_like)
        tensor([[1., 1.]])
        """
        if not self.replayed:
            return self._hooked(known[0], change)
        values = dict(known)
        if change is not None:
            values[self.end] = change(values[self.end])
        for index in self.rest:
            call = self.calls[index]
            values[index] = call.function(*resolve(call.args, values), **resolve(call.kwargs, values))
        return values[self.output]

    def _hooked(self, x: Tensor, change: Change | None) -> Tensor:
        hook = self.model.get_submodule(self.layer).register_forward_hook(
            lambda *seen: seen[-1] if change is None else change(seen[-1])
        )
        try:
            return self.model(x)
        finally:
            hook.remove()

    @torch.no_grad()
    def _replays(self, x: Tensor) -> bool:
        wanted = self.model(x)
        self.replayed = True
        try:
            replayed = self.after(self.before(x))
        except RuntimeError:
            return False
        near = SAME * max(1.0, float(wanted.abs().max()))
        return replayed.shape == wanted.shape and bool((replayed - wanted).abs().max() <= near)


def _readers(calls: list[Call], start: int) -> set[int]:
    """The calls that depend on call `start`, without itself."""
    readers = {start}
    for index, call in enumerate(calls):
        if any(i in readers for i in call.inputs):
            readers.add(index)
    return readers - {start}
