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

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.explain.evidence import evidence, probability, subject
from hilum.explain.fills import fill_for
from hilum.explain.graph import Graph, follow
from hilum.explain.patches import Around, Bucket, Intervals, Pass, RowPlan, intervals
from hilum.explain.readout import Readout, readout_of

TITLE = "Occlusion"
SOURCE = "Zeiler & Fergus, ECCV 2014"
SIGNED = True

Engine = Literal["auto", "corner", "window", "plain"]
Output = Literal["probability", "logit", "evidence"]
SAME = 1e-3
"""Largest logit difference, relative to the largest logit, at which a followed network is the model."""
BUDGET = 1_500_000
"""Numbers in the largest input of one batch of patches: few enough to stay in the cache of a core."""
EFFICIENCY = {"plain": 1.0, "window": 0.8, "corner": 0.7}
"""Speed per multiply-add, relative to a full forward pass: small patches pay for copying (measured, CPU)."""


@dataclass(frozen=True)
class Masks:
    """Where the masks lie: `height` x `width` pixels, top-left corners at all pairs of `tops` and `lefts`."""

    height: int
    width: int
    tops: np.ndarray
    lefts: np.ndarray


def place_masks(size: tuple[int, int], mask: int | tuple[int, int], stride: int | tuple[int, int]) -> Masks:
    """All positions at which the mask lies inside an image of `size` (rows, cols), `stride` pixels apart.

    >>> masks = place_masks((200, 224), 90, 1)
    >>> len(masks.tops), len(masks.lefts)
    (111, 135)
    """
    sides = (mask, mask) if isinstance(mask, int) else tuple(mask)
    steps = (stride, stride) if isinstance(stride, int) else tuple(stride)
    for side, length in zip(sides, size, strict=True):
        if not 1 <= side <= length:
            raise RecipeError(
                f"a mask of {sides[0]} x {sides[1]} px does not fit an image of {size[0]} x {size[1]} px",
                f"use a mask of 1 to {min(size)} px",
            )
    if min(steps) < 1:
        raise RecipeError(f"an occlusion stride of {min(steps)} px is not possible", "use 1 or more")
    tops, lefts = (np.arange(0, size[i] - sides[i] + 1, steps[i]) for i in range(2))
    return Masks(sides[0], sides[1], tops, lefts)


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
    engine: Engine = "auto",
    output: Output = "probability",
    progress: Callable[[int, int], None] | None = None,
    into: Float[Tensor, "rows cols"] | None = None,
) -> Float[Tensor, "rows cols"]:
    """The probability of class `target` with a mask at each position; value (i, j) is the mask whose top-left
    pixel is (i * stride, j * stride).

    `model`: any network of images that returns logits "batch classes" (softmax gives the probabilities) or
    one logit (its sigmoid is the probability of target 0); it is not changed. `x`: one image, prepared as
    the model expects it. `mask`, `stride`: pixels, one number or (rows, cols). `fill`: the value under the
    mask, or an image like `x` that shows through (a blurred copy, the mean, noise). `dtype`: arithmetic of
    the maps, by default that of `x`; torch.bfloat16 is faster on processors that have it and moves
    probabilities by about 1e-3 (docs/explain.md has figures).

    `engine`: "auto" picks the one with the least work for this network and mask. All are exact. A network
    that can't be followed (see hilum.explain.graph) is run plainly, with a warning that names the layer.
    `output`: "probability", "logit", or "evidence" (the logit minus the mean of the other logits, see
    hilum.explain.evidence). `progress` is called with (masks done, masks in all). `into`: a float32 map like
    the result to be filled in; values that are already numbers, not NaN, are kept, so an unfinished map that
    was saved can be finished.

    Errors: RecipeError for a mask that does not fit, a stride below 1 or an unknown engine; DataError for
    an image or `fill` of another shape; ModelError for a class that the model does not have, or an engine
    that can't be used.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    >>> net[0].weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    >>> image = torch.tensor([[[4.0, 0.0], [0.0, 0.0]]])
    >>> occlusion_map(net, image, target=0, mask=1, output="logit")
    tensor([[0., 1.],
            [1., 1.]])
    """
    if x.dim() not in (3, 4) or (x.dim() == 4 and len(x) != 1):
        raise DataError(
            f"occlusion takes one image, not a tensor of shape {tuple(x.shape)}", "give one image"
        )
    x = x.detach().reshape(1, *x.shape[-3:])
    masks = place_masks((x.shape[2], x.shape[3]), mask, stride)
    filled = _filled(x, fill)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    classes = model(x).shape[1]
    if not 0 <= target < classes:
        raise ModelError(f"the model has no class {target}", f"it has {classes}: 0 to {classes - 1}")
    shape = (len(masks.tops), len(masks.lefts))
    values = torch.full(shape, float("nan"), device=x.device) if into is None else into
    if tuple(values.shape) != shape:
        raise DataError(f"the map to fill in has shape {tuple(values.shape)}", f"this one has {shape}")
    network = Network(model, x, filled, masks, dtype or x.dtype)
    columns = network.columns(network.choose(engine))
    for col in range(shape[1]):
        missing = values[:, col].isnan()
        if missing.any():
            scores = scored(columns(col), target, output).to(values)
            values[:, col] = torch.where(missing, scores, values[:, col])
        if progress is not None:
            progress((col + 1) * shape[0], values.numel())
    return values


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


