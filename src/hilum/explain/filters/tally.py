"""What is kept of the maxima of all filters while images are streamed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from hilum.errors import ModelError, RecipeError

CONSTANT = 1e-6
"""A filter whose values spread less than this, relative to its largest, answers the same to every image."""


class _Best(NamedTuple):
    """One answer of a filter."""

    activation: float
    image: int
    unit: int
    group: str


@dataclass
class Tally:
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
        """One batch "images filters rows cols"; `first`: the number of its first image; `margin`: units left out at
        each border; `per_image`: answers taken of one image; `groups`: of each image, such as its patient.
        RecipeError for a margin that leaves nothing.

        >>> import torch
        >>> tally = Tally(filters=1, per_filter=1, per_group=None)
        >>> tally.add(torch.tensor([1.0, 5.0]).view(1, 1, 1, 2), first=7, margin=0, per_image=1, groups=None)
        >>> tally.best[0][0].activation, tally.best[0][0].image, tally.best[0][0].unit
        (5.0, 7, 1)
        """
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
        peaks = values.cpu().numpy()
        places = (rows * self.size[1] + cols).cpu().numpy()
        for image, number, rank in np.argwhere(peaks > self.floor[None, :, None]):
            group = "" if groups is None else groups[int(image)]
            answer = _Best(
                float(peaks[image, number, rank]), first + int(image), int(places[image, number, rank]), group
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
        kept.sort(key=lambda answer: (-answer.activation, answer.image, answer.unit))
        del kept[self.per_filter :]
        if len(kept) == self.per_filter:
            self.floor[number] = max(kept[-1].activation, 0.0)

    def dead(self) -> tuple[int, ...]:
        """Filters that never rise above 0, or answer the same everywhere.

        >>> import torch
        >>> tally = Tally(filters=2, per_filter=1, per_group=None)
        >>> tally.add(torch.tensor([1.0, 5.0, 0.0, 0.0]).view(1, 2, 1, 2), 0, 0, 1, None)
        >>> tally.dead()
        (1,)
        """
        range_ = self.highest - self.lowest
        flat = range_ <= CONSTANT * np.maximum(np.abs(self.highest), np.abs(self.lowest))
        return tuple(np.flatnonzero((self.highest <= 0) | flat).tolist())

    def choose(self, count: int, rule: str, dead: tuple[int, ...]) -> tuple[int, ...]:
        """The filters that the rule picks, best first, at most `count`. `rule`: 'distinct' (most of the variance that
        is left by those before), 'variance' (of the images' maxima), any other: the highest answer. ModelError if
        all are dead.

        >>> import torch
        >>> tally = Tally(filters=2, per_filter=1, per_group=None)
        >>> tally.add(torch.tensor([[6.0, 1.0], [5.0, 4.0]]).view(2, 2, 1, 1), 0, 0, 1, None)
        >>> tally.choose(2, "variance", ()), tally.choose(2, "strongest", ())
        ((1, 0), (0, 1))
        """
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
