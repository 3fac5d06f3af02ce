"""Computing only a part of each map of a network, the rest being known.

A pass handles many variants of one image at once. In each variant a box of every map is new; above, below,
left and right of the box the values are those of other images whose maps are already there. All variants of
a pass have the same columns; their rows differ. Maps are "rows cols channels", patches "variants rows cols
channels".
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hilum.explain.network.axis import NOWHERE
from hilum.explain.network.graph import Graph

BUDGET = 1_500_000
"""Numbers in the largest input of one batch of patches: few enough to stay in the cache of a core."""

Intervals = list[tuple[np.ndarray, np.ndarray]]
"""Per step, the positions [begin, end) along one axis, one pair of numbers per variant."""


def intervals(graph: Graph, axis: int, begin: np.ndarray, end: np.ndarray) -> Intervals:
    """What reads the pixels [begin, end) in every map; for begin == end, what reads both sides of a cut.

    >>> from hilum.explain.network.graph import follow
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.AdaptiveAvgPool2d(1))
    >>> graph = follow(net, torch.zeros(1, 1, 5, 5))
    >>> intervals(graph, 0, np.array([3]), np.array([4]))
    [(array([3]), array([4])), (array([1]), array([3]))]
    """
    reached: Intervals = [(np.asarray(begin), np.asarray(end))]
    for step in graph.steps[1 : graph.last + 1]:
        reached.append(step.reached(axis, [reached[i] for i in step.inputs]))
    return reached


@dataclass
class Reach:
    """Along one axis, what the masks reach in each map: at their beginning, at their end, and altogether."""

    begin: Intervals
    end: Intervals
    both: Intervals

    def apart(self) -> np.ndarray:
        """For each mask, whether in every map what reads across its beginning never reads across its end.

        >>> begin, end = [(np.array([0, 0]), np.array([1, 3]))], [(np.array([2, 2]), np.array([4, 4]))]
        >>> Reach(begin, end, begin).apart().tolist()
        [True, False]
        """
        return np.logical_and.reduce(
            [begin[1] <= end[0] for begin, end in zip(self.begin, self.end, strict=True)]
        )

    def only(self, which: np.ndarray) -> "Reach":
        """The same for some of the masks.

        >>> begin, end = [(np.array([0, 0]), np.array([1, 3]))], [(np.array([2, 2]), np.array([4, 4]))]
        >>> Reach(begin, end, begin).only(np.array([False, True])).begin
        [(array([0]), array([3]))]
        """
        parts = (
            [(low[which], high[which]) for low, high in spans] for spans in (self.begin, self.end, self.both)
        )
        return Reach(*parts)


def total(spans: Intervals, k: int) -> int:
    """Positions of map k in all intervals together.

    >>> total([(np.array([0, 2]), np.array([3, 4]))], 0)
    5
    """
    return int((spans[k][1] - spans[k][0]).sum())


def widest(spans: Intervals) -> list[int]:
    """The longest interval in each map.

    >>> widest([(np.array([0, 2]), np.array([3, 4]))])
    [3]
    """
    return [int((end - begin).max()) for begin, end in spans]


def columns_of(spans: Intervals, i: int) -> list[tuple[int, int]]:
    """The intervals of variant i.

    >>> columns_of([(np.array([0, 2]), np.array([3, 4]))], 1)
    [(2, 4)]
    """
    return [(int(begin[i]), int(end[i])) for begin, end in spans]


@dataclass
class Bucket:
    """Variants with boxes of the same heights. `start[k]`, `height[k]`: rows of the box in map k.

    `gather[k, j]`: for input j of step k, which rows of a source buffer make the padded input.
    """

    which: np.ndarray
    start: list[np.ndarray]
    height: list[int]
    gather: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    rows: list[Tensor] = field(default_factory=list)

    def whole(self, graph: Graph, k: int) -> bool:
        """Whether the boxes span all rows of map k."""
        return self.height[k] == graph.steps[k].size[0]


class RowPlan:
    """Which rows of every map are new for each variant, and where the other rows come from."""

    def __init__(
        self, graph: Graph, intervals: Intervals, widths: list[int], budget: int, device: torch.device
    ):
        self.graph = graph
        self.device = device
        self.intervals = intervals
        self.buckets = [self._bucket(which) for which in self._groups(widths, budget)]
        self.ranges: dict[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]] = {}
        for k in range(1, graph.last + 1):
            for j in range(len(graph.steps[k].inputs)):
                self._index(k, j)

    def _groups(self, widths: list[int], budget: int) -> list[np.ndarray]:
        """Variants of equal height where it costs most, in groups whose largest input fits the budget."""
        steps = self.graph.steps[1 : self.graph.last + 1]
        heights = np.stack([end - begin for begin, end in self.intervals[1:]], axis=1)
        costs = np.array([step.cost for step in steps]) * np.array(widths[1:])
        dear = np.argsort(-costs * heights.mean(axis=0), kind="stable")[:2]
        keys, number = np.unique(heights[:, dear], axis=0, return_inverse=True)
        groups = []
        for key in range(len(keys)):
            members = np.flatnonzero(number.ravel() == key)
            numbers = [
                (heights[members, i].max() + 2) * (widths[i + 1] + 2) * step.channels
                for i, step in enumerate(steps)
            ]
            limit = max(1, budget // max(1, int(max(numbers))))
            groups += np.array_split(members, -(-len(members) // limit))
        return groups

    def _bucket(self, which: np.ndarray) -> Bucket:
        starts, heights = [], []
        for (begin, end), step in zip(self.intervals, self.graph.steps, strict=False):
            height = int((end[which] - begin[which]).max())
            heights.append(height)
            starts.append(np.minimum(begin[which], step.size[0] - height))
        bucket = Bucket(which, starts, heights)
        bucket.rows = [
            torch.from_numpy(start[:, None] + np.arange(height)).to(self.device)
            for start, height in zip(starts, heights, strict=True)
        ]
        return bucket

    def _index(self, k: int, j: int) -> None:
        """Rows needed by all buckets for one input of one step, as indices into the source buffer.

        The buffer holds, in this order, one row of padding, the rows needed from above the boxes, those from
        below, and the boxes of all variants.
        """
        step = self.graph.steps[k]
        i = step.inputs[j]
        needed = []
        for bucket in self.buckets:
            count = bucket.height[k]
            if step.axes is None:
                rows = bucket.start[k][:, None] + np.arange(count)
            elif count:
                rows = step.axes[0].padded(bucket.start[k], count)
            else:
                rows = np.empty((len(bucket.which), 0), dtype=int)
            begin = bucket.start[i][:, None]
            place = np.where(rows == NOWHERE, 0, np.where(rows < begin, 1, 2))
            place = np.where((rows >= begin) & (rows < begin + bucket.height[i]), 3, place)
            needed.append((rows, place))
        above, below = (_range([rows[place == side] for rows, place in needed]) for side in (1, 2))
        self.ranges[k, j] = (above, below)
        base = 1 + above[1] - above[0]
        own = base + below[1] - below[0]
        for bucket, (rows, place) in zip(self.buckets, needed, strict=True):
            height = bucket.height[i]
            inside = own + np.arange(len(bucket.which))[:, None] * height + rows - bucket.start[i][:, None]
            index = np.choose(place, [0, 1 + rows - above[0], base + rows - below[0], inside])
            bucket.gather[k, j] = torch.from_numpy(index.ravel()).to(self.device)


def _range(parts: list[np.ndarray]) -> tuple[int, int]:
    joined = np.concatenate([part.ravel() for part in parts])
    return (int(joined.min()), int(joined.max()) + 1) if joined.size else (0, 0)


@dataclass
class Around:
    """The known maps around the boxes. `left`, `right`: maps, or strips (patches that span all columns)."""

    above: list[Tensor]
    below: list[Tensor]
    left: list[Tensor]
    right: list[Tensor]


class Pass:
    """Computes the boxes of all buckets of a plan for one set of columns, [begin, end) in each map."""

    def __init__(self, plan: RowPlan, cols: list[tuple[int, int]]) -> None:
        self.plan = plan
        self.graph = plan.graph
        self.cols = cols
        self.buffers: dict[tuple[int, int], Tensor] = {}
        self.most = max(len(bucket.which) for bucket in plan.buckets)

    def run(self, bucket: Bucket, around: Around, image: Tensor) -> list[Tensor]:
        """The boxes of all maps; `image`: those of the image itself, "variants rows cols channels"."""
        patches = [image]
        for k in range(1, self.graph.last + 1):
            step = self.graph.steps[k]
            begin, end = self.cols[k]
            if not bucket.height[k] or begin == end:
                shape = (len(bucket.which), bucket.height[k], end - begin, step.channels)
                patches.append(image.new_empty(shape))
                continue
            if all(self._whole(bucket, i) for i in (k, *step.inputs)):
                result = step.whole([_nchw(patches[i]) for i in step.inputs])
            else:
                inputs = [_nchw(self._input(bucket, k, j, patches, around)) for j in range(len(step.inputs))]
                cols = torch.arange(begin, end, device=image.device)
                result = step.part(inputs, bucket.rows[k], cols)
            patches.append(result.permute(0, 2, 3, 1).contiguous())
        return patches

    def _whole(self, bucket: Bucket, k: int) -> bool:
        return bucket.whole(self.graph, k) and self.cols[k] == (0, self.graph.steps[k].size[1])

    def _input(self, bucket: Bucket, k: int, j: int, patches: list[Tensor], around: Around) -> Tensor:
        """The padded input j of step k."""
        step = self.graph.steps[k]
        i = step.inputs[j]
        begin, end = self.cols[k]
        if step.axes is None:
            same = bucket.height[i] == bucket.height[k] and np.array_equal(bucket.start[i], bucket.start[k])
            if same and self.cols[i] == self.cols[k]:
                return patches[i]
            needed = np.arange(begin, end)
        else:
            needed = step.axes[1].padded(np.array(begin), end - begin)
        real = needed[needed != NOWHERE]
        low, high = (int(real.min()), int(real.max()) + 1) if real.size else (0, 1)
        buffer = self._buffer(k, j, low, high, around)
        self._fill_own(buffer, bucket, (k, j), (low, high), patches[i], around)
        rows = bucket.gather[k, j]
        x = buffer.index_select(0, rows).view(len(bucket.which), -1, high - low, buffer.shape[2])
        if len(needed) == high - low and real.size == len(needed) and (np.diff(needed) == 1).all():
            return x
        return _columns(x, needed, low, step.fill)

    def _buffer(self, k: int, j: int, low: int, high: int, around: Around) -> Tensor:
        """Room for the source rows of one input; padding and the rows above and below are written once."""
        if (k, j) in self.buffers:
            return self.buffers[k, j]
        step = self.graph.steps[k]
        i = step.inputs[j]
        (a0, a1), (b0, b1) = self.plan.ranges[k, j]
        own = max(len(bucket.which) * bucket.height[i] for bucket in self.plan.buckets)
        source = around.above[i]
        shape = (1 + a1 - a0 + b1 - b0 + own, high - low, source.shape[2])
        buffer = source.new_empty(shape)
        buffer[0] = step.fill
        buffer[1 : 1 + a1 - a0] = around.above[i][a0:a1, low:high]
        buffer[1 + a1 - a0 : 1 + a1 - a0 + b1 - b0] = around.below[i][b0:b1, low:high]
        self.buffers[k, j] = buffer
        return buffer

    def _fill_own(
        self,
        buffer: Tensor,
        bucket: Bucket,
        key: tuple[int, int],
        columns: tuple[int, int],
        patch: Tensor,
        around: Around,
    ) -> None:
        """Writes the rows of the boxes: known values left and right of them, the patch between."""
        i = self.graph.steps[key[0]].inputs[key[1]]
        height, variants = bucket.height[i], len(bucket.which)
        if not height:
            return
        (a0, a1), (b0, b1) = self.plan.ranges[key]
        base = 1 + a1 - a0 + b1 - b0
        low, high = columns
        room = buffer[base : base + variants * height].view(variants, height, high - low, -1)
        begin, end = (min(max(edge, low), high) for edge in self.cols[i])
        if begin > low:
            room[:, :, : begin - low] = _known(around.left[i], bucket.rows[i], low, begin)
        if end > begin:
            first = self.cols[i][0]
            room[:, :, begin - low : end - low] = patch[:, :, begin - first : end - first]
        if high > end:
            room[:, :, end - low :] = _known(around.right[i], bucket.rows[i], end, high)


def _known(source: Tensor, rows: Tensor, begin: int, end: int) -> Tensor:
    """Columns [begin, end) of a strip, or of the given rows of a map."""
    return source[:, :, begin:end] if source.dim() == 4 else source[:, begin:end][rows]


def _columns(x: Tensor, needed: np.ndarray, low: int, fill: float) -> Tensor:
    """Puts padded columns in their places."""
    index = torch.from_numpy(np.where(needed == NOWHERE, 0, needed - low)).to(x.device)
    x = x.index_select(2, index)
    outside = np.flatnonzero(needed == NOWHERE)
    if outside.size:
        x[:, :, torch.from_numpy(outside).to(x.device)] = fill
    return x


def _nchw(x: Tensor) -> Tensor:
    """The view "batch channels rows cols" of "batch rows cols channels" (channels last in memory)."""
    return x.permute(0, 3, 1, 2)
