"""Images whose lesions are known to the pixel: drawn ones, where a map can be right or wrong."""

import numpy as np

from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.sources import phantom
from hilum.files import digest

MOST_PIXELS = 6_000_000
"""Map pixels that are compared with the truth; bounds memory (200 MB) and time."""


def known_cases(cases: Cases, roles: np.ndarray, pixels: Pixels) -> list[str]:
    """The held-back cases (measure and test) whose lesion masks are at hand, at most so many that their maps
    hold MOST_PIXELS; drawn in the order of a digest of their names. Empty for images of people."""
    if cases.source != "phantom":
        return []
    table = cases.table
    held = table["case_id"][np.isin(roles, ("measure", "test"))].tolist()
    most = MOST_PIXELS // (pixels.size[0] * pixels.size[1])
    return sorted(sorted(held, key=lambda case: digest("truth", case))[: max(most, 1)])


def lesions(cases: Cases, case_ids: list[str], pixels: Pixels) -> np.ndarray:
    """The true lesions in the pixels of the contract, bool "images rows cols"."""
    found = [
        pixels.prepare(phantom.masks(cases.root, case)["lesion"].astype(np.uint8) * 255) > 127
        for case in case_ids
    ]
    return np.stack(found) if found else np.zeros((0, *pixels.size), bool)
