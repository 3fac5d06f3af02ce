"""Pictures of the anomaly section: image, reconstruction and anomaly map, on one colour scale per detector."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hilum.report.anomaly.figures import row_name
from hilum.report.anomaly.plots import Scale, image_picture, map_picture, scale_of
from hilum.report.figures import look
from hilum.report.pictures import Image
from hilum.report.wording import number

Arrays = dict[str, np.ndarray]

ERRORS = {
    "highest healthy": "Healthy images with the highest anomaly scores",
    "lowest abnormal": "Abnormal images with the lowest anomaly scores",
}
"""Why an image is an example, and the heading."""
RANDOM = "random"


@dataclass(frozen=True)
class Example:
    """One image with its pictures by name, its score and its conformal p-value."""

    case: str
    label: str
    colour: str
    pictures: list[tuple[str, Image]]
    score: str
    p: str


@dataclass(frozen=True)
class ExampleGroup:
    """Images that are shown for the same reason."""

    title: str
    images: list[Example]


@dataclass(frozen=True)
class Triptychs:
    """`low`, `high`: ends of the colour scale; `outlined`: where the true lesion is known."""

    groups: list[ExampleGroup]
    low: str
    high: str
    reconstructs: bool
    outlined: bool


@dataclass(frozen=True)
class ComparedImage:
    """One image with the map of every detector."""

    case: str
    label: str
    colour: str
    image: Image
    maps: list[tuple[str, Image]]


@dataclass(frozen=True)
class ComparedMaps:
    """`heads`: each detector and the range of its colours."""

    heads: list[tuple[str, str]]
    images: list[ComparedImage]


def triptychs(examples: Arrays, row: str, labels: pd.Series, scores: pd.DataFrame) -> Triptychs | None:
    """The errors of one detector: image, reconstruction and anomaly map; None without examples.

    `examples`: of examples.npz; `labels`: case_id -> label; `scores`: scores.csv.

    >>> arrays = {"case_id": np.array(["a"]), "why": np.array(["highest healthy"]),
    ...     "image": np.zeros((1, 8, 8), np.uint8), "map": np.eye(8)[None]}
    >>> scores = pd.DataFrame({"case_id": ["a"], "vae": [2.5], "vae_p": [0.01]})
    >>> examples = {f"vae/{name}": each for name, each in arrays.items()}
    >>> shown = triptychs(examples, "vae", pd.Series({"a": "normal"}), scores)
    >>> [(image.case, image.score, image.p) for image in shown.groups[0].images]
    [('a', '2.5', '0.010')]
    """
    own = _of(examples, row)
    if not own or not len(own["case_id"]):
        return None
    scale = scale_of(own["map"])
    groups = []
    for why, title in ERRORS.items():
        chosen = np.flatnonzero(own["why"] == why).tolist()
        images = [_triptych(own, place, scale, labels, scores, row) for place in chosen]
        groups.append(ExampleGroup(title, images))
    return Triptychs(
        groups=[group for group in groups if group.images],
        low=_value(scale.low),
        high=_value(scale.high),
        reconstructs="reconstruction" in own,
        outlined="lesion" in own,
    )


def _triptych(
    own: Arrays, place: int, scale: Scale, labels: pd.Series, scores: pd.DataFrame, row: str
) -> Example:
    case = str(own["case_id"][place])
    lesion = own["lesion"][place] if "lesion" in own else None
    pictures = [("Image", image_picture(case, own["image"][place], lesion))]
    if "reconstruction" in own:
        pictures.append(("Reconstruction", image_picture(case, own["reconstruction"][place])))
    pictures.append(("Anomaly map", map_picture(case, own["map"][place], scale, lesion)))
    known = scores.loc[scores["case_id"] == case].iloc[0]
    return Example(
        case=case,
        label=labels[case],
        colour=look(labels[case], [labels[case]]).colour,
        pictures=pictures,
        score=_value(known[row]),
        p=number(known[f"{row}_p"], 3),
    )


def compared(examples: Arrays, rows: Sequence[str], labels: pd.Series) -> ComparedMaps | None:
    """The maps of every detector for the same images, one per label, each detector on its own scale; None with
    fewer than two detectors.

    >>> arrays = {"case_id": np.array(["a"]), "why": np.array([RANDOM]),
    ...     "image": np.zeros((1, 8, 8), np.uint8), "map": np.eye(8)[None]}
    >>> both = {f"{row}/{name}": each for row in ("vae", "patch_memory") for name, each in arrays.items()}
    >>> compared(both, ["vae", "patch_memory"], pd.Series({"a": "normal"})).heads
    [('vae', '0 to 1'), ('patch memory', '0 to 1')]
    """
    known = {row: own for row in rows if (own := _of(examples, row)) and len(own["case_id"])}
    if len(known) < 2:
        return None
    first = next(iter(known.values()))
    chosen = np.flatnonzero(first["why"] == RANDOM).tolist()
    scales = {row: scale_of(own["map"]) for row, own in known.items()}
    return ComparedMaps(
        heads=[(row_name(row), f"{_value(scales[row].low)} to {_value(scales[row].high)}") for row in known],
        images=[_compared_row(first, known, scales, place, labels) for place in chosen],
    )


def _compared_row(
    first: Arrays, known: dict[str, Arrays], scales: dict[str, Scale], place: int, labels: pd.Series
) -> ComparedImage:
    case = str(first["case_id"][place])
    lesion = first["lesion"][place] if "lesion" in first else None
    maps = []
    for row, own in known.items():
        same = np.flatnonzero((own["case_id"] == case) & (own["why"] == RANDOM))
        if len(same):
            maps.append((row_name(row), map_picture(case, own["map"][same[0]], scales[row], lesion)))
    return ComparedImage(
        case=case,
        label=labels[case],
        colour=look(labels[case], [labels[case]]).colour,
        image=image_picture(case, first["image"][place], lesion),
        maps=maps,
    )


def _of(examples: Arrays, row: str) -> Arrays:
    """The arrays of one detector by their short names."""
    prefix = f"{row}/"
    return {name.removeprefix(prefix): examples[name] for name in examples if name.startswith(prefix)}


def _value(value: float) -> str:
    """Three digits, a typographic minus.

    >>> _value(-0.01234), _value(123.4)
    ('−0.0123', '123')
    """
    return f"{value:.3g}".replace("-", "−")
