"""The intake check of a run, fitted on the images that its models were trained on."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.decode import probe
from hilum.errors import DataError
from hilum.inference.guard_fit import some_in_other_look
from hilum.inference.intake import MOST, RATE, SEED, Intake
from hilum.inference.intake_features import PIXELS
from hilum.inference.p_values import fewest
from hilum.inference.refusal import in_colour

LOOKED_AT = 100
"""Training files whose size and colours are looked at."""

OFTEN = 0.02
"""Colour is usual where more than this share of these files is in colour."""


def intake_for(cases: Cases, split: pd.Series, other_look: int = 0) -> Intake:
    """Densities from train and held-out scores from val; cross-fitted on both where val is too small.

    `cases`: those that the split uses; `split`: case_id -> train, val or test. At most MOST images of each are read.
    `other_look`: so many of each take part once more in the look of the other label's devices, so that another device
    is no reason for a flag; not where both are cross-fitted.
    DataError for too few images, or for files that can't be read.

    >>> from pathlib import Path
    >>> table = pd.DataFrame({"case_id": [], "path": [], "patient": [], "digest": []})
    >>> intake_for(Cases(table, "folder", Path("data")), pd.Series(dtype=str))
    Traceback (most recent call last):
    hilum.errors.DataError: 0 images are too few to know what is unusual; bring 20 or more
    """
    ids = _chosen(cases, split, ("train", "val"))
    used = _cases_of(cases, ids)
    side, colour = _files(used.table["path"].iloc[:: max(1, len(used) // LOOKED_AT)].tolist())
    if is_cross_fitted(ids["val"]):
        images = ImageCache.of(used, PIXELS).images if len(used) else np.zeros((0, *PIXELS.size), np.uint8)
        return Intake.cross_fitted(np.asarray(images), used.table["patient"].to_numpy(str), side, colour)
    cache = ImageCache.of(used, PIXELS)
    train, val = (
        np.concatenate(
            [
                np.asarray(cache.images[cache.rows(ids[name])]),
                some_in_other_look(used, ids[name], ids["train"], PIXELS, other_look, SEED),
            ]
        )
        for name in ("train", "val")
    )
    return Intake.fit(train, val, side, colour)


def is_cross_fitted(val: Sequence[str]) -> bool:
    """Whether so few validation images, by their case_ids, take part in fitting.

    >>> is_cross_fitted(["a"])
    True
    """
    return len(val) < fewest(RATE)


def _chosen(cases: Cases, split: pd.Series, parts: Sequence[str]) -> dict[str, list[str]]:
    """case_ids of each part, at most MOST, by the seed, in the order of the cases."""
    names, part = cases.table["case_id"], split.reindex(cases.table["case_id"]).to_numpy()
    chance = np.random.default_rng(SEED)
    places = {name: np.sort(chance.permutation(np.flatnonzero(part == name))[:MOST]) for name in parts}
    return {name: names.iloc[chosen].tolist() for name, chosen in places.items()}


def _cases_of(cases: Cases, ids: Mapping[str, Sequence[str]]) -> Cases:
    return cases.where(cases.table["case_id"].isin({name for part in ids.values() for name in part}))


def held_out_images(cases: Cases, split: pd.Series) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the check sees of val and test: uint8 "images 64 64" and the patients "images", at most MOST of each; a
    part without images is left out. DataError as in `ImageCache.of`.

    >>> from pathlib import Path
    >>> table = pd.DataFrame({"case_id": [], "path": [], "patient": [], "digest": []})
    >>> held_out_images(Cases(table, "folder", Path("data")), pd.Series(dtype=str))
    {}
    """
    fitted = _chosen(cases, split, ("train", "val"))  # its cache is there already
    parts = {"val": fitted, "test": _chosen(cases, split, ("test",))}
    patient = cases.table.set_index("case_id")["patient"]
    held_out = {}
    for name, ids in parts.items():
        if ids[name]:
            cache = ImageCache.of(_cases_of(cases, ids), PIXELS)
            images = np.asarray(cache.images[cache.rows(ids[name])])
            held_out[name] = images, patient[ids[name]].to_numpy(str)
    return held_out


def _files(paths: list[str]) -> tuple[int, bool]:
    """The smallest side of these files, and whether colour is usual among them."""
    sides, coloured = [], []
    for path in paths:
        try:
            facts = probe(path)
        except DataError:
            continue  # what can't be read so is left to the cache to name
        sides.append(min(facts.width, facts.height))
        coloured.append(in_colour(path))
    return (min(sides), float(np.mean(coloured)) > OFTEN) if sides else (1, False)
