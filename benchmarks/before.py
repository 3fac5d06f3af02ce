"""How fast evaluation and prediction are beside an earlier commit of this repository, in one run.

    python benchmarks/before.py                     # against fcf8844, the house before its second plan
    python benchmarks/before.py --images 600

Both commits get the same residual network (96 px, untrained) and the same images: prepared ones in memory for
evaluation, JPEG files of 224 x 224 for prediction. They take turns; the best round of each counts. The earlier commit
is checked out into a temporary folder. Aim: ratios (before / now) of at least 1.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

COMMIT = "fcf8844"
ROUNDS = 3
OPTIONS = {"stages": [2, 2, 2, 2], "width": 32, "embedding": 256, "activation": "gelu"}


def ways(now: bool, images: np.ndarray, paths: list[Path]) -> dict[str, Callable[[], object]]:
    """Evaluation and prediction by the code that is importable as hilum: of this commit, or of fcf8844."""
    import torch

    from hilum.data.decode import read_grey
    from hilum.data.images import Pixels
    from hilum.models import build

    torch.manual_seed(0)
    model = build("resnet", ("normal", "pneumonia"), Pixels(size=(96, 96)), OPTIONS).eval()
    if now:
        from hilum.inference.forward import logits_of
        from hilum.inference.predictor import Classifier, Predictor

        predictor = Predictor(Classifier.of(model, "cpu"))
        return {
            "evaluation": lambda: logits_of(model, images),
            "prediction": lambda: list(predictor.stream(paths)),
        }
    from hilum.evaluation.stage import predict_films as logits_of_the_time  # type: ignore[import-not-found]

    class Cache:
        """What the earlier code reads of a cache."""

    Cache.images = images  # type: ignore[attr-defined]

    @torch.inference_mode()
    def predicted() -> None:
        greys = [read_grey(path) for path in paths]
        for start in range(0, len(greys), 64):
            model(torch.stack([model.pixels.apply(grey) for grey in greys[start : start + 64]]))

    return {
        "evaluation": lambda: logits_of_the_time(model, Cache, np.arange(len(images))),
        "prediction": predicted,
    }


def timed(now: bool, folder: Path, count: int) -> None:
    """Prints "name seconds" of the best round of each."""
    images = np.random.default_rng(0).integers(0, 256, (2 * count, 96, 96), np.uint8)
    for name, way in ways(now, images, sorted(folder.glob("*.jpeg"))).items():
        seconds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
        print(name, min(seconds))


def write_images(folder: Path, count: int) -> None:
    """JPEG files of smooth noise."""
    chance = np.random.default_rng(0)
    for number in range(count):
        coarse = chance.integers(20, 230, (14, 14)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.jpeg"), cv2.resize(coarse, (224, 224)))


def main() -> None:
    """Prints the seconds of both commits and their ratio."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--child", choices=["now", "before"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        timed(options.child == "now", options.folder, options.images)
        return
    here = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as place:
        folder, earlier = Path(place) / "images", Path(place) / "before"
        folder.mkdir()
        write_images(folder, options.images)
        subprocess.run(["git", "-C", here, "worktree", "add", "-q", "--detach", earlier, COMMIT], check=True)
        best: dict[tuple[str, str], float] = {}
        try:
            for _ in range(2):
                for which, source in (("before", earlier), ("now", here)):
                    words = ["--child", which, "--folder", str(folder), "--images", str(options.images)]
                    env = {**os.environ, "PYTHONPATH": str(source / "src")}
                    answer = subprocess.run(
                        [sys.executable, __file__, *words],
                        env=env,
                        check=True,
                        capture_output=True,
                        text=True,
                    )
                    for line in answer.stdout.splitlines():
                        name, seconds = line.split()
                        best[which, name] = min(best.get((which, name), np.inf), float(seconds))
        finally:
            subprocess.run(["git", "-C", here, "worktree", "remove", "--force", earlier], check=True)
    for name in ("evaluation", "prediction"):
        before, now = best["before", name], best["now", name]
        print(f"{name}: before {before:.2f} s, now {now:.2f} s, ratio {before / now:.2f}")


if __name__ == "__main__":
    main()
