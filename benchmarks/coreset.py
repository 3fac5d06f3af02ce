"""The k-centre coreset against the common greedy implementation, in one process on the same points.

    OMP_NUM_THREADS=1 python benchmarks/coreset.py                        # 1.05M x 128, 1 %
    OMP_NUM_THREADS=1 python benchmarks/coreset.py --images 100            # smaller
    OMP_NUM_THREADS=1 python benchmarks/coreset.py --points gauss         # no structure at all

The points are patch features of phantom images by an untrained network (1,024 per image of 128 px, 128 channels).
The common implementation is the one of PatchCore and anomalib (KCenterGreedy): every pick is measured against
every point by torch's pairwise_distance. At full size it would take most of an hour, so it makes `--picks`
picks; every pick costs it the same, and the rest is extrapolated. The picks that both made are compared.

Aim: 40 x, identical picks.
"""

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hilum.anomaly import feature_net as networks
from hilum.anomaly.coreset import k_center
from hilum.anomaly.healthy import HealthyImages
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.sources import phantom

SIDE, PLACES, DIM = 128, 32 * 32, 128


class Common:
    """The greedy search as it is usually written; it can be stopped after some picks and go on."""

    def __init__(self, points: Tensor, first: int) -> None:
        self.points = points
        self.nearest: Tensor | None = None
        self.picks = [first]

    def go_on(self, picks: int, clock: Callable[[], float]) -> list[float]:
        """Makes so many more picks; seconds of each."""
        seconds = []
        for _ in range(picks):
            begin = clock()
            distance = functional.pairwise_distance(self.points, self.points[self.picks[-1]][None], p=2)
            self.nearest = distance if self.nearest is None else torch.minimum(self.nearest, distance)
            self.nearest[self.picks[-1]] = 0
            self.picks.append(int(self.nearest.argmax()))
            seconds.append(clock() - begin)
        return seconds


@contextmanager
def memory_added() -> Iterator[list[float]]:
    """One number, filled at the end: the largest resident memory inside, less that at the start, in MB."""
    found, over = [0.0], threading.Event()

    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = resident()

    def watch() -> None:
        while not over.wait(0.02):
            found[0] = max(found[0], resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield found
    over.set()
    watcher.join()


@torch.no_grad()
def features_of_images(count: int) -> np.ndarray:
    """Standardised features of `count` phantom images, float32 "points 128"."""
    cases = phantom.load("phantom")
    pixels = Pixels(size=(SIDE, SIDE))
    ids = cases.table["case_id"].tolist()
    ids = [ids[i % len(ids)] for i in range(count)]
    # Every phantom image serves here, healthy or not: these are points to search in, not a detector.
    images = HealthyImages.of(ImageCache.of(cases, pixels), ids, ["normal"] * count, pixels)
    network = networks.build("random", pixels)
    network.learn(images, 0, lambda done, total: None)
    channels: Tensor | None = None
    points = np.empty((count * PLACES, DIM), np.float32)
    filled = 0
    for x in images.batches(16):
        maps = networks.patch_features(network(x))
        if channels is None:
            channels = torch.from_numpy(np.sort(np.random.default_rng(0).permutation(maps.shape[1])[:DIM]))
        rows = maps[:, channels].flatten(2).mT.reshape(-1, DIM).numpy()
        points[filled : filled + len(rows)] = rows
        filled += len(rows)
    points -= points.mean(axis=0)
    points /= points.std(axis=0)
    return points


def main() -> None:
    """Prints one line per way, and the ratio."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--points", choices=["images", "gauss"], default="images")
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--picks", type=int, default=60)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    torch.set_num_threads(1)
    if options.points == "images":
        points = features_of_images(options.images)
    else:
        shape = (options.images * PLACES, DIM)
        points = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    k = round(options.share * len(points))
    print(f"{len(points):,} points x {DIM}, {k:,} picks; {points.nbytes / 2**20:,.0f} MB of points")

    first = int(k_center(points, 1, seed=0)[0])
    common = Common(torch.from_numpy(points), first)
    picks = min(options.picks, k - 1)
    seconds = common.go_on(picks // 2, clock)
    with memory_added() as added:
        begin = clock()
        ours = k_center(points, k, seed=0)
        taken = clock() - begin
    seconds += common.go_on(picks - picks // 2, clock)
    each = float(np.median(seconds))
    same = int(np.argmin(np.append(np.array(common.picks) == ours[: len(common.picks)], False)))
    print(f"common way: {each:.3f} s per pick (median of {len(seconds)}), {each * k:,.0f} s extrapolated")
    print(f"hilum: {taken:.1f} s, memory added {added[0]:,.0f} MB")
    print(f"ratio {each * k / taken:.0f} (aim 40); identical picks: {same} of {len(common.picks)} compared")


if __name__ == "__main__":
    main()
