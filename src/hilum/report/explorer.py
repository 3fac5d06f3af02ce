"""The interactive map of cases: what its script reads, and the still drawing for paper.

plotly draws the map. Its script is put into the page once, compressed, and unpacked by the reader's browser
when the map comes near, so that the page opens at once and asks nothing of any server.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from hilum.report.figures import INK, look
from hilum.report.sprites import COLUMNS, Sprites
from hilum.report.wording import SPLIT_NAMES

MOST = 10_000
"""Images on the map. Of larger sets all held-out images are kept first, and training images are drawn."""

SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "h": "hexagon",
}
"""matplotlib's markers, which the figures use, in plotly's words."""

WIDTH, HEIGHT, DOT = 460, 420, 3.4
"""The still drawing, in CSS pixels, and the size of its markers."""


def plotly_packed() -> str:
    """plotly.min.js as gzip in base64: 2 MB instead of 4.8. The same plotly gives the same letters."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode("ascii")


def drawn(table: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """At most `most` rows: the held-out ones first, then training images drawn at random, in the old order.

    >>> len(drawn(pd.DataFrame({"split": ["train"] * 9 + ["test"]}), most=4))
    4
    """
    if len(table) <= most:
        return table
    held_out = table[table["split"] != "train"]
    held_out = held_out.sample(min(len(held_out), most), random_state=0)
    train = table[table["split"] == "train"]
    rest = train.sample(min(len(train), most - len(held_out)), random_state=0)
    return table.loc[sorted([*held_out.index, *rest.index])]


def script_data(
    images: pd.DataFrame,
    maps: Mapping[str, str],
    neighbors: pd.DataFrame,
    classes: Sequence[str],
    pictures: Sprites,
    space: str,
) -> dict[str, Any]:
    """What space.js reads, as plain values without NaN.

    `images`: a row per image with case_id, patient, split, label, target, predicted, prob_<class>,
    <map>_x, <map>_y, and strangeness where it is known; `maps`: map -> its title; `neighbors`: case_id, rank,
    neighbor, distance; `space`: the words behind "most alike".
    """
    row_of = {case: row for row, case in enumerate(images["case_id"])}
    rows, distances = _neighbor_lists(neighbors, row_of)
    parts = [part for part in ("train", "val", "test") if (images["split"] == part).any()]
    sure = [round(float(row[f"prob_{row['predicted']}"]), 4) for row in images.to_dict("records")]
    return {
        "images": {
            "case": images["case_id"].tolist(),
            "patient": images["patient"].tolist(),
            "split": images["split"].tolist(),
            "label": images["label"].tolist(),
            "target": images["target"].tolist(),
            "called": images["predicted"].tolist(),
            "sure": sure,
            "tile": [pictures.tile_of.get(case) for case in images["case_id"]],
        },
        "classes": [
            _class(name, classes) for name in sorted({*classes, *images["label"]}, key=_order(classes))
        ],
        "splits": parts,
        "split_names": {part: SPLIT_NAMES[part] for part in parts},
        "maps": {
            title: {axis: _numbers(images[f"{name}_{axis}"]) for axis in "xy"} for name, title in maps.items()
        },
        "scores": _scores(images, classes),
        "neighbors": {"rows": rows, "distances": distances, "title": space},
        "sprites": {"sheets": list(pictures.sheets), "columns": COLUMNS},
        "first": _first(images),
    }


def _class(name: str, classes: Sequence[str]) -> dict[str, str]:
    """A label that is no class of the task (bacteria in a binary task) has its own look."""
    mine = look(name, [*classes, name])
    return {"name": name, "colour": mine.colour, "symbol": SYMBOLS[mine.marker]}


def _order(classes: Sequence[str]) -> Any:
    """Sorts the task's classes first, in their order, then other labels by name."""
    return lambda name: (classes.index(name) if name in classes else len(classes), name)


def _scores(images: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Numbers to colour by: the probability that the image is not healthy, where the model knows a healthy
    class; how strange the image is to a detector that knows healthy images alone (column `strangeness`)."""
    scores = {}
    healthy = f"prob_{classes[0]}"
    if classes[0] == "normal" and healthy in images:
        scores["probability_of_sickness"] = {
            "name": "probability of sickness",
            "values": _numbers(1 - images[healthy]),
        }
    if "strangeness" in images:
        scores["strangeness"] = {
            "name": "strangeness to healthy lungs",
            "values": _numbers(images["strangeness"]),
        }
    return scores


def _numbers(values: pd.Series) -> list[float | None]:
    """Four digits are more than a screen shows."""
    return [None if value != value else float(f"{value:.4g}") for value in values.to_numpy(float)]


def _neighbor_lists(
    neighbors: pd.DataFrame, row_of: Mapping[str, int]
) -> tuple[list[list[int]], list[list[float]]]:
    """For each image the rows and distances of its neighbours, nearest first; those off the map are out."""
    rows: list[list[int]] = [[] for _ in row_of]
    distances: list[list[float]] = [[] for _ in row_of]
    table = neighbors.sort_values(["case_id", "rank"], kind="stable")
    for case, other, distance in zip(table["case_id"], table["neighbor"], table["distance"], strict=True):
        if case in row_of and other in row_of:
            rows[row_of[case]].append(row_of[other])
            distances[row_of[case]].append(float(f"{distance:.4g}"))
    return rows, distances


def _first(images: pd.DataFrame) -> int:
    """The image that is shown until the reader chooses one: the first held-out one that is named wrongly."""
    wrong = (images["split"] != "train") & (images["target"] != images["predicted"])
    return int(np.argmax(wrong.to_numpy())) if wrong.any() else 0


def as_script(value: Any) -> Markup:
    r"""JSON that may stand inside a script element: no '<', so that no name can close it.

    >>> as_script({"case": "</script>"})
    Markup('{"case":"\\u003c/script>"}')
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


# -- the still drawing -------------------------------------------------------------------------------------


def still_map(images: pd.DataFrame, name: str, classes: Sequence[str], title: str, alt: str) -> Markup:
    """A map as small SVG: one path per label, so that 5,856 images take about 120 kB. `name` is the map's
    column prefix. Images whose place is unknown are left out."""
    known = images[images[f"{name}_x"].notna() & images[f"{name}_y"].notna()]
    x, y = known[f"{name}_x"].to_numpy(float), known[f"{name}_y"].to_numpy(float)
    width, height, top = WIDTH - 12, HEIGHT - 40, 34
    scale = min(width / max(np.ptp(x), 1e-12), height / max(np.ptp(y), 1e-12))
    across = 6 + (width - scale * np.ptp(x)) / 2 + scale * (x - x.min())
    down = top + (height - scale * np.ptp(y)) / 2 + scale * (y.max() - y)
    labels = known["label"].to_numpy()
    looks = {one: look(one, [*classes, one]) for one in sorted(set(labels), key=_order(classes))}
    paths = "".join(
        f'<path d="{_path(across[labels == one], down[labels == one], how.marker)}" fill="{how.colour}"'
        ' fill-opacity=".65"/>'
        for one, how in looks.items()
    )
    return Markup(
        f'<svg class="drawing" role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' style="width:{WIDTH}px;aspect-ratio:{WIDTH}/{HEIGHT}">'
        f'<text x="6" y="16" font-size="12.5" font-weight="bold" fill="{INK}">{escape(title)}</text>'
        f"{paths}</svg>"
    )


def _path(across: np.ndarray, down: np.ndarray, marker: str) -> str:
    """The markers of one class as one path: circle, triangle or square, whichever is nearest."""
    d, r = DOT, DOT / 2
    shapes = {
        "o": f"m{-r:g} 0a{r:g} {r:g} 0 1 0 {d:g} 0a{r:g} {r:g} 0 1 0 {-d:g} 0",
        "^": f"m0 {-1.2 * r:.3g}l{1.2 * r:.3g} {2.2 * r:.3g}h{-2.4 * r:.3g}z",
        "v": f"m0 {1.2 * r:.3g}l{1.2 * r:.3g} {-2.2 * r:.3g}h{-2.4 * r:.3g}z",
    }
    square = f"m{-r:g} {-r:g}h{d:g}v{d:g}h{-d:g}z"
    shape = shapes.get(marker, square)
    return "".join(f"M{a:.4g} {b:.4g}{shape}" for a, b in zip(across, down, strict=True))
