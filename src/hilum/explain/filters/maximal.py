"""Receptive fields of maximal activation: where in a whole data set each filter of a layer fires most.

The seed report's task 4a: for a late layer, 5 filters x 10 images, the unit with the highest activation and
the pixels that it can see (Zeiler & Fergus, ECCV 2014, section 4.1, show nine images per filter). All filters
share one forward pass per image, which ends at the layer; images are streamed, so memory does not grow with the
data set; and the receptive field is exact (hilum.explain.network.receptive_field).

A border unit often wins because of the padding that it sees and not because of the image: `sees_padding` says
so for each field, and `margin` leaves border units out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.explain.filters.tally import Tally
from hilum.explain.network.convolutions import activated
from hilum.explain.network.frozen import frozen_copy
from hilum.explain.network.layers import last_layer
from hilum.explain.network.receptive_field import field_of
from hilum.explain.network.trunk import Trunk

RULES = ("distinct", "variance", "strength")


@dataclass(frozen=True)
class Maxima:
    """The `images` strongest answers of some filters, strongest first.

    `layer`: where they were read. `image` "filters images": number of the image in the stream, -1 where fewer
    images raise the filter above 0. `activation` float32 (NaN there); `unit` "filters images 2": row and
    column in the map; `box` "filters images 4": top, left, bottom, right in pixels, clipped to the image;
    `sees_padding`: whether the unit sees constant padding, too. `dead`: filters of the whole layer that never
    rise above 0 or answer the same to every image. `spread`, `peak` "all filters": variance over the images
    of the image's maximum, and the largest maximum. `maps`: rows and columns of the layer's maps. `images`: how
    many were read.
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


@torch.no_grad()
def maximal_activations(
    model: nn.Module,
    batches: Iterable[Float[Tensor, "_batch channels rows cols"]],
    layer: str | None = None,
    filters: Sequence[int] | None = None,
    images: int = 10,
    *,
    count: int = 5,
    rule: str = "distinct",
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
    >>> maxima = maximal_activations(net, [images], images=2)
    >>> maxima.filters, maxima.dead, maxima.image.tolist(), maxima.activation.tolist(), maxima.box[0, 1].tolist()
    ((0,), (1,), [[1, 0]], [[5.0, 1.0]], [0, 1, 2, 3])
    """
    _check_numbers(images=images, count=count, per_image=per_image, per_group=per_group)
    if rule not in RULES:
        raise RecipeError(f"filter rule {rule!r} is not known", nearest(rule, RULES))
    trunk, tally = _tallied(model, batches, layer, images, per_image, groups, per_group, margin, progress)
    dead = tally.dead()
    chosen = tally.choose(count, rule, dead) if filters is None else _checked(filters, tally, trunk.name)
    return _maxima(model, trunk, tally, chosen, dead, images)


def _tallied(
    model: nn.Module,
    batches: Iterable[Tensor],
    layer: str | None,
    images: int,
    per_image: int,
    groups: Sequence[str] | None,
    per_group: int | None,
    margin: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Trunk, Tally]:
    """Reads all images once."""
    trunk: Trunk | None = None
    tally: Tally | None = None
    total, done = 0 if groups is None else len(groups), 0
    for x in batches:
        trunk = trunk or _trunk(model, layer, x)
        maps = _maps(trunk, x)
        tally = tally or Tally(maps.shape[1], images, per_group)
        last = done + len(x)
        if groups is not None and last > total:
            raise DataError(f"there are more images than groups ({total})", "name a group per image")
        tally.add(maps, done, margin, per_image, None if groups is None else groups[done:last])
        done = last
        if progress is not None:
            progress(done, total)
    if trunk is None or tally is None:
        raise DataError("there is no image to read", "name a split that has cases")
    if groups is not None and done != total:
        raise DataError(f"there are {done} images for {total} groups", "name a group per image")
    return trunk, tally


def _check_numbers(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise RecipeError(f"{name} = {value} is not possible", "use 1 or more")


def _checked(filters: Sequence[int], tally: Tally, layer: str) -> tuple[int, ...]:
    for number in filters:
        if not 0 <= number < tally.filters:
            raise ModelError(
                f"layer {layer!r} has no filter {number}", f"it has {tally.filters}: 0 to {tally.filters - 1}"
            )
    return tuple(int(number) for number in filters)


def _trunk(model: nn.Module, layer: str | None, x: Tensor) -> Trunk:
    """The network up to the layer, on the device of the model and in its arithmetic."""
    frozen = frozen_copy(model)
    x = x[:1].to(next(iter(frozen.parameters()), torch.empty(0)))
    try:
        name = last_layer(frozen, x) if layer is None else activated(frozen, layer, x)
        return Trunk(frozen, name, x)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"the model can't take these images ({reason})", "prepare them for it") from None


def _maps(trunk: Trunk, x: Tensor) -> Tensor:
    """The layer's maps "batch filters rows cols", float32."""
    weight = next(iter(trunk.model.parameters()), torch.empty(0))
    maps = trunk.output(x.to(weight))
    if not isinstance(maps, Tensor) or maps.dim() != 4:
        raise ModelError(f"layer {trunk.name!r} gives no maps", "name a convolutional layer")
    if not maps.isfinite().all():
        raise ModelError(f"layer {trunk.name!r} gives values that are not finite", "train the model again")
    return maps.float()


def _maxima(
    model: nn.Module,
    trunk: Trunk,
    tally: Tally,
    chosen: tuple[int, ...],
    dead: tuple[int, ...],
    per_filter: int,
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
        tally.squares.diagonal() / tally.images,
        tally.highest,
        tally.size,
        tally.images,
    )
