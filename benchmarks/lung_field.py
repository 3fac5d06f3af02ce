"""The lung field beside a way without training, on phantom images whose lungs are known:

    python benchmarks/lung_field.py [--images 100] [--data FOLDER --sheet sheet.png]

Peers in the same run: Otsu's threshold in the smoothed middle of the image, the two largest dark parts; and
the mean shape of 60 drawn lungs laid on every image. Prints the intersection over union of each and the
milliseconds per image. With a folder of images, draws the outlines on 40 of them for the eye; nothing else
tells how good a lung field is where nobody has drawn one.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from hilum.data.decode import read_grey
from hilum.explain.lung_training import HELD, IMAGES, overlaps, phantom_set
from hilum.lungs.field import lung_field
from hilum.lungs.outline import tidy


def by_intensity(image: np.ndarray) -> np.ndarray:
    """Dark in the smoothed middle by Otsu's threshold (1979), the two largest parts, closed."""
    smooth = cv2.GaussianBlur(image, (0, 0), image.shape[1] / 50)
    rows, cols = (slice(side // 8, -(side // 8)) for side in image.shape)
    level, _ = cv2.threshold(
        np.ascontiguousarray(smooth[rows, cols]), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
    )
    dark = np.zeros(image.shape, bool)
    dark[rows, cols] = smooth[rows, cols] < level
    wide = max(3, image.shape[1] // 20) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
    return cv2.morphologyEx(tidy(dark).astype(np.uint8), cv2.MORPH_CLOSE, kernel).astype(bool)


def sheet(files: list[Path], out: Path, side: int = 192, across: int = 8) -> None:
    """Images with the outlines of the lung field, numbered in reading order from 1."""
    cells = []
    for number, file in enumerate(files, start=1):
        image = read_grey(file)
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        outlines, _ = cv2.findContours(
            lung_field(image).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cell = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        cv2.drawContours(cell, outlines, -1, (0, 220, 255), 1)
        cv2.putText(cell, str(number), (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (80, 255, 80), 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % across)
    rows = [np.hstack(cells[start : start + across]) for start in range(0, len(cells), across)]
    cv2.imwrite(str(out), np.vstack(rows))


def main() -> None:
    """Prints one line per way."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--images", type=int, default=100)
    asked.add_argument("--data", type=Path)
    asked.add_argument("--sheet", type=Path, default=Path("lung_field.png"))
    words = asked.parse_args()
    torch.set_num_threads(1)
    mean = phantom_set(1, 60)[1].mean(0) > 0.5
    images, truth = phantom_set(0, words.images, IMAGES + HELD)  # of patients that nobody has used
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "network": lung_field,
        "intensity": by_intensity,
        "mean shape": lambda image: mean,
    }
    for name, way in ways.items():
        way(images[0])
        start = time.process_time()
        found = np.stack([way(image) for image in images])
        spent = 1000 * (time.process_time() - start) / len(images)
        values = overlaps(found, truth)
        print(
            f"{name:12s} IoU mean {values.mean():.3f}, lowest tenth {np.quantile(values, 0.1):.3f},"
            f" {spent:.1f} ms of processor time per image"
        )
    if words.data is not None:
        files = sorted(
            path for path in words.data.rglob("*") if path.suffix.lower() in (".jpeg", ".jpg", ".png")
        )
        chosen = np.random.default_rng(0).choice(len(files), 40, replace=False)
        sheet([files[place] for place in sorted(chosen)], words.sheet)
        print(f"outlines on 40 images: {words.sheet}")


if __name__ == "__main__":
    main()
