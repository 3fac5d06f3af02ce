"""The images of the anomaly stage, the same for every detector: cases, roles, pixels."""

import json
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly.conformal import threshold
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.other_look import OtherLook
from hilum.anomaly.roles import assign_roles
from hilum.data.cache import ImageCache
from hilum.data.cases import HEALTHY, Cases
from hilum.data.images import Pixels
from hilum.data.split import Split, used_cases
from hilum.errors import DataError
from hilum.files import digest
from hilum.progress import advancing
from hilum.training.config import PixelConfig


@dataclass(frozen=True)
class Inputs:
    """What every detector is fitted on and scores. `table`: a row per image with case_id, patient, split, label,
    role, in the order of `cases`; `cache`: the prepared images; `ood_images`, `other_look_images`, `own_ranking`,
    `seed`, `threshold_on`: of the stage's settings."""

    cases: Cases
    table: pd.DataFrame
    pixels: Pixels
    cache: ImageCache
    ood_images: int
    other_look_images: int
    own_ranking: int
    seed: int
    threshold_on: str = "val"

    def rows(self, role: str, label: str | None = None) -> np.ndarray:
        """Positions in `table` of the images with a role, and with a label where one is given; int64, ascending.

        >>> from pathlib import Path
        >>> table = pd.DataFrame({"role": ["fit", "test", "test"], "label": ["normal", "normal", "virus"]})
        >>> cases, cache = Cases(table, "table", Path("cases.csv")), ImageCache(np.zeros((3, 8, 8)), {}, Path("."))
        >>> inputs = Inputs(cases, table, Pixels(size=(8, 8)), cache, 0, 0, 0, seed=0)
        >>> inputs.rows("test").tolist(), inputs.rows("test", "virus").tolist()
        ([1, 2], [2])
        """
        chosen = (self.table["role"] == role).to_numpy()
        if label is not None:
            chosen = chosen & (self.table["label"] == label).to_numpy()
        return np.flatnonzero(chosen)

    @property
    def healthy(self) -> HealthyImages:
        """The images with the role fit, in the order of `table`, to be read from the cache."""
        part = self.table.iloc[self.rows("fit")]
        return HealthyImages.of(
            self.cache,
            part["case_id"].tolist(),
            part["label"].tolist(),
            self.pixels,
            part["patient"].tolist(),
        )

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Prepared images at some positions of `table`, uint8 "images rows cols", in the order of `rows`."""
        return np.asarray(self.cache.images[self.cache.rows(self.table["case_id"].iloc[rows])])

    @cached_property
    def other_look(self) -> OtherLook | None:
        """Held-out images in the look of the other label's devices, made once for all detectors; None without any."""
        return OtherLook.of(self.cases, self.table, self.pixels, self.other_look_images, self.seed)

    @cached_property
    def calibrate_look(self) -> OtherLook | None:
        """The healthy images that fix the threshold, in the look of the abnormal images' devices; None unless they are
        wanted."""
        if self.threshold_on != "counterfactual":
            return None
        rows = self.table.iloc[self.rows("calibrate")][["case_id", "patient", "label"]].reset_index(drop=True)
        return OtherLook.made(self.cases, rows, self.table, self.pixels, self.seed)

    @property
    def digest(self) -> str:
        """Names images, roles, pixels and what every detector is to score."""
        columns = self.table[["case_id", "patient", "label", "role"]]
        scored = [self.ood_images, self.other_look_images, self.own_ranking, self.threshold_on]
        settings = json.dumps([asdict(self.pixels), *scored, self.seed])
        return digest(self.cases.digest, settings, *columns.to_csv(index=False).splitlines())


def prepare(
    cases: Cases,
    split: Split,
    pixels: PixelConfig,
    *,
    calibrate_fraction: float,
    false_alarm_rate: float,
    ood_images: int,
    other_look_images: int,
    own_ranking: int,
    seed: int,
    threshold_on: str = "val",
) -> Inputs:
    """Roles, pixels and decoded images of a split, after every check that needs no fitting.

    DataError when no image is healthy, when too few healthy ones calibrate for the false-alarm rate, and when
    train holds none.
    """
    if not (cases.table["label"] == HEALTHY).any():
        raise DataError(
            f"no image is labelled {HEALTHY!r} (labels: {', '.join(cases.labels)}), so nothing can be fitted",
            "name the label of healthy images with --healthy, if there is one",
        )
    used = used_cases(cases, split.of)
    roles = assign_roles(used, split.of, calibrate_fraction, seed)
    threshold(np.zeros(int((roles == "calibrate").sum())), false_alarm_rate)  # enough for the rate?
    table = used.table[["case_id", "patient", "label"]].copy()
    table.insert(2, "split", split.of.loc[table["case_id"]].to_numpy())
    table["role"] = roles.loc[table["case_id"]].to_numpy()
    fit = table["case_id"][(table["role"] == "fit").to_numpy()].tolist()
    if not fit:
        raise DataError("train holds no healthy image to fit on", "choose another split")
    with advancing("anomaly: decoding") as advance:
        cache = ImageCache.of(used, pixels.contract(0.5, 0.25), advance)
    contract = pixels.contract(*cache.mean_sd(fit))
    return Inputs(
        used, table, contract, cache, ood_images, other_look_images, own_ranking, seed, threshold_on
    )


def as_tensor(pixels: Pixels, images: np.ndarray) -> Float[Tensor, "batch 1 rows cols"]:
    """Prepared images, uint8 "images rows cols", in the units that a detector sees.

    >>> as_tensor(Pixels(size=(2, 2)), np.zeros((3, 2, 2), np.uint8)).shape
    torch.Size([3, 1, 2, 2])
    """
    return torch.from_numpy(pixels.normalize(images))[:, None]
