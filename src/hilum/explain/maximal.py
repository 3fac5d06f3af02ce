"""Receptive fields of maximal activation: where in a whole data set each filter of a layer fires most.

The seed report's task 4a: for a late layer, 5 filters x 10 images, the unit with the highest activation and
the pixels that it can see (Zeiler & Fergus, ECCV 2014, section 4.1, show nine images per filter). All filters
share one forward pass per image, which ends at the layer; images are streamed, so memory does not grow with the
data set; and the receptive field is exact (hilum.explain.receptive_field).

A border unit often wins because of the padding that it sees and not because of the image: `sees_padding` says
so for each field, and `margin` leaves border units out.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.explain.cam import last_layer
from hilum.explain.graph import POINTWISE, fold_normalisations, record
from hilum.explain.receptive_field import check_layer, field_of, image_channels

RULES = ("distinct", "variance", "strength")
CONSTANT = 1e-6
"""A filter whose values spread less than this, relative to its largest, answers the same to every image."""


class ConvLayer(NamedTuple):
    """A convolution of a model: its name, number of filters, size of its maps, and how many rows and columns
    of the image the unit in the middle sees."""

    name: str
    filters: int
    maps: tuple[int, int]
    sees: tuple[int, int]


@dataclass(frozen=True)
class Maxima:
    """The `images` strongest answers of some filters, strongest first.

    `layer`: where they were read. `image` "filters images": number of the image in the stream, -1 where fewer
    images raise the filter above 0. `activation` float32 (NaN there); `unit` "filters images 2": row and
    column in the map; `box` "filters images 4": top, left, bottom, right in pixels, clipped to the image;
    `sees_padding`: whether the unit sees constant padding, too. `dead`: filters of the whole layer that never
    rise above 0 or answer the same to every image. `spread`, `peak` "all filters": variance over the images
    of the image's maximum, and the largest maximum. `maps`: rows and columns of the layer's maps. `images`: how
    many were looked at.
    """

    layer: str
    filters: tuple[int, ...]
    image: np.ndarray
    activation: np.ndarray
    unit: np.ndarray
    box: np.ndarray
    sees_padding: np.ndarray
    dead: tuple[int, ...]
    spread: np.ndarray
    peak: np.ndarray
    maps: tuple[int, int]
    images: int


def conv_layers(model: nn.Module, image_size: tuple[int, int]) -> list[ConvLayer]:
    """The convolutions of a model in the order in which they run.

    ModelError if it has none or can't take an image of `image_size` (rows, cols).

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 8, 3))
    >>> [(layer.name, layer.filters, layer.maps, layer.sees) for layer in conv_layers(net, (16, 20))]
    [('0', 4, (14, 18), (3, 3)), ('3', 8, (5, 7), (8, 8))]
    """
    found: list[tuple[str, torch.Size]] = []
    shapes = copy.deepcopy(model).to("meta").float().eval().requires_grad_(False)

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: found.append((name, output.shape))

    for name, module in shapes.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(keep(name))
    try:
        shapes(torch.empty(1, image_channels(model), *image_size, device="meta"))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"the model can't take an image of {image_size[0]} x {image_size[1]} px ({reason})",
            "give a size that fits",
        ) from None
    layers = []
    for name, shape in dict(found).items():
        box = field_of(model, name, image_size).box((shape[2] // 2, shape[3] // 2))
        sees = (box.bottom - box.top, box.right - box.left)
        layers.append(ConvLayer(name, shape[1], (shape[2], shape[3]), sees))
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
    shapes = copy.deepcopy(model).to("meta").float().eval().requires_grad_(False)
    for module in shapes.modules():
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 (torch's types allow modules and tensors only)
    calls, _, ends = record(shapes, torch.empty(1, *x.shape[1:], device="meta"))
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


@torch.no_grad()
def maximal_activations(
    model: nn.Module,
    batches: Iterable[Float[Tensor, "batch channels rows cols"]],
    layer: str | None = None,
    filters: Sequence[int] | None = None,
    images: int = 10,
    *,
    count: int = 5,
    rule: Literal["distinct", "variance", "strength"] = "distinct",
    per_image: int = 1,
    groups: Sequence[str] | None = None,
    per_group: int | None = None,
    margin: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Maxima:
    """The images and places where filters of a layer fire most; the model is not changed.

    `batches`: prepared images, in batches of any size, read once and in order; image 0 is the first.
    `layer`: a name in `model.named_modules()`, by default the last one with maps that is no pooling; the maps
    of a convolution are read behind its normalisation and activation. `filters`: numbers, or None for
    `count` filters that are not dead, by a rule on the image's maximum: the largest variance ("variance":
    filters that tell images apart), each time the largest variance that the filters picked before leave
    unexplained ("distinct": the first is the same, the others see something else), or the largest maximum
    ("strength"). `images`: how many per filter;
    `per_image`: positions per image at most; `groups`, `per_group`: the patient of each image, and how many
    images of a patient at most. `margin`: units left out along each side of the map. `progress` is called with
    (images done, images in all; 0 when that is not known, without `groups`).

    Errors: ModelError for an unknown layer (with the nearest name) or filter, a layer without maps, or
    activations that are not finite; RecipeError for numbers out of range; DataError for no images or `groups`
    of another length.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 2, bias=False), nn.ReLU())
    >>> net[0].weight.data = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[-1.0, 0.0], [0.0, 0.0]]]])
    >>> images = torch.tensor([[[[0.0, 1.0, 0.0]] * 3], [[[5.0, 1.0, 0.0]] * 3]])
    >>> found = maximal_activations(net, [images], images=2)
    >>> found.filters, found.dead, found.image.tolist(), found.activation.tolist(), found.box[0, 1].tolist()
    ((0,), (1,), [[1, 0]], [[5.0, 1.0]], [0, 1, 2, 3])
    """
    _check_numbers(images=images, count=count, per_image=per_image, per_group=per_group)
    if rule not in RULES:
        raise RecipeError(f"filter rule {rule!r} is not known", nearest(rule, RULES))
    trunk: _Trunk | None = None
    tally: _Tally | None = None
    done = 0
    for x in batches:
        if trunk is None:
            trunk = _Trunk(model, layer, x)
        maps = trunk.maps(x)
        if tally is None:
            tally = _Tally(maps.shape[1], images, per_group)
        if not maps.isfinite().all():
            raise ModelError(
                f"layer {trunk.name!r} gives values that are not finite", "train the model again"
            )
        last = done + len(x)
        if groups is not None and last > len(groups):
            raise DataError(f"there are more images than groups ({len(groups)})", "name a group per image")
        tally.add(maps, done, margin, per_image, groups[done:last] if groups is not None else None)
        done = last
        if progress is not None:
            progress(done, len(groups) if groups is not None else 0)
    if trunk is None or tally is None:
        raise DataError("there is no image to look at", "name a split that has cases")
    if groups is not None and done != len(groups):
        raise DataError(f"there are {done} images for {len(groups)} groups", "name a group per image")
    dead = tally.dead()
    chosen = tally.choose(count, rule, dead) if filters is None else _checked(filters, tally, trunk.name)
    return _found(model, trunk, tally, chosen, dead, images, done)


def _check_numbers(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise RecipeError(f"{name} = {value} is not possible", "use 1 or more")


def _checked(filters: Sequence[int], tally: "_Tally", layer: str) -> tuple[int, ...]:
    for number in filters:
        if not 0 <= number < tally.filters:
            raise ModelError(
                f"layer {layer!r} has no filter {number}", f"it has {tally.filters}: 0 to {tally.filters - 1}"
            )
    return tuple(int(number) for number in filters)


class _Reached(Exception):
    """Ends the forward pass: the layer's maps are there."""


