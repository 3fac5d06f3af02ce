"""The engines of an occlusion map on one network, image and grid of masks; see `occlusion_map`."""

import copy
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from hilum.errors import ModelError, RecipeError, nearest
from hilum.explain.network.graph import follow
from hilum.explain.occlusion.corner import Corner
from hilum.explain.occlusion.masks import Masks
from hilum.explain.occlusion.patches import (
    BUDGET,
    Around,
    Pass,
    Reach,
    RowPlan,
    columns_of,
    intervals,
    total,
    widest,
)
from hilum.explain.occlusion.readout import readout_of

SAME = 1e-3
"""Largest logit difference, relative to the largest logit, at which a followed network is the model."""
EFFICIENCY = {"plain": 1.0, "window": 0.8, "corner": 0.7}
"""Speed per multiply-add, relative to a full forward pass: small patches pay for copying (measured, CPU)."""


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

    def _reach(self, axis: int, begin: np.ndarray, length: int) -> "Reach":
        return Reach(
            intervals(self.graph, axis, begin, begin),
            intervals(self.graph, axis, begin + length, begin + length),
            intervals(self.graph, axis, begin, begin + length),
        )

    # -- choosing --------------------------------------------------------------------------------------------

    def choose(self, engine: str) -> str:
        """The engine to use; RecipeError or ModelError for one that is unknown or impossible here.

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 32, 32)
        >>> Network(net, x, x + 1, place_masks((32, 32), 16, 1), x.dtype).choose("auto")
        'corner'
        """
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
        """Engines that can't be used, with the reason.

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 6), nn.Flatten()).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 8, 8)
        >>> sorted(Network(net, x, x + 1, place_masks((8, 8), 4, 1), x.dtype).impossible())
        ['corner']
        """
        if self.obstacle:
            return {"corner": self.obstacle, "window": self.obstacle}
        if self.readout is None:
            return {
                "corner": "the head begins neither with global average pooling nor with flatten and dense"
            }
        return {}

    def multiply_adds(self) -> dict[str, float]:
        """Work per engine for the whole map. Activations and pooling count a little as well.

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 32, 32)
        >>> work = Network(net, x, x + 1, place_masks((32, 32), 16, 1), x.dtype).multiply_adds()
        >>> work["corner"] < work["window"] < work["plain"]
        True
        """
        n_masks = len(self.masks.tops) * len(self.masks.lefts)
        good_rows, good_cols = self.rows.only(self.rows.apart()), self.cols.only(self.cols.apart())
        macs = dict.fromkeys(EFFICIENCY, 0.0)
        for k in range(1, self.graph.last + 1):
            step = self.graph.steps[k]
            rows, cols = step.size
            edge_rows = total(good_rows.begin, k) + total(good_rows.end, k)
            edge_cols = total(good_cols.begin, k) + total(good_cols.end, k)
            corners = edge_rows * edge_cols + edge_rows * cols + edge_cols * rows
            window = total(self.rows.both, k) * total(self.cols.both, k)
            by_corners = total(good_rows.both, k) * total(good_cols.both, k)
            macs["plain"] += step.cost * rows * cols * n_masks
            macs["window"] += step.cost * window
            macs["corner"] += step.cost * (corners + window - by_corners)
        return macs

    # -- engines: each gives the logits of all masks in one column of positions ------------------------------

    def columns(self, engine: str) -> Callable[[int], Tensor]:
        """A function from the number of a column to logits "masks classes".

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> layers = nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        >>> net = nn.Sequential(*layers).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 8, 8)
        >>> Network(net, x, x + 1, place_masks((8, 8), 4, 1), x.dtype).columns("window")(0).shape
        torch.Size([5, 2])
        """
        if engine == "window":
            return self._window(np.ones(len(self.masks.tops), dtype=bool))
        return self._corner() if engine == "corner" else self._plain()

    def one_by_one(self) -> Callable[[int], Tensor]:
        """The model itself on one masked image at a time, in the dtype of the image: as `columns`.

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 8, 8)
        >>> Network(net, x, x + 1, place_masks((8, 8), 4, 1), x.dtype).one_by_one()(0).shape
        torch.Size([5, 2])
        """

        def column(col: int) -> Tensor:
            rows = range(len(self.masks.tops))
            return torch.cat([self.model(self.masked(row, col)) for row in rows])

        return column

    def masked(self, row: int, col: int) -> Tensor:
        """The image with the mask at one position, "1 channels rows cols".

        >>> from hilum.explain.occlusion.masks import place_masks
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)
        >>> x = torch.zeros(1, 1, 3, 3)
        >>> Network(net, x, x + 1, place_masks((3, 3), 2, 1), x.dtype).masked(1, 0)[0, 0].tolist()
        [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]
        """
        x, top, left = self.x.clone(), int(self.masks.tops[row]), int(self.masks.lefts[col])
        part = (..., slice(top, top + self.masks.height), slice(left, left + self.masks.width))
        x[part] = self.filled[part]
        return x

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
        plan = RowPlan(self.graph, self.rows.only(which).both, widest(self.cols.both), BUDGET, self.x.device)
        around = Around(maps, maps, maps, maps)
        last, final = self.graph.last, maps[self.graph.last]

        def column(col: int) -> Tensor:
            cols = columns_of(self.cols.both, col)
            run = Pass(plan, cols)
            logits: list[Tensor] = [torch.empty(0)] * int(which.sum())
            for bucket in plan.buckets:
                image = under[:, slice(*cols[0])][bucket.rows[0]]
                patch = run.run(bucket, around, image)[last]
                variants = final.repeat(len(patch), 1, 1, 1)
                index = torch.arange(len(patch), device=patch.device)[:, None]
                variants[:, :, slice(*cols[last])][index, bucket.rows[last]] = patch
                answers = self.graph.finish(variants.permute(0, 3, 1, 2).to(self.x.dtype))
                for i, row in zip(bucket.which, answers, strict=True):
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
            answers = corner(col)
            if others is None:
                return answers
            logits = answers.new_empty(len(rows), answers.shape[1])
            logits[torch.from_numpy(rows)] = answers
            logits[torch.from_numpy(~rows)] = others(col)
            return logits

        return column
