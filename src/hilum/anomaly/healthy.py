"""HealthyImages: the only thing that a detector is fitted on. It cannot hold an image with another label, so no
disease label and no abnormal image can take part in fitting, not even by mistake."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY
from hilum.data.images import Pixels
from hilum.errors import DataError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class HealthyImages:
    """Healthy images, and nothing else: the only thing that a detector is fitted on.

    `pixels`: how the images are prepared; `case_ids`, `patients`: one each per image (a patient is the case
    itself where none is known); `device`: where `tensor` and `batches` put images. The images stay in the memory map
    of the image cache until they are read.

    Make it with `of` (from a cache) or `of_images` (from an array); both raise DataError for an image that is
    not labelled healthy.

    >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
    >>> len(images), [tuple(x.shape) for x in images.batches(2)]
    (3, [(2, 1, 8, 8), (1, 1, 8, 8)])
    >>> HealthyImages.of_images(np.zeros((1, 8, 8), np.uint8), ["virus"], Pixels(size=(8, 8)))
    Traceback (most recent call last):
    ...
    hilum.errors.DataError: image 0 is labelled 'virus', a detector is fitted on 'normal' images alone; ...
    """

    pixels: Pixels
    case_ids: tuple[str, ...]
    patients: tuple[str, ...]
    source: np.ndarray
    rows: np.ndarray
    device: torch.device = CPU

    @classmethod
    def of(
        cls,
        cache: ImageCache,
        case_ids: Sequence[str],
        labels: Sequence[str],
        pixels: Pixels,
        patients: Sequence[str] | None = None,
    ) -> "HealthyImages":
        """The images of these cases in an image cache; `labels` and `patients` in the order of `case_ids`.

        DataError when a label is not healthy, when there is no image, or when the cache has another size.
        """
        return cls._checked(cache.images, cache.rows(case_ids), tuple(case_ids), labels, pixels, patients)

    @classmethod
    def of_images(
        cls,
        images: np.ndarray,
        labels: Sequence[str],
        pixels: Pixels,
        case_ids: Sequence[str] | None = None,
        patients: Sequence[str] | None = None,
    ) -> "HealthyImages":
        """Prepared images, uint8 "images rows cols" (as `Pixels.prepare` gives them). DataError as in `of`.

        >>> images = np.zeros((2, 8, 8), np.uint8)
        >>> HealthyImages.of_images(images, ["normal"] * 2, Pixels(size=(8, 8)), patients=["p", "p"]).patients
        ('p', 'p')
        """
        ids = tuple(case_ids) if case_ids is not None else tuple(map(str, range(len(images))))
        return cls._checked(images, np.arange(len(images)), ids, labels, pixels, patients)

    @classmethod
    def _checked(
        cls,
        source: np.ndarray,
        rows: np.ndarray,
        case_ids: tuple[str, ...],
        labels: Sequence[str],
        pixels: Pixels,
        patients: Sequence[str] | None,
    ) -> "HealthyImages":
        if not len(rows):
            raise DataError("there is no healthy image to fit on", f"label healthy images {HEALTHY!r}")
        patients = tuple(patients) if patients is not None else case_ids
        if not len(rows) == len(case_ids) == len(labels) == len(patients):
            raise DataError(
                f"{len(rows)} images, {len(case_ids)} case ids, {len(labels)} labels and {len(patients)} "
                "patients do not go together",
                "give one of each per image",
            )
        for case, label in zip(case_ids, labels, strict=True):
            if label != HEALTHY:
                raise DataError(
                    f"image {case} is labelled {label!r}, a detector is fitted on {HEALTHY!r} images alone",
                    "leave it out",
                )
        if source.dtype != np.uint8:
            raise DataError(f"images of type {source.dtype} are not prepared", "use Pixels.prepare first")
        if source.shape[1:] != tuple(pixels.size):
            raise DataError(
                f"the images have the shape {source.shape[1:]}, the pixel contract says {pixels.size}",
                "prepare them with the same Pixels",
            )
        if not (np.isfinite(pixels.mean) and np.isfinite(pixels.sd) and pixels.sd > 0):
            raise DataError(
                f"the pixel contract has mean {pixels.mean} and sd {pixels.sd}", "give finite numbers, sd > 0"
            )
        return cls(pixels, case_ids, patients, source, np.asarray(rows, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> np.ndarray:
        """All images as a new array, uint8 "images rows cols" (16 kB per image of 128 px)."""
        return np.asarray(self.source[self.rows])

    def tensor(self, index: Sequence[int] | np.ndarray | slice) -> Float[Tensor, "batch 1 rows cols"]:
        """Some images in the units that a network sees, float32, in the order of `index`.

        >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
        >>> images.tensor([0, 2]).shape
        torch.Size([2, 1, 8, 8])
        """
        x = torch.from_numpy(self.pixels.normalize(np.asarray(self.source[self.rows[index]])))[:, None]
        return x.to(self.device)

    def batches(self, size: int, seed: int | None = None) -> Iterator[Float[Tensor, "batch 1 rows cols"]]:
        """All images once, `size` at a time, in order or shuffled by a seed. The last batch may be smaller.

        >>> images = HealthyImages.of_images(np.zeros((5, 8, 8), np.uint8), ["normal"] * 5, Pixels(size=(8, 8)))
        >>> [len(batch) for batch in images.batches(2, seed=0)]
        [2, 2, 1]
        """
        order = np.arange(len(self))
        if seed is not None:
            np.random.default_rng(seed).shuffle(order)
        for start in range(0, len(order), size):
            yield self.tensor(order[start : start + size])

    def part(self, index: Sequence[int] | np.ndarray) -> "HealthyImages":
        """Some of the images, by position. DataError for no position.

        >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
        >>> images.part([2, 0]).case_ids
        ('2', '0')
        """
        positions = np.asarray(index, np.int64)
        if not len(positions):
            raise DataError("a part needs one image or more", "choose some of the images")
        return HealthyImages(
            self.pixels,
            tuple(self.case_ids[i] for i in positions),
            tuple(self.patients[i] for i in positions),
            self.source,
            self.rows[positions],
            self.device,
        )

    def on(self, device: torch.device) -> "HealthyImages":
        """The same images, whose tensors lie on `device`.

        >>> images = HealthyImages.of_images(np.zeros((3, 8, 8), np.uint8), ["normal"] * 3, Pixels(size=(8, 8)))
        >>> images.on(torch.device("cpu")).tensor([0]).device
        device(type='cpu')
        """
        return replace(self, device=device)
