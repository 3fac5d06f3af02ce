"""Fitting the fast detector and scoring one image against its bank, with the memory it takes.

    OMP_NUM_THREADS=1 python benchmarks/anomaly.py              # 1,341 images of 128 px, default options
    OMP_NUM_THREADS=2 python benchmarks/anomaly.py --images 300
    OMP_NUM_THREADS=1 python benchmarks/anomaly.py --clock cpu  # processor time, on a busy machine

The images are phantoms, repeated until there are enough, with a little noise so that no two are the same. Images are
scored one at a time, as in serving. The peer for the search in the bank is
scikit-learn's brute-force kNN on the same patches, in turn.

Aims: fitting patch_memory on 1,341 images of 128 px under 5 minutes on two cores; one image under 60 ms on one
core against a bank of 1 % of 1M patches; memory bounded.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from hilum.anomaly.detector import Detector, build
from hilum.anomaly.detectors.patch_memory import PatchMemory
from hilum.anomaly.healthy import HealthyImages
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.sources import phantom


def phantoms(count: int, pixels: Pixels) -> HealthyImages:
    """Healthy phantom images, prepared."""
    cases = phantom.load("phantom")
    table = cases.table[cases.table["label"] == "normal"]
    cache = ImageCache.of(cases, pixels)
    rows = cache.rows(table["case_id"])
    images = cache.images[np.resize(rows, count)].astype(np.int16)
    images += np.random.default_rng(0).integers(-2, 3, images.shape, dtype=np.int16)
    return HealthyImages.of_images(images.clip(0, 255).astype(np.uint8), ["normal"] * count, pixels)


def peak() -> float:
    """Largest resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@torch.no_grad()
def main() -> None:
    """Prints one line per figure."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1341)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--detectors", nargs="+", default=["patch_memory", "patch_gaussian"])
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 2))
    pixels = Pixels(size=(options.side, options.side))
    images = phantoms(options.images, pixels)
    scored = images.tensor(range(20))
    print(f"{len(images):,} images of {options.side} px, {torch.get_num_threads()} threads")
    for name in options.detectors:
        begin = clock()
        detector = build(name, pixels)
        detector.fit(images, seed=0)
        seconds = clock() - begin
        print(f"{name}: fitted in {seconds:.0f} s (aim 300), largest resident memory so far {peak():,.0f} MB")
        print(f"{name}: one image in {1000 * one_image(detector, scored, clock):.1f} ms (aim 60)")
    bank(pixels, images, scored, clock)


def one_image(detector: Detector, scored: torch.Tensor, clock: Callable[[], float]) -> float:
    """Median seconds of scoring, one image at a time."""
    seconds = []
    for image in scored:
        begin = clock()
        detector.score(image[None])
        seconds.append(clock() - begin)
    return float(np.median(seconds))


def bank(pixels: Pixels, images: HealthyImages, scored: torch.Tensor, clock: Callable[[], float]) -> None:
    """One image against 1 % of 1M patches, beside scikit-learn."""
    options = {
        "feature_options": {"width": 43},  # 43 + 86 = 129 channels at 32 x 32 places
        "layers": [0, 1],
        "memory": 10_486,
        "candidates": 20_000,
    }
    detector = build("patch_memory", pixels, options)
    assert isinstance(detector, PatchMemory)
    detector.fit(images, seed=0)
    bank = detector.memory.numpy()
    peer = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank)
    ours, theirs, same = [], [], []
    for image in scored:
        patches = detector.patches_of(image[None])[0]
        begin = clock()
        distance, _ = detector.nearest(patches)
        ours.append(clock() - begin)
        begin = clock()
        expected = peer.kneighbors(patches.numpy())[0][:, 0]
        theirs.append(clock() - begin)
        same.append(float(np.abs(distance.numpy() - expected).max()))
    print(
        f"{len(patches):,} patches against a bank of {bank.shape[0]:,} x {bank.shape[1]}: "
        f"hilum {1000 * np.median(ours):.1f} ms, scikit-learn {1000 * np.median(theirs):.1f} ms, "
        f"ratio {np.median(theirs) / np.median(ours):.2f}; largest difference {max(same):.1g}"
    )
    print(f"the whole image, network included: {1000 * one_image(detector, scored, clock):.1f} ms (aim 60)")


if __name__ == "__main__":
    main()
