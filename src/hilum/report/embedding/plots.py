"""The still map, for paper and for browsers without scripts."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from hilum.report.embedding.explorer import class_order
from hilum.report.figures import INK, look
from hilum.report.wording import listing, plural, split_name

WIDTH, HEIGHT, DOT = 460, 420, 3.4
"""CSS pixels of the drawing, and of its markers."""


def still_map(images: pd.DataFrame, name: str, classes: Sequence[str], title: str, alt: str) -> Markup:
    """A map as small SVG: one path per label, so that 5,856 images take about 120 kB. `name` is the map's
    column prefix. Images whose place is unknown are left out.

    >>> images = pd.DataFrame({"label": ["normal", "virus"], "tsne_x": [0.0, 1.0], "tsne_y": [0.0, 1.0]})
    >>> drawing = still_map(images, "tsne", ["normal", "virus"], "t-SNE", "t-SNE map of 2 images")
    >>> print(drawing.split('"')[5], drawing.count("<path"), sep="; ")
    t-SNE map of 2 images; 2
    """
    known = images[images[f"{name}_x"].notna() & images[f"{name}_y"].notna()]
    across, down = _places(known[f"{name}_x"].to_numpy(float), known[f"{name}_y"].to_numpy(float))
    labels = known["label"].to_numpy()
    paths = []
    for label in sorted(set(labels), key=class_order(classes)):
        mine, here = look(label, [*classes, label]), labels == label
        path = _path(across[here], down[here], mine.marker)
        paths.append(f'<path d="{path}" fill="{mine.colour}" fill-opacity=".65"/>')
    return Markup(
        f'<svg class="drawing" role="img" aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' style="width:{WIDTH}px;aspect-ratio:{WIDTH}/{HEIGHT}">'
        f'<text x="6" y="16" font-size="12.5" font-weight="bold" fill="{INK}">{escape(title)}</text>'
        f"{''.join(paths)}</svg>"
    )


def stills(shown: pd.DataFrame, name: str, title: str, classes: Sequence[str]) -> list[Markup]:
    """A map twice: images that it was fitted on, and images that were placed afterwards. `name`: its column prefix.

    >>> images = pd.DataFrame({"split": ["train", "val"], "label": "normal", "tsne_x": [0.0, 1], "tsne_y": [0.0, 1]})
    >>> spoken = [drawing.split('"')[5] for drawing in stills(images, "tsne", "t-SNE", ["normal"])]
    >>> print("; ".join(spoken).replace("\\xa0", " "))
    t-SNE map, 1 training image; t-SNE map, 1 validation image
    """
    train = shown["split"] == "train"
    held_out = listing([split_name(split) for split in ("val", "test") if (shown["split"] == split).any()])
    halves = {"training": train, held_out: ~train}
    return [
        still_map(shown[rows], name, classes, f"{title}: {words}", f"{title} map, {words}")
        for kind, rows in halves.items()
        if rows.any()
        for words in [plural(int(rows.sum()), f"{kind} image")]
    ]


def _places(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places on the map -> pixels of the drawing: both axes on one scale, y upwards, in the middle."""
    width, height, top = WIDTH - 12, HEIGHT - 40, 34
    scale = min(width / max(np.ptp(x), 1e-12), height / max(np.ptp(y), 1e-12))
    across = 6 + (width - scale * np.ptp(x)) / 2 + scale * (x - x.min())
    down = top + (height - scale * np.ptp(y)) / 2 + scale * (y.max() - y)
    return across, down


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
