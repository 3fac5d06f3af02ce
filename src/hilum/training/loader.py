"""Batches of images: from the memory map through augmentation to tensors, the same at every repetition.

Randomness depends on (seed, epoch, case) alone, never on earlier batches. So a resumed training uses the same
images as an uninterrupted one, with any number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hilum.data.augment import Augment
from hilum.data.augmented import augmented
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels

Batch = Sequence[torch.Tensor]
"""images float32 "batch views rows cols", targets int64 "batch" or float32 "batch findings", positions in the set int64
"batch"."""


@dataclass(frozen=True)
class ImageSet:
    """The cases of one split: rows of a cache with their ids and targets, all in one order.

    `targets`: the index of a class, int64 "cases", or what is stated of each finding, float32 "cases findings".
    """

    cache: ImageCache
    case_ids: Sequence[str]
    targets: np.ndarray
    pixels: Pixels

    @property
    def rows(self) -> np.ndarray:
        """Positions of the cases in the memory map.

        >>> from pathlib import Path
        >>> cache = ImageCache(np.zeros((2, 4, 4), np.uint8), {"a": 0, "b": 1}, Path("cache"))
        >>> ImageSet(cache, ["b"], np.array([1]), Pixels(size=(4, 4))).rows.tolist()
        [1]
        """
        return self.cache.rows(self.case_ids)


class AugmentedImages(Dataset[tuple[np.ndarray, int | np.ndarray, int]]):
    """Items by (epoch, position): image float32 "views rows cols", target, position. Each view is augmented anew."""

    def __init__(self, images: ImageSet, augment: Augment, seed: int, views: int = 1) -> None:
        self.views = views
        self.images = images
        self.rows = images.rows
        self.augment = augment
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> tuple[np.ndarray, int | np.ndarray, int]:
        epoch, position = item
        image = np.asarray(self.images.cache.images[self.rows[position]])
        chance = np.random.default_rng((self.seed, epoch, position))
        views = [self._view(image, chance) for _ in range(self.views)]
        target = self.images.targets[position]
        known = int(target) if np.ndim(target) == 0 else np.asarray(target, np.float32)
        return np.stack(views), known, position

    def _view(self, image: np.ndarray, chance: np.random.Generator) -> np.ndarray:
        donor = self._donor(chance) if self.augment.tone else None
        return self.images.pixels.standardized(augmented(self.augment, image, chance, donor))

    def _donor(self, chance: np.random.Generator) -> np.ndarray:
        """Any image of the set, whatever its label."""
        return np.asarray(self.images.cache.images[self.rows[chance.integers(len(self.rows))]])


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields (epoch, position) in a new seeded order each epoch, balanced as the recipe says.

    balance: 'none' and 'weights' take every case once; 'undersample' takes as many of each class as the
    rarest has, others in every epoch; 'sampler' samples with replacement so that classes are equally
    likely. Lightning calls `set_epoch` before each epoch. `share`: (rank, world)
    of a training by several processes: each takes every world-th position, in training as many as the others, so
    that their batches together are those of one process; otherwise each position is taken once.
    """

    def __init__(
        self,
        targets: np.ndarray,
        balance: str,
        seed: int,
        shuffle: bool = True,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.share = share
        self.targets = np.asarray(targets)
        self.balance = balance
        self.seed = seed
        self.shuffle = shuffle
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch (from 0) whose order comes next.

        >>> sampler = EpochSampler(np.array([0, 1, 1]), "none", seed=0)
        >>> sampler.set_epoch(4)
        >>> sorted(sampler)
        [(4, 0), (4, 1), (4, 2)]
        """
        self.epoch = epoch

    def __len__(self) -> int:
        rank, world = self.share
        whole = self._whole()
        return whole // world if self.shuffle else len(range(rank, whole, world))

    def _whole(self) -> int:
        """Images of an epoch, of all processes."""
        if self.balance == "undersample":
            counts = np.unique(self.targets, return_counts=True)[1]
            return int(counts.min() * len(counts))
        return len(self.targets)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = self.share
        for position in self._positions()[rank::world][: len(self)]:
            yield self.epoch, int(position)

    def _positions(self) -> np.ndarray:
        everyone = np.arange(len(self.targets))
        if not self.shuffle:
            return everyone
        chance = np.random.default_rng((self.seed, self.epoch, 1 << 31))
        classes, counts = np.unique(self.targets, return_counts=True)
        if self.balance == "undersample":
            picks = [chance.permutation(everyone[self.targets == label])[: counts.min()] for label in classes]
            return chance.permutation(np.concatenate(picks))
        if self.balance == "sampler":
            share = 1.0 / counts[np.searchsorted(classes, self.targets)] / len(classes)
            return chance.choice(everyone, size=len(everyone), p=share)
        return chance.permutation(everyone)


def loader(
    images: ImageSet,
    batch_size: int,
    seed: int,
    augment: Augment | None = None,
    balance: str = "none",
    train: bool = False,
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
    views: int = 1,
) -> DataLoader:
    """A DataLoader over an ImageSet. Training: shuffled, augmented, last short batch dropped (a batch of one
    has no batch statistics). Otherwise in order, every case once, without augmentation. `batch_size`: of this
    process; `share`: (rank, world), see EpochSampler; `views`: of each image, each augmented anew.

    >>> from pathlib import Path
    >>> cache = ImageCache(np.zeros((3, 4, 4), np.uint8), {"a": 0, "b": 1, "c": 2}, Path("cache"))
    >>> images = ImageSet(cache, ["c", "a", "b"], np.array([1, 0, 0]), Pixels(size=(4, 4)))
    >>> [(tuple(x.shape), target.tolist()) for x, target, _ in loader(images, batch_size=2, seed=0)]
    [((2, 1, 4, 4), [1, 0]), ((1, 1, 4, 4), [0])]
    """
    sampler = EpochSampler(images.targets, balance, seed, train, share)
    return DataLoader(
        AugmentedImages(images, augment or Augment(), seed, views),
        batch_size=batch_size,
        sampler=sampler,
        drop_last=train and len(sampler) > batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )


def class_weights(targets: np.ndarray, n_classes: int) -> torch.Tensor:
    """float32 "classes", inverse to the class counts with mean 1 over the cases.

    >>> class_weights(np.array([0, 0, 0, 1]), 2).tolist()
    [0.666..., 2.0]
    """
    counts = np.bincount(targets, minlength=n_classes)
    return torch.tensor(len(targets) / (n_classes * np.maximum(counts, 1)), dtype=torch.float32)
