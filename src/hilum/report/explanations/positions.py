"""Occlusion position by position: the probability of the class with the mask at each place, as a picture."""

from dataclasses import dataclass

import numpy as np

from hilum.report.explanations.reading import PROBABILITY, TaskExplanations, raw_map
from hilum.report.pictures import Image
from hilum.report.wording import count, listing, probability

FILLS = {"zero": "black", "mean": "even grey", "blur": "blurred", "noise": "noisy"}

NARROW = 0.5
"""A map whose values span less is shown on a scale of its own as well."""


@dataclass(frozen=True)
class RawPicture:
    """The probability at every position of the mask as a picture, beside the image. `stretched`: the same from its
    lowest to its highest value, for a map that shows nothing from 0 to 1; None for others."""

    source: str
    stretched: str | None
    image: Image
    case: str
    label: str
    target_class: str
    range: str
    without: str


@dataclass(frozen=True)
class RawMaps:
    """Occlusion position by position; `mask`, `stride`: pixels."""

    pictures: list[RawPicture]
    mask: int
    stride: int
    fill: str
    positions: str
    classes: str


def raw_maps(task: TaskExplanations) -> RawMaps | None:
    """The probability of the class at every position of the mask, as a picture by itself; None without such maps.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.explanations import Explanations
    >>> from hilum.artifacts.metrics import Metrics
    >>> from hilum.folders import AttributionFolder, TaskFolder
    >>> from hilum.report.results import Results
    >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
    ...     TaskFolder(Path("binary")))
    >>> figures = Explanations.model_construct(images=[], occlusion={})
    >>> raw_maps(TaskExplanations(task, figures, AttributionFolder(Path("none")), pd.Series())) is None
    True
    """
    pictures: list[RawPicture] = []
    known = task.figures.occlusion
    for row in task.figures.examples:
        values, facts = task.map_of(PROBABILITY, row.case_id), known.get(row.case_id)
        if values is None or facts is None:
            continue
        pictures.append(
            RawPicture(
                source=raw_map(values),
                stretched=_stretched(values),
                image=task.plain(row.case_id, 200),
                case=row.case_id,
                label=row.label,
                target_class=facts.target_class,
                range=f"{probability(facts.lowest)} to {probability(facts.highest)}",
                without=probability(facts.probability),
            )
        )
    if not pictures:
        return None
    facts = next(iter(known.values()))
    rows, cols = facts.positions
    return RawMaps(
        pictures=pictures,
        mask=facts.mask,
        stride=facts.stride,
        fill=FILLS[facts.fill],
        positions=f"{rows} × {cols} = {count(rows * cols)}",
        classes=listing(
            [f"P({name})" for name in dict.fromkeys(picture.target_class for picture in pictures)]
        ),
    )


def _stretched(values: np.ndarray) -> str | None:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return raw_map((values - low) / (high - low)) if 0 < high - low < NARROW else None
