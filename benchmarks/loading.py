"""How much faster images come from the cache on a second run than from their files through Pillow.

    python benchmarks/loading.py path/to/chest_xray --images 2000

Both give uint8 grey images of 224 x 224, one after the other, on one thread, in turn, five rounds; medians.
The peer decodes with Pillow, converts to grey and resizes where a file has another size. OpenCV (what fills
the cache on the first run) is printed too. With the word 'phantom' it runs on synthetic PNG images.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from hilum.data.cache import ImageCache
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.sources import open_source

PIXELS = Pixels(size=(224, 224))


def with_pillow(path: str) -> np.ndarray:
    """The usual way of a PyTorch Dataset."""
    with Image.open(path) as image:
        grey = image.convert("L")
        return np.asarray(
            grey if grey.size == (224, 224) else grey.resize((224, 224), Image.Resampling.BILINEAR)
        )


def rate(load: Callable[[int], np.ndarray], images: int) -> float:
    """Images per second; the sum makes sure that the bytes are read."""
    start = time.perf_counter()
    total = sum(int(load(i)[::16, ::16].sum()) for i in range(images))
    assert total > 0
    return images / (time.perf_counter() - start)


def main() -> None:
    """Prints images per second and the ratio to Pillow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--images", type=int, default=2000)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    cases = open_source(options.data)
    cache = ImageCache.of(cases, PIXELS)
    chance = np.random.default_rng(0)
    chosen = chance.permutation(len(cases))[: options.images]
    paths = cases.table["path"].to_numpy()[chosen]
    rows = cache.rows(cases.table["case_id"].to_numpy()[chosen])
    ways: dict[str, Callable[[int], np.ndarray]] = {
        "Pillow": lambda i: with_pillow(paths[i]),
        "hilum, first run (OpenCV)": lambda i: PIXELS.prepare(read_grey(paths[i])),
        "hilum, second run (cache)": lambda i: np.array(cache.images[rows[i]]),
    }
    rounds = [{name: rate(way, len(chosen)) for name, way in ways.items()} for _ in range(6)][1:]
    for name in ways:
        speed = statistics.median(speeds[name] for speeds in rounds)
        ratio = statistics.median(speeds[name] / speeds["Pillow"] for speeds in rounds)
        print(f"{name:27} {speed:9.0f} images/s   {ratio:5.1f} x Pillow")


if __name__ == "__main__":
    main()
