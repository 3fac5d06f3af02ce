"""Held-out images in the look of the other label's devices, the same for every detector.

A detector that has learned a device calls healthy images of another device anomalous. Which images are measured, and
whose look each takes, hangs on seed and case alone; see hilum.data.counterfactual and docs/shift.md.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.data.counterfactual.sets import in_other_look
from hilum.data.images import Pixels
from hilum.files import digest


@dataclass(frozen=True)
class OtherLook:
    """`table`: case_id, patient, label of the images that are measured; `images`: uint8 "images rows cols"."""

    table: pd.DataFrame
    images: np.ndarray

    @classmethod
    def of(
        cls, cases: Cases, table: pd.DataFrame, pixels: Pixels, images: int, seed: int
    ) -> "OtherLook | None":
        """At most `images` images with the role measure (test where that has not both kinds), half of them healthy;
        donors are images of train. `table`: see `Inputs.table`. None where no images are wanted, where a kind is
        not held out, or where train has no donor for them.

        >>> from pathlib import Path
        >>> rows = {"case_id": ["a", "b"], "patient": ["p", "q"], "label": ["normal", "virus"]}
        >>> table = pd.DataFrame({**rows, "split": "test", "role": "test"})
        >>> cases = Cases(table, "table", Path("cases.csv"))
        >>> print(OtherLook.of(cases, table, Pixels(size=(8, 8)), images=2, seed=0))  # train has no donor
        None
        """
        chosen = measured_images(table, images, seed)
        return None if chosen is None else cls.made(cases, chosen, table, pixels, seed)

    @classmethod
    def made(
        cls, cases: Cases, chosen: pd.DataFrame, table: pd.DataFrame, pixels: Pixels, seed: int
    ) -> "OtherLook | None":
        """These images: case_id, patient, label. None where there are none, or where train has no donor for them.

        >>> from pathlib import Path
        >>> rows = pd.DataFrame({"case_id": ["a"], "patient": ["p"], "label": ["normal"], "split": ["train"]})
        >>> print(OtherLook.made(Cases(rows, "table", Path("cases.csv")), rows, rows, Pixels(size=(8, 8)), seed=0))
        None
        """
        pool = table[table["split"] == "train"]
        kinds = {HEALTHY, *pool["label"]} if (pool["label"] == HEALTHY).any() else set()
        if not len(chosen) or len(kinds) < 2:
            return None
        what = "anomaly: images in the other look"
        return cls(chosen, in_other_look(cases, chosen, pool, pixels, seed, what))


def measured_images(table: pd.DataFrame, images: int, seed: int) -> pd.DataFrame | None:
    """case_id, patient and label of the images to measure, in the order of case_id; None where one kind is missing.

    >>> table = pd.DataFrame({"case_id": list("abcd"), "patient": list("pqrs"), "role": "measure"})
    >>> table["label"] = ["normal", "normal", "virus", "virus"]
    >>> measured_images(table, 2, seed=0)["label"].tolist()
    ['normal', 'virus']
    """
    for role in ("measure", "test"):
        held_out = table.loc[table["role"] == role, ["case_id", "patient", "label"]]
        healthy = held_out["label"] == HEALTHY
        if images > 1 and healthy.any() and not healthy.all():
            halves = [_first(held_out[kind], images // 2, seed) for kind in (healthy, ~healthy)]
            return pd.concat(halves).sort_values("case_id", ignore_index=True)
    return None


def _first(rows: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """n of the rows, by digest of seed and case."""
    order = rows["case_id"].map(lambda case: digest("other look", str(seed), str(case)))
    return rows.iloc[np.argsort(order.to_numpy())[:n]]
