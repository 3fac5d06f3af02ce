"""How fast `Predictor` is beside the obvious loop: decode an image, prepare it, and predict in batches of 32.

    python benchmarks/predict.py                       # 300 phantom images of 1000 x 1200
    python benchmarks/predict.py --images 1000 --rounds 5
    python benchmarks/predict.py --clock cpu           # processor time, on a busy machine

Both take the same PNG files (phantom images in a temporary folder) and the binary model of the package, in turn; the
best round of each counts. The loop is what prediction was before the Predictor, without the bookkeeping: plain torch,
one image decoded after the other, no threads beside torch's. Their probabilities are compared.

Aim: a ratio (loop / Predictor) of at least 1.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from hilum.data.decode import read_grey
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.inference.calibrate import softmax
from hilum.inference.predictor import BATCH, Classifier, Predictor
from hilum.models import ChestModel, load_model
from hilum.serving.predictor import WEIGHTS


def write_images(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """PNG files; few phantoms are made, each is written several times with another brightness."""
    settings = PhantomSettings(size=size)
    made = [phantom_image(settings, "normal", person, 0).image for person in range(8)]
    paths = [folder / f"{number:05d}.png" for number in range(count)]
    for number, path in enumerate(paths):
        image = np.clip(made[number % 8].astype(np.int16) + number % 40, 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), image)
    return paths


@torch.inference_mode()
def plain_loop(model: ChestModel, paths: list[Path]) -> np.ndarray:
    """Probabilities "images classes"."""
    logits = []
    for start in range(0, len(paths), BATCH):
        x = torch.stack([model.pixels.apply(read_grey(path)) for path in paths[start : start + BATCH]])
        logits.append(model(x).double().numpy())
    return softmax(np.concatenate(logits))


def predicted(predictor: Predictor, paths: list[Path]) -> np.ndarray:
    """Probabilities "images classes"."""
    rows = [prediction.probabilities or {} for prediction in predictor.stream(paths)]
    return np.array([[*row.values()] for row in rows])


def main() -> None:
    """Prints images per second of both, and the ratio."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, nargs=2, default=(1000, 1200), metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    model = load_model(WEIGHTS / "binary")
    predictor = Predictor(Classifier.of(load_model(WEIGHTS / "binary"), "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), options.images, tuple(options.size))
        ways: dict[str, Callable[[], np.ndarray]] = {
            "plain loop": lambda: plain_loop(model, paths),
            "Predictor": lambda: predicted(predictor, paths),
        }
        seconds = {name: float("inf") for name in ways}
        found = {name: way() for name, way in ways.items()}
        for _ in range(options.rounds):
            for name, way in ways.items():
                start = clock()
                way()
                seconds[name] = min(seconds[name], clock() - start)
    temperature = predictor.classifier.rules.scaling
    stated = softmax(temperature(np.log(found["plain loop"]))) if temperature else found["plain loop"]
    print(f"largest difference of a probability: {np.abs(stated - found['Predictor']).max():.1e}")
    for name, taken in seconds.items():
        print(f"{name:<12} {options.images / taken:7.1f} images/s")
    print(f"ratio        {seconds['plain loop'] / seconds['Predictor']:7.2f}")


if __name__ == "__main__":
    main()
