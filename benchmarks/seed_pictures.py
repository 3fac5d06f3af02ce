"""Pictures of docs/results.md from a run of the recipe `seed`: maps alone and synthesised inputs, no patient's image.

    hilum explain RUN --task binary
    python benchmarks/seed_pictures.py RUN docs/pictures

seed-occlusion.webp: task 4b, the probability of the true class at each position of the mask, each map on its own scale.
seed-synthesis.webp: task 4c, ascent from noise for 64 filters; the plain ascent starts from a radiograph, what it
adds is shown beside, never the image.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from hilum.artifacts.explanations import Explanations
from hilum.folders import AttributionFolder
from hilum.report.heat import cividis, grey_levels
from hilum.run import Run

INK, PAPER, GAP, LINE, SCALE = (20, 20, 20), 255, 14, 24, 3
COLUMNS = 8


def labelled(picture: np.ndarray, words: list[str]) -> np.ndarray:
    """`picture` "rows cols 3" on paper, with lines of text below it."""
    sheet = np.full((picture.shape[0] + LINE * len(words) + 6, picture.shape[1], 3), PAPER, np.uint8)
    sheet[: picture.shape[0]] = picture
    for number, text in enumerate(words):
        place = (0, picture.shape[0] + LINE * (number + 1) - 6)
        cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return sheet


def beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row, with gaps."""
    gap = np.full((pictures[0].shape[0], GAP, 3), PAPER, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.hstack([gap, *parts])


def grey(values: np.ndarray) -> np.ndarray:
    """In grey and smaller, "rows cols 3"."""
    small = cv2.resize(grey_levels(values), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)


def occlusion(folder: AttributionFolder, figures: Explanations) -> np.ndarray:
    """The maps of task 4b beside each other: dark blue is the lowest probability, yellow the highest."""
    tiles = []
    for row in figures.examples:
        facts = figures.occlusion[row.case_id]
        with np.load(folder.map_file("occlusion_probability", row.case_id)) as kept:
            values = kept["map"]
        low, high = float(values.min()), float(values.max())
        picture = cividis((values - low) / max(high - low, 1e-12))
        picture = cv2.resize(picture, None, fx=SCALE, fy=SCALE, interpolation=cv2.INTER_NEAREST)
        words = [
            f"{row.label}: P({facts.target_class}) {low:.5f} (dark) to {high:.5f} (light)",
            f"{facts.probability:.5f} with nothing covered",
            f"{values.shape[0]} x {values.shape[1]} positions of a {facts.mask}-px mask",
        ]
        tiles.append(labelled(picture, words))
    return beside(tiles)


def synthesis(folder: AttributionFolder) -> np.ndarray:
    """Task 4c: the careful ascent's inputs, and what the plain ascent adds to its first image."""
    with np.load(folder.synthesis_file) as kept:
        arrays = dict(kept)
    sheets = []
    for title, images, way in (
        ("careful ascent from noise", arrays["clean"], "clean"),
        ("what the plain ascent adds to a radiograph", arrays["plain"] - arrays["start"], "plain"),
    ):
        tiles = [
            labelled(grey(image), [str(which)])
            for which, image in zip(arrays["filters"], images, strict=True)
        ]
        rows = [beside(tiles[first : first + COLUMNS]) for first in range(0, len(tiles), COLUMNS)]
        rise = arrays[f"{way}_activation"]
        words = (
            f"{title}: mean activation {np.median(rise[:, 0]):.2f} to {np.median(rise[:, -1]):,.1f} (medians)"
        )
        sheets.append(labelled(np.vstack(rows), [words]))
    return beside(sheets)


def main() -> None:
    """Draws both pictures."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("run", type=Path)
    options.add_argument("folder", type=Path)
    given = options.parse_args()
    folder = Run(given.run).task("binary").attributions
    figures = Explanations.load(folder.figures_file)
    for name, picture in (("occlusion", occlusion(folder, figures)), ("synthesis", synthesis(folder))):
        path = given.folder / f"seed-{name}.webp"
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 80])
        print(f"{path}: {picture.shape[1]} x {picture.shape[0]} px, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
