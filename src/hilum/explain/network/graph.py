"""A network as a list of steps over images: what each step reads, and how to compute a part of it.

`follow(model, example)` runs the model once, notes every torch call, and sorts the calls into

- steps: convolution, pooling, padding, activation, sum, concatenation; each output position reads a window
  of input positions that is known per axis (class Axis), so a step can be computed on any part of the image;
- the tail: everything after the last map that all later calls depend on (global pooling, dense layers).

The record is replayed on other images and compared with the model. A network with a step of another kind is
followed up to it; `Graph.obstacle` names the layer.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hilum.explain.network.recording import Call, record, resolve
from hilum.explain.network.rounding import SHORT, rounded
from hilum.explain.network.steps import Step, absorbed, identity, step_of


@dataclass
class Graph:
    """Steps from the image (step 0) to the map that the tail reads (step `last`, made by call `final`).

    `output`: the call that made the logits; `obstacle`: why the network can't be followed, or empty;
    `layers`: the step that ends each named layer.
    """

    steps: list[Step]
    last: int
    tail: dict[int, Call]
    final: int
    output: int
    obstacle: str
    layers: dict[str, int]

    def maps(self, x: Tensor) -> list[Tensor]:
        """All maps of an image batch, one per step.

        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> graph = follow(net, torch.zeros(1, 1, 5, 5))
        >>> [tuple(maps.shape) for maps in graph.maps(torch.zeros(4, 1, 5, 5))]
        [(4, 1, 5, 5), (4, 2, 3, 3)]
        """
        values = [x]
        for step in self.steps[1 : self.last + 1]:
            values.append(step.whole([values[i] for i in step.inputs]))
        return values

    def cast(self, dtype: torch.dtype, examples: Tensor) -> None:
        """Lets all maps be computed and kept in `dtype`; the tail stays as it is.

        For a short format, weights are rounded so that the mean of each map of `examples` stays as it was.

        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> graph, x = follow(net, torch.zeros(1, 1, 5, 5)), torch.zeros(1, 1, 5, 5)
        >>> graph.cast(torch.bfloat16, x)
        >>> graph.maps(x.bfloat16())[-1].dtype
        torch.bfloat16
        """
        short = dtype in SHORT and examples.dtype not in SHORT
        exact = self.maps(examples) if short else []
        rough = [examples.to(dtype)]
        for step in self.steps[1 : self.last + 1]:
            if step.weight is not None:
                weight, bias = step.weight, step.bias
                if short:
                    full, low = (values[step.inputs[0]].float().mean((0, 2, 3)) for values in (exact, rough))
                    weight, bias = rounded(weight, bias, full, low, dtype)
                step.weight = weight.to(dtype, memory_format=torch.channels_last)
                step.bias = None if bias is None else bias.to(dtype)
            step.whole, step.part = _casting(step.whole, dtype), _casting(step.part, dtype)
            if short:
                rough.append(step.whole([rough[i] for i in step.inputs]))

    def finish(self, final: Tensor) -> Tensor:
        """The output of the network from its last maps.

        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> graph = follow(net, torch.zeros(1, 1, 5, 5))
        >>> graph.finish(torch.ones(1, 2, 3, 3))
        tensor([[1., 1.]])
        """
        return self.finish_from({self.final: final})

    def finish_from(self, known: dict[int, Tensor]) -> Tensor:
        """The output of the network from results that are already known, by index of the call.

        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> graph = follow(net, torch.zeros(1, 1, 5, 5))
        >>> graph.finish_from({graph.final: torch.ones(1, 2, 3, 3)})
        tensor([[1., 1.]])
        """
        values = dict(known)
        for index, call in self.tail.items():
            if index not in values and all(i in values for i in call.inputs):
                values[index] = call.function(*resolve(call.args, values), **resolve(call.kwargs, values))
        return values[self.output]


def _casting(run: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
    return lambda *inputs: run(*inputs).to(dtype)


def follow(model: nn.Module, example: Tensor) -> Graph:
    """The graph of `model` (in eval mode, without gradients) for images like "1 channels rows cols".

    On the meta device nothing is computed, which is enough for receptive fields.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> graph = follow(net.requires_grad_(False), torch.zeros(1, 1, 5, 5))
    >>> [step.name for step in graph.steps], graph.obstacle
    (['input', 'conv2d+'], '')
    """
    calls, output, ends = record(model, example)
    readers = Counter(i for call in calls for i in call.inputs)
    shape = calls[0].shape
    steps = [Step("", "input", [], shape[1], (shape[2], shape[3]), identity, identity)]
    place = {0: 0}
    for index, call in enumerate(calls[1:], start=1):
        if not all(i in place for i in call.inputs):
            continue
        step = step_of(call, [place[i] for i in call.inputs], steps)
        if step is None:
            continue
        before = step.inputs[0]
        alone = readers[call.inputs[0]] == 1 and before > 0 and len(call.inputs) == 1
        if step.name == "identity" or (alone and absorbed(steps[before], step)):
            place[index] = before
            continue
        steps.append(step)
        place[index] = len(steps) - 1
    used = _ancestors(calls, output)
    tail = {index: call for index, call in enumerate(calls) if index not in place and index in used}
    border = sorted({i for call in tail.values() for i in call.inputs if i in place})
    return Graph(
        steps=steps,
        last=place[border[0]] if border else 0,
        tail=tail,
        final=border[0] if border else 0,
        output=output if output is not None else 0,
        obstacle=_obstacle(tail, border, output),
        layers={name: place[index] for name, index in ends.items() if index in place},
    )


def _ancestors(calls: list[Call], output: int | None) -> set[int]:
    """The calls that the output depends on."""
    used: set[int] = set()
    waiting = [] if output is None else [output]
    while waiting:
        index = waiting.pop()
        if index not in used:
            used.add(index)
            waiting += calls[index].inputs
    return used


def _obstacle(tail: dict[int, Call], border: list[int], output: int | None) -> str:
    """Why the network can't be followed to its head, as half a sentence; empty if it can."""
    if output is None or output not in tail:
        return "the output of the network is not one row of logits made by its layers"
    reading = [call for call in tail.values() if any(i in border for i in call.inputs)]
    first = reading[0]
    where = f"layer {first.layer!r} ({first.name})"
    if len(first.shape) == 4 and first.shape[2:] != (1, 1) and not first.name.startswith("adaptive"):
        return f"{where} can't be followed"
    if len(border) > 1:
        last = reading[-1]
        return f"{where} and layer {last.layer!r} ({last.name}) read different maps"
    return ""
