"""Phantom images, whose lesions are known to the pixel: the ground truth for anomaly maps."""

import numpy as np

from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.sources import phantom
from hilum.files import digest

MOST_PIXELS = 6_000_000
"""Map pixels that are compared with the ground truth; bounds memory (200 MB) and time."""


def known_cases(cases: Cases, roles: np.ndarray, pixels: Pixels) -> list[str]:
    """The held-out cases (measure and test) with known lesion masks, at most so many that their maps hold
    MOST_PIXELS, chosen by a digest of their names. Empty for images of people.

    >>> from pathlib import Path
    >>> import pandas as pd
    >>> cases = Cases(pd.DataFrame({"case_id": ["a", "b"]}), "phantom", Path("phantom"))
    >>> known_cases(cases, np.array(["test", "fit"]), Pixels(size=(64, 64)))
    ['a']
    """
    if cases.source != "phantom":
        return []
    table = cases.table
    held_out = table["case_id"][np.isin(roles, ("measure", "test"))].tolist()
    most = MOST_PIXELS // (pixels.size[0] * pixels.size[1])
    return sorted(sorted(held_out, key=lambda case: digest("truth", case))[: max(most, 1)])


def lesions(cases: Cases, case_ids: list[str], pixels: Pixels) -> np.ndarray:
    """The true lesions in the pixels of the contract, bool "images rows cols"."""
    masks = [phantom.masks_seen(cases, case, pixels)["lesion"] for case in case_ids]
    return np.stack(masks) if masks else np.zeros((0, *pixels.size), bool)