def scored(logits: Tensor, target: int, output: str) -> Tensor:
    """One number "batch" per row of logits: see `occlusion_map`. RecipeError for an unknown output."""
    if output not in ("probability", "logit", "evidence"):
        raise RecipeError(
            f"output {output!r} is not known", nearest(output, ["probability", "logit", "evidence"])
        )
    if output == "probability":
        return probability(logits, target)
    return logits[:, target] if output == "logit" else evidence(logits, target)


# -- as an attribution method --------------------------------------------------------------------------------


def attribute(
    model: nn.Module,
    x: Float[Tensor, "batch channels rows cols"],
    target: int,
    mask: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: str | float = "zero",
    output: Output = "probability",
    dtype: torch.dtype | None = None,
    seed: int = 0,
) -> Float[Tensor, "batch rows cols"]:
    """By how much the probability of the class falls, on average over the masks that cover a pixel, -1 to 1.

    `mask`: by default a quarter of the shorter side; `stride`: by default a quarter of the mask. `fill`: a
    number in the units of the network or a name of hilum.explain.fills. `output`: what falls. `dtype`: see
    `occlusion_map`. `seed`: of the fill "noise". A pixel at the far border that no mask reaches has the value
    of its nearest covered neighbour. Errors: see `hilum.explain.explain` and `occlusion_map`.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, 0.0, 0.0, -1.0]])
    >>> attribute(net, torch.ones(1, 1, 1, 4), 0, mask=(1, 2), stride=(1, 1), fill=0.0, output="logit")
    tensor([[[ 2.0000,  1.0000, -0.5000, -1.0000]]])
    """
    asked = subject(model, x, target)
    size = (x.shape[2], x.shape[3])
    side = mask if mask is not None else max(1, min(size) // 4)
    step = stride if stride is not None else max(1, (side if isinstance(side, int) else min(side)) // 4)
    masks = place_masks(size, side, step)
    heat = []
    for image in asked.x.split(1):
        filled = fill_for(model, image, fill, seed) if isinstance(fill, str) else float(fill)
        found = occlusion_map(asked.model, image, target, side, step, filled, dtype, output=output)
        with torch.no_grad():
            whole = scored(asked.model(image), target, output)
        heat.append(spread(whole - found, masks, size))
    return torch.stack(heat)


def spread(
    values: Float[Tensor, "rows cols"], masks: Masks, size: tuple[int, int]
) -> Float[Tensor, "image_rows image_cols"]:
    """One value per mask -> the mean, at each pixel, of the values of the masks that cover it.

    Pixels that no mask covers (behind the last position, or between masks of a stride above their size) get
    the value of the nearest covered pixel.

    >>> spread(torch.tensor([[1.0, 3.0]]), place_masks((1, 6), (1, 3), (1, 2)), (1, 6))
    tensor([[1., 1., 2., 3., 3., 3.]])
    """
    tables = []
    for what in (values.double(), torch.ones_like(values, dtype=torch.float64)):
        corners = torch.zeros(size[0] + 1, size[1] + 1, dtype=torch.float64, device=values.device)
        tops, lefts = torch.from_numpy(masks.tops)[:, None], torch.from_numpy(masks.lefts)
        for down, right, sign in (
            (0, 0, 1),
            (masks.height, 0, -1),
            (0, masks.width, -1),
            (masks.height, masks.width, 1),
        ):
            where = (tops.to(values.device) + down, lefts.to(values.device) + right)
            corners.index_put_(where, sign * what, accumulate=True)
        tables.append(corners.cumsum(0).cumsum(1)[:-1, :-1])
    total, count = tables
    rows, cols = (
        _nearest_covered(masks.tops, masks.height, size[0]),
        _nearest_covered(masks.lefts, masks.width, size[1]),
    )
    return (total / count.clamp_min(1))[rows.to(values.device)][:, cols.to(values.device)].float()


def _nearest_covered(begins: np.ndarray, length: int, size: int) -> Tensor:
    """For each of `size` positions the nearest one that lies in an interval [begin, begin + length)."""
    covered = np.unique(begins[:, None] + np.arange(length))
    return torch.from_numpy(covered[np.abs(np.arange(size)[:, None] - covered).argmin(1)])


@dataclass
class _Reach:
    """Along one axis, what the masks reach in each map: at their beginning, at their end, and altogether."""

    begin: Intervals
    end: Intervals
    both: Intervals

    def apart(self) -> np.ndarray:
        """For each mask, whether in every map what reads across its beginning never reads across its end."""
        return np.logical_and.reduce(
            [begin[1] <= end[0] for begin, end in zip(self.begin, self.end, strict=True)]
        )

    def only(self, which: np.ndarray) -> "_Reach":
        """The same for some of the masks."""
        parts = (
            [(low[which], high[which]) for low, high in found] for found in (self.begin, self.end, self.both)
        )
        return _Reach(*parts)


def _total(found: Intervals, k: int) -> int:
    """Positions of map k in all intervals together."""
    return int((found[k][1] - found[k][0]).sum())


def _widest(found: Intervals) -> list[int]:
    return [int((end - begin).max()) for begin, end in found]


def _at(found: Intervals, i: int) -> list[tuple[int, int]]:
    """The intervals of variant i."""
    return [(int(begin[i]), int(end[i])) for begin, end in found]


class Network:
    """One network, image and grid of masks, with the engines that can be used on them."""

    def __init__(self, model: nn.Module, x: Tensor, filled: Tensor, masks: Masks, dtype: torch.dtype) -> None:
        self.model, self.x, self.filled, self.masks, self.dtype = model, x, filled, masks, dtype
        self.graph = follow(model, x)
        self.obstacle = self.graph.obstacle or self._unfaithful()
        if self.obstacle:
            return
        self.readout = readout_of(self.graph, x.dtype)
        self.graph.cast(dtype, torch.cat([x, filled]))
        self.rows = self._reach(0, masks.tops, masks.height)
        self.cols = self._reach(1, masks.lefts, masks.width)

    def _unfaithful(self) -> str:
        """Compares the followed network with the model on two images at once."""
        pair = torch.cat([self.x.flip(3), self.filled + self.x.flip(2)])
        try:
            got = self.graph.finish(self.graph.maps(pair)[-1])
        except RuntimeError as error:
            return f"it can't be replayed on two images ({str(error).splitlines()[0]})"
        wanted = self.model(pair)
        if got.shape == wanted.shape and (got - wanted).abs().max() <= SAME * wanted.abs().max():
            return ""
        return "its layers depend on the image in a way that can't be followed"

    def _reach(self, axis: int, begin: np.ndarray, length: int) -> "_Reach":
        return _Reach(
            intervals(self.graph, axis, begin, begin),
            intervals(self.graph, axis, begin + length, begin + length),
            intervals(self.graph, axis, begin, begin + length),
        )

    # -- choosing --------------------------------------------------------------------------------------------

    def choose(self, engine: str) -> str:
        """The engine to use; RecipeError or ModelError for one that is unknown or impossible here."""
        if engine not in ("auto", *EFFICIENCY):
            raise RecipeError(
                f"occlusion engine {engine!r} is not known", nearest(engine, ["auto", *EFFICIENCY])
            )
        reasons = self.impossible()
        if engine in reasons:
            raise ModelError(f"the {engine} engine can't be used: {reasons[engine]}", "use engine='auto'")
        if engine != "auto":
            return engine
        if self.obstacle:
            warnings.warn(f"occlusion runs plainly: {self.obstacle}", stacklevel=3)
            return "plain"
        work = self.multiply_adds()
        return min(
            (name for name in work if name not in reasons), key=lambda name: work[name] / EFFICIENCY[name]
        )

    def impossible(self) -> dict[str, str]:
        """Engines that can't be used, with the reason."""
        if self.obstacle:
            return {"corner": self.obstacle, "window": self.obstacle}
        if self.readout is None:
            return {
                "corner": "the head begins neither with global average pooling nor with flatten and dense"
            }
        return {}

    def multiply_adds(self) -> dict[str, float]:
        """Work per engine for the whole map. Activations and pooling count a little as well."""
        n_masks = len(self.masks.tops) * len(self.masks.lefts)
        good_rows, good_cols = self.rows.only(self.rows.apart()), self.cols.only(self.cols.apart())
        macs = dict.fromkeys(EFFICIENCY, 0.0)
        for k in range(1, self.graph.last + 1):
            step = self.graph.steps[k]
            rows, cols = step.size
            edge_rows = _total(good_rows.begin, k) + _total(good_rows.end, k)
            edge_cols = _total(good_cols.begin, k) + _total(good_cols.end, k)
            corners = edge_rows * edge_cols + edge_rows * cols + edge_cols * rows
            window = _total(self.rows.both, k) * _total(self.cols.both, k)
            by_corners = _total(good_rows.both, k) * _total(good_cols.both, k)
            macs["plain"] += step.cost * rows * cols * n_masks
            macs["window"] += step.cost * window
            macs["corner"] += step.cost * (corners + window - by_corners)
        return macs

    # -- engines: each gives the logits of all masks in one column of positions ------------------------------

    def columns(self, engine: str) -> Callable[[int], Tensor]:
        """A function from the number of a column to logits "masks classes"."""
        if engine == "window":
            return self._window(np.ones(len(self.masks.tops), dtype=bool))
        return self._corner() if engine == "corner" else self._plain()

    def _plain(self) -> Callable[[int], Tensor]:
        masks = self.masks
        batch = 4 if self.x.device.type == "cpu" else 128
        model = self.model if not self.obstacle else copy.deepcopy(self.model).to(self.dtype)

        def column(col: int) -> Tensor:
            left = masks.lefts[col]
            logits = []
            for tops in np.array_split(masks.tops, -(-len(masks.tops) // batch)):
                x = self.x.repeat(len(tops), 1, 1, 1)
                for i, top in enumerate(tops):
                    part = (..., slice(top, top + masks.height), slice(left, left + masks.width))
                    x[i][part] = self.filled[0][part]
                x = x.to(self.dtype, memory_format=torch.channels_last)
                if self.obstacle:
                    logits.append(model(x).to(self.x.dtype))
                else:
                    logits.append(self.graph.finish(self.graph.maps(x)[-1].to(self.x.dtype)))
            return torch.cat(logits)

        return column

    def _maps(self, x: Tensor) -> list[Tensor]:
        """All maps "rows cols channels" of one image."""
        x = x.to(self.dtype, memory_format=torch.channels_last)
        return [maps[0].permute(1, 2, 0).contiguous() for maps in self.graph.maps(x)]

    def _window(self, which: np.ndarray) -> Callable[[int], Tensor]:
        """For the masks in the rows `which` (true or false per row)."""
        maps = self._maps(self.x)
        under = self.filled[0].permute(1, 2, 0).to(self.dtype)
        plan = RowPlan(self.graph, self.rows.only(which).both, _widest(self.cols.both), BUDGET, self.x.device)
        around = Around(maps, maps, maps, maps)
        last, final = self.graph.last, maps[self.graph.last]

        def column(col: int) -> Tensor:
            cols = _at(self.cols.both, col)
            run = Pass(plan, cols)
            logits: list[Tensor] = [torch.empty(0)] * int(which.sum())
            for bucket in plan.buckets:
                image = under[:, slice(*cols[0])][bucket.rows[0]]
                patch = run.run(bucket, around, image)[last]
                variants = final.repeat(len(patch), 1, 1, 1)
                index = torch.arange(len(patch), device=patch.device)[:, None]
                variants[:, :, slice(*cols[last])][index, bucket.rows[last]] = patch
                found = self.graph.finish(variants.permute(0, 3, 1, 2).to(self.x.dtype))
                for i, row in zip(bucket.which, found, strict=True):
                    logits[i] = row
            return torch.stack(logits)

        return column

    def _corner(self) -> Callable[[int], Tensor]:
        """Corners where opposite edges of a mask stay apart in every map, windows elsewhere.

        At the top and left border of the image they always do: nothing reads across the beginning there.
        """
        assert self.readout is not None
        rows, cols = self.rows.apart(), self.cols.apart()
        if not (rows.any() and cols.any()):
            return self._window(np.ones_like(rows))
        clear, full = self._maps(self.x), self._maps(self.filled)
        corner = Corner(self.graph, self.readout, clear, full, self.rows.only(rows), self.cols)
        whole = None if cols.all() else self._window(np.ones_like(rows))
        others = None if rows.all() else self._window(~rows)

        def column(col: int) -> Tensor:
            if whole is not None and not cols[col]:
                return whole(col)
            found = corner(col)
            if others is None:
                return found
            logits = found.new_empty(len(rows), found.shape[1])
            logits[torch.from_numpy(rows)] = found
            logits[torch.from_numpy(~rows)] = others(col)
            return logits

        return column


class Corner:
    """The corner engine. `clear` and `full`: the maps of the image and of the image masked everywhere.

    Strips: what reads across one long edge of a mask that spans the image; horizontal ones are made once
    for all masks, vertical ones once per column of masks. Four kinds of corners: the mask lies below or
    above the horizontal edge, and to the right or to the left of the vertical one.
    """

    def __init__(
        self,
        graph: Graph,
        readout: Readout,
        clear: list[Tensor],
        full: list[Tensor],
        rows: _Reach,
        cols: _Reach,
    ) -> None:
        self.graph, self.readout, self.clear, self.full = graph, readout, clear, full
        self.rows, self.cols = rows, cols
        self.device = clear[0].device
        widths = [max(a, b) for a, b in zip(_widest(cols.begin), _widest(cols.end), strict=True)]
        self.top = RowPlan(graph, rows.begin, widths, BUDGET, self.device)
        self.bottom = RowPlan(graph, rows.end, widths, BUDGET, self.device)
        steps = graph.steps[: graph.last + 1]
        every_row = [(np.array([0]), np.array([step.size[0]])) for step in steps]
        self.all_rows = RowPlan(graph, every_row, widths, BUDGET, self.device)
        self.top_strips = self._horizontal(self.top, clear, full)
        self.bottom_strips = self._horizontal(self.bottom, full, clear)
        self.left = [torch.empty_like(maps) for maps in clear]
        self.right = [torch.empty_like(maps) for maps in clear]
        self.clear_sums = _table(readout.cells(clear[-1], 0, 0))
        self.full_sums = _table(readout.cells(full[-1], 0, 0))
        self.top_sums = self._strip_sums(self.top, self.top_strips)
        self.bottom_sums = self._strip_sums(self.bottom, self.bottom_strips)

    def _horizontal(self, plan: RowPlan, above: list[Tensor], below: list[Tensor]) -> list[list[Tensor]]:
        """Per bucket, the strips of all maps."""
        cols = [(0, step.size[1]) for step in self.graph.steps[: self.graph.last + 1]]
        run = Pass(plan, cols)
        around = Around(above, below, above, below)
        image = above[0]
        return [
            run.run(bucket, around, image.new_empty(len(bucket.which), 0, *image.shape[1:]))
            for bucket in plan.buckets
        ]

    def _vertical(
        self, cols: list[tuple[int, int]], left: list[Tensor], right: list[Tensor], into: list[Tensor]
    ) -> None:
        """All maps of the image with everything on one side of a vertical edge masked."""
        run = Pass(self.all_rows, cols)
        height, _, channels = left[0].shape
        image = left[0].new_empty(1, height, 0, channels)
        patches = run.run(self.all_rows.buckets[0], Around(left, left, left, right), image)
        for maps, patch, (begin, end), before, after in zip(into, patches, cols, left, right, strict=True):
            maps[:, :begin] = before[:, :begin]
            maps[:, begin:end] = patch[0]
            maps[:, end:] = after[:, end:]

    def _strip_sums(self, plan: RowPlan, strips: list[list[Tensor]]) -> Tensor:
        """Sums "masks cols+1 numbers" over the strips of the last map, up to each column."""
        found: list[Tensor] = [torch.empty(0)] * len(plan.found[-1][0])
        for bucket, patches in zip(plan.buckets, strips, strict=True):
            columns = self.readout.columns(_inside(plan, bucket, patches[-1]), bucket.rows[-1], 0)
            for i, sums in zip(bucket.which, columns.double().cumsum(1), strict=True):
                found[i] = sums
        return torch.nn.functional.pad(torch.stack(found), (0, 0, 1, 0))

    def __call__(self, col: int) -> Tensor:
        """Logits "masks classes" of all masks in one column of mask positions."""
        begin, end = _at(self.cols.begin, col), _at(self.cols.end, col)
        self._vertical(begin, self.clear, self.full, self.left)
        self._vertical(end, self.full, self.clear, self.right)
        sums = self._shared_sums(begin[-1], end[-1])
        clear, left, right = self.clear, self.left, self.right
        top, bottom = self.top_strips, self.bottom_strips
        self._add_corners(sums, self.top, begin, clear, left, None, top)
        self._add_corners(sums, self.top, end, clear, right, top, None)
        self._add_corners(sums, self.bottom, begin, left, clear, None, bottom)
        self._add_corners(sums, self.bottom, end, right, clear, bottom, None)
        return self.graph.finish_from(self.readout.known(sums))

    def _shared_sums(self, begin: tuple[int, int], end: tuple[int, int]) -> Tensor:
        """Sums "masks numbers" over the last map, all but the four corners of each mask."""
        (u0, u1), (v0, v1) = begin, end
        s0, s1, t0, t1 = (
            torch.from_numpy(edge).to(self.device) for edge in (*self.rows.begin[-1], *self.rows.end[-1])
        )
        sums = self.clear_sums[-1, -1] - _rectangle(self.clear_sums, s0, t1, u0, v1)
        sums += _rectangle(self.full_sums, s1, t0, u1, v0)
        for table in (self.top_sums, self.bottom_sums):
            sums += table[:, v0] - table[:, u1]
        for maps, (c0, c1) in ((self.left, begin), (self.right, end)):
            table = _table(self.readout.cells(maps[-1][:, c0:c1], 0, c0))[:, -1]
            sums += table[t0] - table[s1]
        return sums

    def _add_corners(
        self,
        sums: Tensor,
        plan: RowPlan,
        cols: list[tuple[int, int]],
        above: list[Tensor],
        below: list[Tensor],
        left: list[list[Tensor]] | None,
        right: list[list[Tensor]] | None,
    ) -> None:
        """Adds one kind of corner of all masks; `left`, `right` are strips per bucket, None for the image."""
        run = Pass(plan, cols)
        channels = self.clear[0].shape[2]
        for i, bucket in enumerate(plan.buckets):
            around = Around(above, below, left[i] if left else self.clear, right[i] if right else self.clear)
            image = self.clear[0].new_empty(len(bucket.which), 0, 0, channels)
            patch = _inside(plan, bucket, run.run(bucket, around, image)[-1])
            found = self.readout.columns(patch, bucket.rows[-1], cols[-1][0]).double().sum(1)
            sums[torch.from_numpy(bucket.which).to(self.device)] += found


def _inside(plan: RowPlan, bucket: Bucket, patch: Tensor) -> Tensor:
    """A patch of the last map with zeros in the rows that a box has beyond its own interval."""
    begin, end = (torch.from_numpy(edge[bucket.which]).to(patch.device) for edge in plan.found[-1])
    rows = bucket.rows[-1]
    inside = (rows >= begin[:, None]) & (rows < end[:, None])
    return patch if bool(inside.all()) else patch * inside[:, :, None, None]


def _table(cells: Tensor) -> Tensor:
    """Sums "rows+1 cols+1 numbers" over all rectangles that begin at (0, 0), in float64."""
    return torch.nn.functional.pad(cells.double().cumsum(0).cumsum(1), (0, 0, 1, 0, 1, 0))


def _rectangle(table: Tensor, top: Tensor, bottom: Tensor, left: int, right: int) -> Tensor:
    """Sums "masks numbers" over rows [top, bottom) of each mask and columns [left, right)."""
    strip = table[:, right] - table[:, left]
    return strip[bottom] - strip[top]
