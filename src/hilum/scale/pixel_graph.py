"""From raw pixels to the decision inside the graph: what hilum does in numpy and OpenCV, as arithmetic that any
engine has.

The even frame around the image is cut off, the image is stretched or padded with its reflection to the network's
size, and resampled as OpenCV does: area averaging to shrink, linear to grow, both as products with a matrix of
weights per axis. Grey levels agree with `Pixels.prepare` within one of 256. A box around the lungs is no
arithmetic of this kind: such models are refused.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hilum.data.images import Pixels
from hilum.data.labels import HEALTHY
from hilum.data.place import LEAST, LEVELS, UNEVEN
from hilum.errors import ModelError
from hilum.inference.finding_rules import FindingRules
from hilum.inference.rules import HALF, Rules
from hilum.models import ChestModel

PASSES = 3
"""So often the frame is looked for: a frame may lie in a frame."""

REFLECTIONS = 3
"""Periods of the reflection on each side of an image: enough for a side ratio of 6 to the network's."""


def check_whole(pixels: Pixels) -> None:
    """ModelError for a pixel contract that no graph can follow.

    >>> check_whole(Pixels(size=(8, 8), fit="lungs"))
    Traceback (most recent call last):
    hilum.errors.ModelError: a graph from raw pixels can't find the lungs that the model reads; export to ...
    """
    if pixels.fit == "lungs":
        raise ModelError(
            "a graph from raw pixels can't find the lungs that the model reads",
            "export to onnx without --with-pixels: hilum predict --runtime finds them by the network beside the model",
        )


