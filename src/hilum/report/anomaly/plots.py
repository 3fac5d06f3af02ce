"""Drawings of the anomaly section: histograms of scores by label, and anomaly maps in colour."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from markupsafe import Markup

from hilum.report.figures import INK, in_style, look, new_figure, svg
from hilum.report.pictures import Image, data_uri

SIDE = 200
"""Pixels along the longer side of a map on the page."""

COLOURS = "inferno"
"""matplotlib's colour map for maps without a sign: even in lightness, readable in grey and by the
colour-blind."""

OUTLINE = (80, 220, 255)
"""Of a known lesion, blue, green, red: a yellow that stands out on images and on maps."""


@dataclass(frozen=True)
class Scale:
    """The values that get the first and the last colour; the same for all maps of one detector."""

    low: float
    high: float


def scale_of(maps: np.ndarray) -> Scale:
    """One scale for all maps, float "n rows cols": from the 1st percentile of all values to the upper quartile,
    over the images, of their 99.5th percentile. One image with very high values then doesn't darken the others; the
    brightest colour means "this value or more".

    >>> scale_of(np.stack([np.full((2, 2), value) for value in (0.0, 1.0, 2.0, 3.0, 99.0)])).high
    3.0
    """
    low = float(np.percentile(maps, 1))
    high = float(np.percentile(np.percentile(maps, 99.5, axis=(1, 2)), 75))
    return Scale(low, max(high, low + 1e-12))


def map_picture(name: str, values: np.ndarray, scale: Scale, lesion: np.ndarray | None = None) -> Image:
    """A map "rows cols" in colour, enlarged smoothly; the lesion's outline on it where it is known.

    >>> picture = map_picture("a", np.eye(4), Scale(0, 1))
    >>> picture.rows, picture.columns, picture.source[:16]
    (200, 200, 'data:image/webp;')
    """
    shade = np.clip((values - scale.low) / (scale.high - scale.low), 0, 1)
    large = _enlarged(np.asarray(255 * shade, np.float32))
    image = _palette()[np.rint(large).astype(np.uint8)]
    return _picture(name, _outlined(image, lesion))


def image_picture(name: str, image: np.ndarray, lesion: np.ndarray | None = None) -> Image:
    """A prepared image uint8 "rows cols" at the size of the maps; the lesion's outline where it is known.

    >>> picture = image_picture("a", np.zeros((4, 2), np.uint8))
    >>> picture.rows, picture.columns
    (200, 100)
    """
    large = _enlarged(image)
    return _picture(name, _outlined(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), lesion))


def colour_bar() -> str:
    """The colours from low to high as a thin picture, a data URI.

    >>> colour_bar()[:23]
    'data:image/webp;base64,'
    """
    return data_uri(np.repeat(_palette()[None], 8, axis=0), 95)


def _picture(name: str, image: np.ndarray) -> Image:
    return Image(name, data_uri(image, 82), image.shape[0], image.shape[1])


def _enlarged(image: np.ndarray) -> np.ndarray:
    factor = SIDE / max(image.shape[:2])
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def _outlined(image: np.ndarray, lesion: np.ndarray | None) -> np.ndarray:
    if lesion is None or not lesion.any():
        return image
    inside = _enlarged(lesion.astype(np.float32)) > 0.5
    edges, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.ascontiguousarray(image), edges, -1, OUTLINE, 1))


@cache
def _palette() -> np.ndarray:
    """uint8 "256 3", blue, green, red."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS](np.arange(256))[:, 2::-1]
    return np.rint(255 * colours).astype(np.uint8)


@in_style
def score_panels(scores: Mapping[str, np.ndarray], labels: Sequence[str], line: float, name: str) -> Markup:
    """Histograms of the anomaly score: a row per label, shares of the label's images, the threshold dashed. Scores
    above the 99.5th percentile of all are in the last bin.

    >>> scores = {"normal": np.array([0.1, 0.2]), "virus": np.array([0.7, 0.9])}
    >>> print(score_panels(scores, ["normal", "virus"], 0.5, "scores").split('"')[5])
    Anomaly scores by label; medians: normal 0.15, virus 0.8; threshold 0.5
    """
    figure = new_figure(5.2, 0.7 + 0.85 * len(labels))
    rows = figure.subplots(len(labels), 1, sharex=True, squeeze=False)[:, 0]
    values_of_all = np.concatenate([scores[label] for label in labels])
    low, high = float(values_of_all.min()), float(max(np.percentile(values_of_all, 99.5), line))
    edges = np.linspace(low, high + 1e-9 * max(abs(high), 1.0), 41)
    for axes, label in zip(rows, labels, strict=True):
        values = np.clip(scores[label], edges[0], edges[-1])
        counts = np.histogram(values, edges)[0] / max(len(values), 1)
        colour = look(label, labels).colour
        axes.bar(edges[:-1], 100 * counts, width=np.diff(edges), align="edge", color=colour, alpha=0.85)
        axes.axvline(line, color=INK, linewidth=1.0, linestyle="--")
        above = float((scores[label] > line).mean())
        text = f"{label}, {len(values):,} images: {100 * above:.0f} % above"
        axes.text(
            0.99,
            0.9,
            text,
            ha="right",
            va="top",
            transform=axes.transAxes,
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
        )
        axes.set_ylabel("% of images", fontsize=8)
        axes.set_ylim(0, 1.35 * max(100 * counts.max(), 1e-9))
    rows[0].set_title("Anomaly scores by label")
    rows[-1].set_xlabel("anomaly score (no unit; higher is more anomalous)")
    medians = ", ".join(f"{label} {np.median(scores[label]):.3g}" for label in labels)
    return svg(figure, name, f"Anomaly scores by label; medians: {medians}; threshold {line:.3g}")
