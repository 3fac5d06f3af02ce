"""The corner engine of occlusion maps: strips along the edges of a mask are shared, its four corners are new."""

import numpy as np
import torch
from torch import Tensor

from hilum.explain.network.graph import Graph
from hilum.explain.occlusion.patches import BUDGET, Around, Bucket, Pass, Reach, RowPlan, columns_of, widest
from hilum.explain.occlusion.readout import Readout


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
        rows: Reach,
        cols: Reach,
    ) -> None:
        self.graph, self.readout, self.clear, self.full = graph, readout, clear, full
        self.rows, self.cols = rows, cols
        self.device = clear[0].device
        widths = [max(a, b) for a, b in zip(widest(cols.begin), widest(cols.end), strict=True)]
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
        totals: list[Tensor] = [torch.empty(0)] * len(plan.intervals[-1][0])
        for bucket, patches in zip(plan.buckets, strips, strict=True):
            columns = self.readout.columns(_inside(plan, bucket, patches[-1]), bucket.rows[-1], 0)
            for i, sums in zip(bucket.which, columns.double().cumsum(1), strict=True):
                totals[i] = sums
        return torch.nn.functional.pad(torch.stack(totals), (0, 0, 1, 0))

    def __call__(self, col: int) -> Tensor:
        """Logits "masks classes" of all masks in one column of mask positions."""
        begin, end = columns_of(self.cols.begin, col), columns_of(self.cols.end, col)
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
            part = self.readout.columns(patch, bucket.rows[-1], cols[-1][0]).double().sum(1)
            sums[torch.from_numpy(bucket.which).to(self.device)] += part


def _inside(plan: RowPlan, bucket: Bucket, patch: Tensor) -> Tensor:
    """A patch of the last map with zeros in the rows that a box has beyond its own interval."""
    begin, end = (torch.from_numpy(edge[bucket.which]).to(patch.device) for edge in plan.intervals[-1])
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