class PixelGraph(nn.Module):
    """uint8 "rows cols" of any size -> the network's input, float32 "1 1 rows cols".

    >>> PixelGraph(Pixels(size=(4, 6)))(torch.zeros(9, 7, dtype=torch.uint8)).shape
    torch.Size([1, 1, 4, 6])
    """

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        check_whole(pixels)
        self.pixels = pixels

    def forward(self, image: Tensor) -> Tensor:
        """Resized and normalised.

        >>> white = torch.full((2, 2), 255, dtype=torch.uint8)
        >>> PixelGraph(Pixels(size=(2, 2), mean=0.0, sd=1.0, trim=False))(white).sum()
        tensor(4.)
        """
        x = self.resized(image) / 255.0
        if self.pixels.standardize == "image":
            mean = x.mean()
            sd = ((x - mean) ** 2).mean().sqrt()
            return ((x - mean) / sd.clamp(min=1e-3))[None, None]
        return ((x - self.pixels.mean) / self.pixels.sd)[None, None]

    def resized(self, image: Tensor) -> Tensor:
        """float32 grey levels of the contract's size, whole numbers.

        >>> ramp = torch.arange(64, dtype=torch.uint8).reshape(8, 8)
        >>> PixelGraph(Pixels(size=(2, 2), trim=False)).resized(ramp).tolist()
        [[14.0, 18.0], [46.0, 50.0]]
        """
        grey = image.to(torch.float32)
        content = content_of(grey) if self.pixels.trim else _edges_of(grey)
        axes = self._parts(content)
        rows, cols = (end - start for start, end, _, _ in axes)
        shape = self.pixels.size
        weights = [
            weights_of(axis, shape[place], grey.shape[place], _modes(rows, cols, shape), self.pixels.fit)
            for place, axis in enumerate(axes)
        ]
        return torch.round(weights[0] @ grey @ weights[1].T).clamp(0, 255)

    def _parts(self, content: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For rows and columns: start and end of the part that the network sees, in units of the content, and first and
        last of the content in the image."""
        top, left, bottom, right = content
        sides = [(top, bottom), (left, right)]
        lengths = [(last - first).to(torch.float64) for first, last in sides]
        if self.pixels.fit != "pad":
            return [(first * 0, last - first, first, last) for first, last in sides]
        scale = torch.maximum(lengths[0] / self.pixels.size[0], lengths[1] / self.pixels.size[1])
        parts = []
        for (first, last), length, size in zip(sides, lengths, self.pixels.size, strict=True):
            beyond = (scale * size - length) / 2
            start = torch.round(first - beyond).to(torch.int64) - first
            end = torch.round(last + beyond).to(torch.int64) - first
            parts.append((start, torch.maximum(end, start + 1), first, last))
        return parts


def _edges_of(grey: Tensor) -> tuple[Tensor, ...]:
    rows, cols = (torch.ones_like(grey[:, 0]).sum(), torch.ones_like(grey[0]).sum())
    return tuple(
        value.to(torch.int64) for value in (rows * 0, cols * 0, rows, cols)
    )  # as tensors, whatever the size


def content_of(grey: Tensor) -> tuple[Tensor, ...]:
    """(top, left, bottom, right) of an image without its even frame, whole numbers; `hilum.data.place.content_of`.

    >>> framed = torch.zeros(40, 40)
    >>> framed[10:30, 5:35] = torch.arange(600).reshape(20, 30) % 256
    >>> [int(edge) for edge in content_of(framed)]
    [10, 5, 30, 35]
    """
    whole = _edges_of(grey)
    top, left, bottom, right = whole
    rows, cols = bottom, right
    blank = torch.zeros((), dtype=torch.bool)
    for _ in range(PASSES):
        top, bottom = _uneven(grey, top, bottom, left, right)
        narrow = (bottom - top) < LEAST * rows
        first, last = _uneven(grey.T, left, right, top, bottom)
        left, right = torch.where(narrow, left, first), torch.where(narrow, right, last)
        blank = blank | narrow | ((right - left) < LEAST * cols)
    return tuple(
        torch.where(blank, edge, inner) for edge, inner in zip(whole, (top, left, bottom, right), strict=True)
    )


def _uneven(lines: Tensor, start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """First and last line within start ... end that is not even between the columns first ... last."""
    numbers = torch.arange(lines.shape[0])
    across = torch.arange(lines.shape[1])
    used = (across >= first) & (across < last)
    n = last - first
    levels = torch.sort(torch.where(used, lines, 256.0), dim=1).values
    middle = torch.floor(
        (_at(levels, torch.clamp((n - 1) // 2, min=0)) + _at(levels, torch.clamp(n // 2, min=0))) / 2
    )
    low, high = torch.clamp(middle - LEVELS, min=0)[:, None], torch.clamp(middle + LEVELS, max=255)[:, None]
    near = ((levels >= low) & (levels < high)).to(torch.int64).sum(1)
    even = (n - near).to(torch.float64) <= UNEVEN * n.to(torch.float64)
    uneven = ~even & (numbers >= start) & (numbers < end)
    begin = torch.where(uneven, numbers, end).min()
    return begin, torch.where(uneven, numbers + 1, begin).max()


def _at(levels: Tensor, place: Tensor) -> Tensor:
    return torch.index_select(levels, 1, torch.clamp(place, max=levels.shape[1] - 1).reshape(1))[:, 0]


def _modes(rows: Tensor, cols: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Whether OpenCV averages areas, and whether it does what it does instead of that where one side grows."""
    shrinks = size[0] * size[1] < rows * cols
    both = (rows >= size[0]) & (cols >= size[1])
    return shrinks & both, shrinks & ~both


def weights_of(
    axis: tuple[Tensor, Tensor, Tensor, Tensor],
    size: int,
    length: int | torch.SymInt,
    modes: tuple[Tensor, Tensor],
    fit: str,
) -> Tensor:
    """float32 "size length": how much each line of the image counts in each line of the result.

    >>> axis = tuple(torch.tensor(number) for number in (0, 4, 0, 4))
    >>> weights_of(axis, 2, 4, (torch.tensor(True), torch.tensor(False)), "squeeze").tolist()
    [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    start, end, first, last = axis
    numbers = torch.arange(length) - first  # type: ignore[call-overload]
    inside = (numbers >= 0) & (numbers < last - first)
    count = end - start
    if fit != "pad":
        return torch.where(inside, _kernel(numbers, count, size, modes), 0.0)
    period = 2 * torch.clamp(last - first - 1, min=1)
    edge = (numbers == 0) | (numbers == last - first - 1)
    turns = torch.arange(-REFLECTIONS, REFLECTIONS + 1)[:, None] * period
    plain, mirrored = (
        _kernel((turns + way * numbers - start).reshape(-1), count, size, modes)
        .reshape(size, -1, length)
        .sum(1)
        for way in (1, -1)
    )
    return torch.where(inside, plain + torch.where(edge, 0.0, mirrored), 0.0)


def _kernel(places: Tensor, count: Tensor, size: int, modes: tuple[Tensor, Tensor]) -> Tensor:
    """float32 "size places": weights of the places of a part of `count` lines; 0 beyond it."""
    k = places.to(torch.float64)[None]
    i = torch.arange(size, dtype=torch.float64)[:, None]
    n = count.to(torch.float64)
    step = n / size
    overlap = torch.minimum((i + 1) * step, k + 1) - torch.maximum(i * step, k)
    area = torch.clamp(overlap, min=0.0) / step
    linear = _tent(torch.clamp((i + 0.5) * step - 0.5, min=0.0), k, n)
    low = torch.floor(i * step)
    share = (i + 1) - (low + 1) / step
    share = torch.where(share <= 0, 0.0, share - torch.floor(share))
    instead = _tent(low + share, k, n)
    weights = torch.where(modes[0], area, torch.where(modes[1], instead, linear))
    return torch.where((k >= 0) & (k < n), weights, 0.0).to(torch.float32)


def _tent(at: Tensor, k: Tensor, n: Tensor) -> Tensor:
    return torch.clamp(1 - (torch.minimum(at, n - 1) - k).abs(), min=0.0)


class Whole(nn.Module):
    """uint8 "rows cols" -> the outputs that `whole_outputs` names, for one image."""

    def __init__(self, model: ChestModel, rules: Rules | FindingRules) -> None:
        super().__init__()
        self.pixels, self.model, self.rules = PixelGraph(model.pixels), model, rules

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Probabilities, decision, and the prediction set where the model has one.

        >>> from hilum.models import build
        >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
        >>> probabilities, predicted = Whole(model, Rules(model.classes))(torch.zeros(40, 50, dtype=torch.uint8))
        >>> probabilities.shape, predicted.shape
        (torch.Size([2]), torch.Size([]))
        """
        logits = self.model(self.pixels(image))[0]
        if isinstance(self.rules, FindingRules):
            return self._findings(logits, self.rules)
        rules, own = self.rules, logits.softmax(0)
        scaled = logits
        if rules.scaling is not None:
            scale, shift = (
                torch.tensor(values, dtype=torch.float32)
                for values in (rules.scaling.scale, rules.scaling.shift)
            )
            scaled = logits * scale + shift
        predicted = _predicted(own, rules)
        outputs = [scaled.softmax(0), predicted]
        if rules.quantiles is not None:
            limits = torch.tensor([rules.quantiles[name] for name in rules.classes], dtype=torch.float32)
            inside = (1 - own) <= limits
            size = inside.to(torch.int64).sum()
            absent = ~torch.index_select(inside, 0, predicted.reshape(1))[0]
            outputs += [inside, (size == 0) | (size == len(rules.classes)) | absent]
        return tuple(outputs)

    def _findings(self, logits: Tensor, rules: FindingRules) -> tuple[Tensor, ...]:
        scale, shift, limits = (
            torch.from_numpy(np.asarray(values, np.float32))
            for values in (rules.scale, rules.shift, rules.thresholds)
        )
        probabilities = torch.sigmoid(logits * scale + shift)
        return probabilities, probabilities >= limits


def whole_outputs(rules: Rules | FindingRules) -> tuple[str, ...]:
    """Names of what `Whole` gives: calibrated probabilities "classes", the predicted class's place, the prediction
    set as true or false per class, and whether the set is a reason to abstain; for findings what is present.

    >>> whole_outputs(Rules(("normal", "pneumonia")))
    ('probabilities', 'predicted')
    """
    if isinstance(rules, FindingRules):
        return "probabilities", "positive"
    return ("probabilities", "predicted", *(("prediction_set", "abstained") if rules.quantiles else ()))


def _predicted(own: Tensor, rules: Rules) -> Tensor:
    """The place of the predicted class; see `Rules`."""
    if len(rules.classes) == 2:
        return (own[1] >= (HALF if rules.threshold is None else rules.threshold)).to(torch.int64)
    if rules.threshold is None or rules.classes[0] != HEALTHY:
        return own.argmax()
    return torch.where(1 - own[0] >= rules.threshold, 1 + own[1:].argmax(), 0)