class _Trunk:
    """A frozen copy of the network that runs up to one layer."""

    def __init__(self, model: nn.Module, layer: str | None, x: Tensor) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.weight = next(iter(self.model.parameters()), torch.empty(0))
        self.image_size = (x.shape[2], x.shape[3])
        x = x[:1].to(self.weight)
        try:
            self.name = last_layer(self.model, x) if layer is None else activated(model, layer, x)
            fold_normalisations(self.model, x, self.name)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"the model can't take these images ({reason})", "prepare them for it") from None
        self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.found: Tensor | None = None
        self.model.get_submodule(self.name).register_forward_hook(self._stop)

    def _stop(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        self.found = output
        raise _Reached

    def maps(self, x: Tensor) -> Tensor:
        """The layer's maps "batch filters rows cols", float32."""
        self.found = None
        with suppress(_Reached):
            self.model(x.to(self.weight, memory_format=torch.channels_last))
        if not isinstance(self.found, Tensor) or self.found.dim() != 4:
            raise ModelError(f"layer {self.name!r} gives no maps", "name a convolutional layer")
        return self.found.float()


class _Best(NamedTuple):
    """One answer of a filter."""

    activation: float
    image: int
    unit: int
    group: str


@dataclass
class _Tally:
    """What is kept of the images seen so far; its size does not depend on their number."""

    filters: int
    per_filter: int
    per_group: int | None
    best: list[list[_Best]] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    images: int = 0

    def __post_init__(self) -> None:
        self.best = [[] for _ in range(self.filters)]
        self.floor = np.zeros(self.filters)  # what an answer must exceed to be kept
        self.highest = np.full(self.filters, -np.inf)
        self.lowest = np.full(self.filters, np.inf)
        self.mean = np.zeros(self.filters)
        self.squares = np.zeros((self.filters, self.filters))

    def add(
        self, maps: Tensor, first: int, margin: int, per_image: int, groups: Sequence[str] | None
    ) -> None:
        """One batch; `first`: the number of its first image."""
        self.size = (maps.shape[2], maps.shape[3])
        if margin < 0 or 2 * margin >= min(self.size):
            raise RecipeError(
                f"a margin of {margin} units leaves nothing of maps of {self.size[0]} x {self.size[1]}",
                f"use 0 to {(min(self.size) - 1) // 2}",
            )
        inner = maps[:, :, margin : self.size[0] - margin, margin : self.size[1] - margin]
        flat = inner.flatten(2)
        if per_image == 1:
            values, units = (part[..., None] for part in flat.max(2))
        else:
            values, units = flat.topk(min(per_image, flat.shape[2]), 2)
        self._count(values[..., 0].double().cpu().numpy(), flat.amin((0, 2)).double().cpu().numpy())
        rows, cols = units // inner.shape[3] + margin, units % inner.shape[3] + margin
        found = values.cpu().numpy()
        places = (rows * self.size[1] + cols).cpu().numpy()
        for image, number, rank in np.argwhere(found > self.floor[None, :, None]):
            group = "" if groups is None else groups[int(image)]
            answer = _Best(
                float(found[image, number, rank]), first + int(image), int(places[image, number, rank]), group
            )
            self._insert(int(number), answer)

    def _count(self, peaks: np.ndarray, lowest: np.ndarray) -> None:
        """Mean and sums of products of the images' maxima (Chan et al. 1983), and the range."""
        new, total = len(peaks), self.images + len(peaks)
        step, centred = peaks.mean(0) - self.mean, peaks - peaks.mean(0)
        self.squares += centred.T @ centred + np.outer(step, step) * (self.images * new / total)
        self.mean += step * new / total
        self.images = total
        self.highest = np.maximum(self.highest, peaks.max(0))
        self.lowest = np.minimum(self.lowest, lowest)

    def _insert(self, number: int, answer: _Best) -> None:
        """Keeps the list the best possible one: an answer that was dropped could never come back."""
        kept = self.best[number]
        if answer.activation <= self.floor[number]:
            return
        if self.per_group is not None:
            same = [other for other in kept if other.group == answer.group]
            if len(same) >= self.per_group:
                if same[-1].activation >= answer.activation:
                    return
                kept.remove(same[-1])
        kept.append(answer)
        kept.sort(key=lambda one: (-one.activation, one.image, one.unit))
        del kept[self.per_filter :]
        if len(kept) == self.per_filter:
            self.floor[number] = max(kept[-1].activation, 0.0)

    def dead(self) -> tuple[int, ...]:
        """Filters that never rise above 0, or answer the same everywhere."""
        range_ = self.highest - self.lowest
        flat = range_ <= CONSTANT * np.maximum(np.abs(self.highest), np.abs(self.lowest))
        return tuple(np.flatnonzero((self.highest <= 0) | flat).tolist())

    def choose(self, count: int, rule: str, dead: tuple[int, ...]) -> tuple[int, ...]:
        """The filters that the rule picks, best first. ModelError if all are dead."""
        alive = np.setdiff1d(np.arange(self.filters), dead)
        if not alive.size:
            raise ModelError(
                "every filter of the layer is dead", "name another layer, or train the model again"
            )
        if rule == "distinct":
            return tuple(alive[_distinct(self.squares[np.ix_(alive, alive)], count)].tolist())
        worth = self.squares.diagonal() if rule == "variance" else self.highest
        return tuple(alive[np.argsort(-worth[alive], kind="stable")][:count].tolist())


def _distinct(covariance: np.ndarray, count: int) -> list[int]:
    """Numbers of the filters, each with the largest variance that is left when those before are regressed out
    (a pivoted Cholesky factorisation).

    >>> _distinct(np.array([[4.0, 3.9, 0.0], [3.9, 3.9, 0.0], [0.0, 0.0, 1.0]]), 2)
    [0, 2]
    """
    left = covariance.copy()
    chosen: list[int] = []
    for _ in range(min(count, len(left))):
        variance = left.diagonal().copy()
        variance[chosen] = -np.inf
        best = int(variance.argmax())
        chosen.append(best)
        if variance[best] > 0:
            left -= np.outer(left[:, best], left[best]) / variance[best]
    return chosen


def _found(
    model: nn.Module,
    trunk: _Trunk,
    tally: _Tally,
    chosen: tuple[int, ...],
    dead: tuple[int, ...],
    per_filter: int,
    images: int,
) -> Maxima:
    shape = (len(chosen), per_filter)
    image, unit, box = np.full(shape, -1), np.zeros((*shape, 2), np.int64), np.zeros((*shape, 4), np.int64)
    activation, padding = np.full(shape, np.nan, np.float32), np.zeros(shape, bool)
    fields = field_of(model, trunk.name, trunk.image_size)
    for i, number in enumerate(chosen):
        for j, answer in enumerate(tally.best[number]):
            place = divmod(answer.unit, tally.size[1])
            image[i, j], activation[i, j], unit[i, j] = answer.image, answer.activation, place
            box[i, j], padding[i, j] = fields.box(place), fields.sees_padding(place)
    return Maxima(
        trunk.name,
        chosen,
        image,
        activation,
        unit,
        box,
        padding,
        dead,
        tally.squares.diagonal() / images,
        tally.highest,
        tally.size,
        images,
    )
