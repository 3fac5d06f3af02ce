"""Which phantom set: its settings, the plan of its images, and what one image holds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY
from hilum.errors import DataError, nearest

LABELS = (HEALTHY, "bacteria", "virus")
SHORTCUTS = ("marker", "device")

_TEST_SHARE = 0.3
_PROPORTIONS = {"train": (1341, 2530, 1345), "test": (234, 242, 148)}  # images of the public set, as LABELS
_IMAGES = (0.6, 0.25, 0.1, 0.05)  # shares of the patients with one, two, three and four images


@dataclass(frozen=True)
class PhantomSettings:
    """Which set to generate.

    patients: how many, 30 % of them for the test; each has 1 to 4 images, 1.6 on average. size: rows and
    columns of an image. seed: another seed, other patients. shortcut: None; 'marker', a bright disc in a
    corner of abnormal images; or 'device', a second device for abnormal images (haze, black frame, text);
    shortcut_strength: the share of abnormal images that carry it (normal images never do).

    DataError when a value is out of range.
    """

    patients: int = 640
    size: tuple[int, int] = (224, 256)
    seed: int = 0
    shortcut: str | None = None
    shortcut_strength: float = 1.0

    def __post_init__(self) -> None:
        if self.patients < 20:
            raise DataError(f"a phantom of {self.patients} patients is too small", "use 20 or more")
        if not (len(self.size) == 2 and all(64 <= side <= 2048 for side in self.size)):
            raise DataError(f"phantom images of {self.size} can't be generated", "use sides of 64 to 2048 px")
        if self.seed < 0:
            raise DataError(f"phantom seed {self.seed} is negative", "use 0 or more")
        if self.shortcut is not None and self.shortcut not in SHORTCUTS:
            raise DataError(
                f"phantom shortcut {self.shortcut!r} is not known", nearest(self.shortcut, SHORTCUTS)
            )
        if not 0 <= self.shortcut_strength <= 1:
            raise DataError(
                f"phantom shortcut_strength {self.shortcut_strength:g} is not a share", "use 0 to 1"
            )


@dataclass(frozen=True)
class PhantomImage:
    """`image`: uint8 "rows cols". All others: bool "rows cols", and what `masks` reads.

    lesion: where disease was added (empty if healthy), within lung. lung: the air-filled lung fields, beside
    the heart and above the diaphragm. ribs: all ribs of the cage. marker: the letter of the side. shortcut:
    the planted one.
    """

    image: np.ndarray
    lesion: np.ndarray
    lung: np.ndarray
    heart: np.ndarray
    ribs: np.ndarray
    marker: np.ndarray
    shortcut: np.ndarray


BUILT_IN = PhantomSettings()
"""The settings of the set that the word 'phantom' names."""

MASKS = tuple(field.name for field in fields(PhantomImage) if field.name != "image")


def plan(settings: PhantomSettings = BUILT_IN) -> pd.DataFrame:
    """The images of a set, one row each: case_id, label, patient, split ('train' or 'test'), and the numbers
    `person` and `image` that seed it. Labels come in the public set's proportions in each split.

    >>> plan(PhantomSettings(patients=20)).groupby("split")["patient"].nunique().to_dict()
    {'test': 6, 'train': 14}
    """
    n_test = round(_TEST_SHARE * settings.patients)
    kinds = [
        (split, label, images)
        for split, patients in (("train", settings.patients - n_test), ("test", n_test))
        for label, share in zip(LABELS, apportioned(patients, _PROPORTIONS[split]), strict=True)
        for images, count in enumerate(apportioned(share, _IMAGES), start=1)
        for _ in range(count)
    ]
    numbers = (
        np.random.default_rng([settings.seed, 0]).permutation(len(kinds)) + 1
    )  # independent of the label
    rows = [
        {
            "case_id": f"person{person:04d}-{image}",
            "label": label,
            "patient": f"person{person:04d}",
            "split": split,
            "person": int(person),
            "image": image,
        }
        for person, (split, label, images) in zip(numbers, kinds, strict=True)
        for image in range(1, images + 1)
    ]
    return pd.DataFrame(rows).sort_values("case_id", ignore_index=True)


def apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in the proportion of the weights that add up to the total (largest remainders).

    >>> apportioned(10, (1, 1, 1))
    [4, 3, 3]
    """
    exact = np.asarray(weights, float) / np.sum(weights) * total
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()
