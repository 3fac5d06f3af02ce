"""Occlusion maps, exact and fast: the probability of a class with a square mask at every position.

Zeiler & Fergus, ECCV 2014 (arXiv:1311.2901), slide a mask over the image and run the network on every
masked copy. Three engines give the same map:

- plain: that, in batches;
- window: every map is recomputed only where the mask can reach it (Nakandala et al., Krypton, SIGMOD 2019);
- corner: near one edge of the mask and away from its corners, a map depends only on where that edge lies,
  so one pass per edge position serves all masks; inside the mask it equals the map of the fully masked
  image, outside that of the image. Only the four corner patches are new per mask. The vector behind the
  last map is a sum over positions, so it is put together from prefix sums.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError
from hilum.explain.evidence import check_class, scored
from hilum.explain.network.frozen import frozen_copy
from hilum.explain.occlusion.engines import Network
from hilum.explain.occlusion.masks import Masks, place_masks
from hilum.explain.occlusion.spot_check import spot_check


@torch.no_grad()
def occlusion_map(
    model: nn.Module,
    x: Float[Tensor, "*batch channels image_rows image_cols"],
    target: int,
    mask: int | tuple[int, int] = 90,
    stride: int | tuple[int, int] = 1,
    fill: float | Tensor = 0.0,
    dtype: torch.dtype | None = None,
    *,
    engine: str = "auto",
    output: str = "probability",
    progress: Callable[[int, int], None] | None = None,
    into: Float[Tensor, "rows cols"] | None = None,
) -> Float[Tensor, "rows cols"]:
    """The probability of class `target` with a mask at each position; value (i, j) is the mask whose top-left
    pixel is (i * stride, j * stride).

    `model`: any network of images that returns logits "batch classes" (softmax gives the probabilities) or
    one logit, "batch 1" or "batch" (its sigmoid is the probability of target 0); it is not changed. `x`: one
    image, prepared as the model expects it. `mask`, `stride`: pixels, one number or (rows, cols). `fill`: what shows
    under the mask, a number or an image like `x` (a blurred copy, the mean, noise). `dtype`: arithmetic of
    the maps, by default that of `x`; torch.bfloat16 is faster on processors that have it and moves
    probabilities by about 1e-3 (docs/explain.md has figures).

    `engine`: "auto" picks the one with the least work for this network and mask. All are exact. A network
    that can't be followed (see hilum.explain.network.graph) is run plainly, with a warning that names the layer. A few
    positions are compared with one masked image at a time; where they differ (the network branches on its values),
    all are computed so, with a warning.
    `output`: "probability", "logit", or "evidence" (the logit minus the mean of the other logits, see
    hilum.explain.evidence). `progress` is called with (masks done, masks in all). `into`: a float32 map like
    the result to be filled in; values that are already numbers, not NaN, are kept, so an unfinished map that
    was saved can be finished.

    Errors: RecipeError for a mask that does not fit, a stride below 1 or an unknown engine; DataError for
    an image or `fill` of another shape; ModelError for a class that the model does not have, or an engine
    that can't be used, and for one that does not return logits or takes more than images.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> net[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    >>> image = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    >>> occlusion_map(net, image, target=0, mask=1, output="logit")
    tensor([[0., 1.],
            [1., 1.]])
    """
    x = _one_image(x)
    masks = place_masks((x.shape[2], x.shape[3]), mask, stride)
    filled = _filled(x, fill)
    model = frozen_copy(model)
    check_class(model, x, target)
    values = _empty(masks, x, into)
    fresh = values.isnan()
    network = Network(model, x, filled, masks, dtype or x.dtype)
    chosen = network.choose(engine)

    def fill_in(columns: Callable[[int], Tensor]) -> None:
        for col in range(values.shape[1]):
            missing = values[:, col].isnan()
            if missing.any():
                scores = scored(columns(col), target, output).to(values)
                values[:, col] = torch.where(missing, scores, values[:, col])
            if progress is not None:
                progress((col + 1) * values.shape[0], values.numel())

    fill_in(network.columns(chosen))
    apart = spot_check(network, values, fresh, lambda logits: scored(logits, target, output))
    if apart:
        _refuse_or_warn(engine, chosen, apart)
        values[fresh] = float("nan")
        fill_in(network.one_by_one())
    return values


def _refuse_or_warn(engine: str, chosen: str, apart: float) -> None:
    """ModelError where the caller asked for the engine that gave another map."""
    what = f"the network computes some masked images in another way, which moved a value by {apart:.2g}"
    if engine == chosen and engine != "plain":
        raise ModelError(f"the {engine} engine can't be used: {what}", "use engine='auto'")
    warnings.warn(f"occlusion runs plainly, one image at a time: {what}", stacklevel=3)


def _one_image(x: Tensor) -> Tensor:
    if x.dim() not in (3, 4) or (x.dim() == 4 and len(x) != 1):
        raise DataError(
            f"occlusion takes one image, not a tensor of shape {tuple(x.shape)}", "give one image"
        )
    return x.detach().reshape(1, *x.shape[-3:])


def _empty(masks: Masks, x: Tensor, into: Tensor | None) -> Tensor:
    """The map to fill in, NaN where nothing is computed yet."""
    shape = (len(masks.tops), len(masks.lefts))
    if into is None:
        return torch.full(shape, float("nan"), device=x.device)
    if tuple(into.shape) != shape:
        raise DataError(f"the map to fill in has shape {tuple(into.shape)}", f"this one has {shape}")
    return into


def _filled(x: Tensor, fill: float | Tensor) -> Tensor:
    """The image that shows under the mask."""
    if isinstance(fill, (int, float)):
        return torch.full_like(x, float(fill))
    try:
        return fill.to(x).expand_as(x).clone()
    except RuntimeError:
        raise DataError(
            f"a fill of shape {tuple(fill.shape)} does not fit an image of shape {tuple(x.shape[1:])}",
            "give a number or an image of the same shape",
        ) from None
