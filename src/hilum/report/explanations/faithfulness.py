"""Faithfulness of the maps: the table of methods, phantom images with known lesions, and lungs."""

from typing import Any

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import Faithfulness, Lungs, Truth
from hilum.report.explanations.verdicts import depends, matters, numbers_of, steady
from hilum.report.wording import NOTHING, count, number, percent, plural

COLUMNS = (
    ("deletion", "Deletion", "area under the probability as the marked pixels are removed; low is good"),
    ("insertion", "Insertion", "the same while the marked pixels are added; high is good"),
    (
        "unexplained",
        "Unexplained changes",
        "share of the changes of evidence under covered squares that the map does not predict (infidelity,"
        " after the best scaling of the map), 0 to 1; low is good",
    ),
    (
        "randomised",
        "Random weights",
        "rank correlation with the map of a network with random weights; near 0 is good",
    ),
    ("noise", "Noise", "rank correlation with the map of the image with a little noise; near 1 is good"),
    ("shift", "Shift", "rank correlation with the map of the image shifted a little; near 1 is good"),
)
"""Keys of MapFigures, their headings, and what they mean."""

TRUTH = (
    ("pointing", "Pointing game", "share of images whose highest point lies in the lesion"),
    ("energy", "Energy inside", "share of the evidence for the class inside the lesion"),
    ("iou", "Overlap", "intersection over union of the lesion and the strongest area of its size"),
)


def cell(figure: Figure | float | None, share: bool = False) -> dict[str, str]:
    """A number with its counts and interval, as a cell; `share` prints percentages.

    >>> cell(0.5)["value"], cell(Figure(value=0.25, low=0.2, high=0.3))["interval"]
    ('0.50', '0.20 to 0.30')
    """
    block = figure if isinstance(figure, Figure) else Figure(value=figure)
    if block.value is None or block.value != block.value:
        return {"value": NOTHING, "of": "", "interval": ""}
    printed = percent(block.value) if share else number(block.value, 2)
    of = "" if block.k is None or block.n is None else f"{count(block.k)}/{count(block.n)}"
    low, high = block.low, block.high
    if low is None or high is None:
        return {"value": printed, "of": of, "interval": ""}
    ends = f"{100 * low:.1f} to {percent(high)}" if share else f"{number(low, 2)} to {number(high, 2)}"
    return {"value": printed, "of": of, "interval": ends}


def _head(columns: tuple[tuple[str, str, str], ...]) -> list[dict[str, str]]:
    return [{"title": title, "meaning": meaning} for _, title, meaning in columns]


def line(known: Faithfulness | None, method: str, case_id: str) -> str:
    """One line under a picture, in words and with its numbers; empty where nothing was measured.

    >>> line(None, "grad_cam", "some case")
    ''
    """
    rows = {row.name: row for row in known.rows} if known else {}
    if method not in rows:
        return ""
    mean, random = rows[method], rows["random"]
    own, chance = mean.images.get(case_id, mean), random.images.get(case_id, random)
    words = (
        matters(own.deletion, own.insertion, (chance.deletion, chance.insertion)),
        depends(mean.randomised),
        steady(mean.noise),
    )
    return f"{' '.join(words)} ({numbers_of(own, mean)})"


def table(known: Faithfulness | None) -> dict[str, Any] | None:
    """The table of all methods, with random numbers and an edge detector as rows.

    >>> from hilum.artifacts.explanations import MethodFigures
    >>> row = MethodFigures.model_construct(title="Grad-CAM", kind="method", deletion=0.2, insertion=0.9,
    ...     unexplained=0.5, randomised=0.1, noise=0.9, shift=0.8)
    >>> shown = table(Faithfulness.model_construct(images=2, rows=[row]))
    >>> [cell["value"] for cell in shown["rows"][0]["cells"]]
    ['0.20', '0.90', '0.50', '0.10', '0.90', '0.80']
    """
    if known is None:
        return None
    rows = [
        {
            "title": row.title,
            "baseline": row.kind == "baseline",
            "cells": [cell(getattr(row, key)) for key, _, _ in COLUMNS],
        }
        for row in known.rows
    ]
    return {"columns": _head(COLUMNS), "rows": rows, "images": plural(known.images, "image")}


def agreement(known: Faithfulness | None) -> dict[str, Any] | None:
    """Rank correlations of the maps of each pair of methods, as a table.

    >>> from hilum.artifacts.explanations import Agreement
    >>> pair = Agreement(names=["Grad-CAM", "RISE"], values=[[1.0, 0.4], [0.4, 1.0]])
    >>> agreement(Faithfulness(images=2, rows=[], agreement=pair))["rows"][0]
    {'title': 'Grad-CAM', 'cells': ['1.00', '0.40']}
    """
    if known is None:
        return None
    pairs = zip(known.agreement.names, known.agreement.values, strict=True)
    rows = [{"title": name, "cells": [number(value, 2) for value in values]} for name, values in pairs]
    return {"names": known.agreement.names, "rows": rows}


def truth(known: Truth | None) -> dict[str, Any] | None:
    """On phantom images: how well each method finds the lesion.

    >>> from hilum.artifacts.explanations import TruthFigure, TruthRow
    >>> hits = TruthFigure(value=0.8, low=0.6, high=1.0, k=8, n=10, chance=0.1)
    >>> row = TruthRow.model_construct(name="rise", title="RISE", kind="method", pointing=hits, energy=hits, iou=hits)
    >>> shown = truth(Truth(
    ...     images=10, missed=0, lesion_area=0.1, tolerance=2, rows=[row], best="rise", failures=[]))
    >>> print(shown["lead"].replace("\\xa0", " "))
    The best result is that of RISE: its highest point lies in the lesion in 80.0 % of the images (8/10; 95
    % CI 60.0 to 100.0 %). The lesions fill 10 % of an image, which is how often a map of random numbers
    would hit.
    """
    if known is None:
        return None
    rows = [
        {
            "title": row.title,
            "baseline": row.kind == "baseline",
            "cells": [cell(getattr(row, key), share=key != "iou") for key, _, _ in TRUTH],
        }
        for row in known.rows
    ]
    best = next(row for row in known.rows if row.name == known.best)
    points = cell(best.pointing, share=True)
    lead = (
        f"The best result is that of {best.title}: its highest point lies in the lesion in {points['value']} of"
        f" the images ({points['of']}; 95 % CI {points['interval']}). The lesions fill"
        f" {percent(known.lesion_area, 0)} of an image, which is how often a map of random numbers would hit."
    )
    missed = (
        f"Abnormal images that the model classifies as normal are left out: {known.missed}."
        if known.missed
        else ""
    )
    return {
        "columns": _head(TRUTH),
        "rows": rows,
        "images": plural(known.images, "image"),
        "lead": lead,
        "missed": missed,
    }


def lungs(known: Lungs | None) -> dict[str, Any] | None:
    """Which share of each map lies inside the lungs, beside the share of the image that they fill.

    >>> lungs(Lungs(images=2, area=0.25, overlap=0.96, rows=[]))["overlap"]
    '0.96'
    """
    if known is None:
        return None
    rows = [
        {"title": row.title, "baseline": row.kind == "baseline", "share": cell(row.share, share=True)}
        for row in known.rows
    ]
    return {
        "rows": rows,
        "area": percent(known.area),
        "images": plural(known.images, "image"),
        "overlap": number(known.overlap, 2),
    }
