"""The intake check of a run, fitted on the images that its models were trained on."""

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
    table, part = cases.table, split.reindex(cases.table["case_id"]).to_numpy()
    chance = np.random.default_rng(SEED)
    chosen = {name: np.flatnonzero(part == name) for name in ("train", "val")}
    chosen = {name: np.sort(chance.permutation(places)[:MOST]) for name, places in chosen.items()}
    both = np.sort(np.concatenate([*chosen.values()]))
    used = cases.where(table["case_id"].isin(table["case_id"].iloc[both]))
    side, colour = _files(used.table["path"].iloc[:: max(1, len(both) // LOOKED_AT)].tolist())
    if len(chosen["val"]) < fewest(RATE):
        images = ImageCache.of(used, PIXELS).images if len(both) else np.zeros((0, *PIXELS.size), np.uint8)
        return Intake.cross_fitted(np.asarray(images), used.table["patient"].to_numpy(str), side, colour)
    cache = ImageCache.of(used, PIXELS)
    ids = {name: table["case_id"].iloc[places].tolist() for name, places in chosen.items()}
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
