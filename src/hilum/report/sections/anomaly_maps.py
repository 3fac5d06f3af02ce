"""Pictures of the anomaly section: image, reconstruction and map, on one colour scale per detector."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.report.figures import look
from hilum.report.strangeness import Scale, image_picture, map_picture, scale_of
from hilum.report.wording import number

Arrays = dict[str, np.ndarray]


def triptychs(examples: Arrays, row: str, labels: pd.Series, scores: pd.DataFrame) -> dict[str, Any] | None:
    """Strangest healthy and least strange abnormal images of one detector with what it makes of them."""
    own = _of(examples, row)
    if not own or not len(own["case_id"]):
        return None
    scale = scale_of(own["map"])
    groups = []
    for why in ("strangest healthy", "least strange abnormal"):
        chosen = np.flatnonzero(own["why"] == why).tolist()
        groups.append(
            {"title": why, "images": [_triptych(own, at, scale, labels, scores, row) for at in chosen]}
        )
    return {
        "groups": [group for group in groups if group["images"]],
        "low": _value(scale.low),
        "high": _value(scale.high),
        "reconstructs": "reconstruction" in own,
        "outlined": "lesion" in own,
    }


def _triptych(
    own: Arrays, at: int, scale: Scale, labels: pd.Series, scores: pd.DataFrame, row: str
) -> dict[str, Any]:
    case = str(own["case_id"][at])
    lesion = own["lesion"][at] if "lesion" in own else None
    pictures = [("image", image_picture(case, own["image"][at], lesion))]
    if "reconstruction" in own:
        pictures.append(("as the detector rebuilds it", image_picture(case, own["reconstruction"][at])))
    pictures.append(("map of strangeness", map_picture(case, own["map"][at], scale, lesion)))
    line = scores.loc[scores["case_id"] == case].iloc[0]
    return {
        "case": case,
        "label": labels[case],
        "colour": look(labels[case], [labels[case]]).colour,
        "pictures": pictures,
        "score": _value(line[row]),
        "p": number(line[f"{row}_p"], 3),
    }


def compared(
    examples: Arrays, rows: Sequence[str], labels: pd.Series, named: Callable[[str], str]
) -> dict[str, Any] | None:
    """The same images, one per label, as every detector sees them; each detector on its own scale."""
    known = {row: own for row in rows if (own := _of(examples, row)) and len(own["case_id"])}
    if len(known) < 2:
        return None
    first = next(iter(known.values()))
    same = np.flatnonzero(first["why"] == "same")
    scales = {row: scale_of(own["map"]) for row, own in known.items()}
    return {
        "heads": [(named(row), f"{_value(scales[row].low)} to {_value(scales[row].high)}") for row in known],
        "images": [_row(first, known, scales, int(at), labels, named) for at in same],
    }


def _row(
    first: Arrays,
    known: dict[str, Arrays],
    scales: dict[str, Scale],
    at: int,
    labels: pd.Series,
    named: Callable[[str], str],
) -> dict[str, Any]:
    case = str(first["case_id"][at])
    lesion = first["lesion"][at] if "lesion" in first else None
    maps = []
    for row, own in known.items():
        place = np.flatnonzero((own["case_id"] == case) & (own["why"] == "same"))
        if len(place):
            maps.append((named(row), map_picture(case, own["map"][place[0]], scales[row], lesion)))
    return {
        "case": case,
        "label": labels[case],
        "colour": look(labels[case], [labels[case]]).colour,
        "image": image_picture(case, first["image"][at], lesion),
        "maps": maps,
    }


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
