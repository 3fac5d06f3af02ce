"""Counterfactual images of many cases, prepared for a model."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from hilum.data.cases import Cases
from hilum.data.counterfactual.donors import donors
from hilum.data.counterfactual.image import PARTS, Look, in_the_look_of
from hilum.data.decode import quiet_codecs, read_grey
from hilum.data.facts import facts_table
from hilum.data.images import Pixels
from hilum.progress import advancing

WORKERS = 2
"""Images that are made at a time."""


def were_squeezed(cases: Cases) -> bool:
    """Whether the images were stretched to one square shape before they came here, so that their aspect is lost.

    True when all files are square and of one size.
    """
    facts = facts_table(cases)
    sizes = facts[["width", "height"]].drop_duplicates()
    return len(facts) > 1 and len(sizes) == 1 and bool((sizes["width"] == sizes["height"]).all())


def paths_of(cases: Cases, donor_of: pd.Series) -> list[tuple[str, str]]:
    """The files of each image and its donor. `donor_of`: case_id -> case_id, see `donors`.

    >>> from pathlib import Path
    >>> table = pd.DataFrame({"case_id": ["a", "b"], "path": ["a.png", "b.png"]})
    >>> paths_of(Cases(table, "table", Path("cases.csv")), pd.Series({"a": "b"}))
    [('a.png', 'b.png')]
    """
    path_of = dict(zip(cases.table["case_id"], cases.table["path"], strict=True))
    return [(path_of[str(case)], path_of[str(donor)]) for case, donor in donor_of.items()]


def counterfactual_images(
    pairs: Sequence[tuple[str, str]],
    variants: Mapping[str, Collection[str]],
    pixels: Pixels,
    squeezed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, np.ndarray]:
    """For each variant the images of all pairs, uint8 "pairs rows cols" of the model's size.

    `pairs`: files of an image and its donor, see `paths_of`; `variants`: name -> parts that are taken from the donor;
    `pixels`: the model's contract. Files are read anew at their full size. UnreadableImage when one can't be.
    """
    made = {name: np.empty((len(pairs), *pixels.size), np.uint8) for name in variants}

    def dress(paths: tuple[str, str]) -> list[np.ndarray]:
        own, other = (Look.of(read_grey(path)) for path in paths)
        return [pixels.prepare(in_the_look_of(own, other, parts, squeezed)) for parts in variants.values()]

    with ThreadPoolExecutor(WORKERS) as pool, quiet_codecs():
        for row, images in enumerate(pool.map(dress, pairs)):
            for name, image in zip(variants, images, strict=True):
                made[name][row] = image
            if progress:
                progress(row + 1, len(pairs))
    return made


def in_other_look(
    cases: Cases, rows: pd.DataFrame, pool: pd.DataFrame, pixels: Pixels, seed: int, what: str
) -> np.ndarray:
    """Images of `rows` with every part of the look of a donor's, uint8 "rows rows cols" of the model's size.

    `rows`, `pool`: case_id, patient and label of the images and of the possible donors; `what`: the words beside the
    progress bar. DataError when an image has no donor (see `donors`), UnreadableImage when a file can't be read.
    """
    donor_of = donors(rows, pool, seed)
    with advancing(what) as advance:
        made = counterfactual_images(
            paths_of(cases, donor_of), {"all": PARTS}, pixels, were_squeezed(cases), advance
        )
    return made["all"]
