"""How much faster the exact occlusion engines are than captum's Occlusion, which runs every masked copy.

    OMP_NUM_THREADS=1 python benchmarks/occlusion.py                      # VGG-like, 3 columns of the map
    OMP_NUM_THREADS=1 python benchmarks/occlusion.py --net resnet34
    OMP_NUM_THREADS=1 python benchmarks/occlusion.py --full               # the whole map, all 18,225 masks
    OMP_NUM_THREADS=1 python benchmarks/occlusion.py --full --captum 9    # captum beside 9 of the 135 columns

224 x 224, a mask of 90 px, stride 1, one thread. All take turns in one process; the figures are mean
milliseconds per mask and their ratios. By default only some columns of the map are timed, at even
distances, because cost depends on the column; what all columns share is timed once and divided by all
masks. captum is timed on nine masked copies per column, for several batch sizes, and its best one counts; its
cost does not depend on where a mask lies, so the time of a whole map is extrapolated from these copies. The
largest memory of the engine is that of a process of its own, which makes two columns and no captum. Needs
captum.

`--clock cpu` counts processor time instead of wall time, for a machine that does other work as well.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.explain.occlusion.engines import Network
from hilum.explain.occlusion.masks import place_masks
from hilum.models.resnet import he_initialise

SIDE, MASK = 224, 90


def vgg_like() -> nn.Module:
    """3x3 blocks 32-32-M-64-64-M-128-128-M-256-256-M, global pooling, dense: 2.59 billion multiply-adds."""
    layers: list[nn.Module] = []
    inside = 1
    for width in (32, 64, 128, 256):
        for _ in range(2):
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.ReLU()]
            inside = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


class Captum:
    """captum on a coarse grid of masks, `size` at a time; calling it gives seconds per forwarded image.

    captum has no way to do a part of a map, but a masked copy costs the same wherever its mask lies.
    """

    def __init__(self, net: nn.Module, x: Tensor, size: int, clock: Callable[[], float]) -> None:
        self.occlusion, self.x, self.size, self.clock = Occlusion(net), x, size, clock
        self.images = 0
        net.register_forward_hook(self._count)

    def _count(self, net: nn.Module, inputs: object, output: Tensor) -> None:
        self.images += len(output)

    def __call__(self) -> float:
        self.images = 0
        begin = self.clock()
        self.occlusion.attribute(
            self.x,
            target=1,
            sliding_window_shapes=(1, MASK, MASK),
            strides=(1, 67, 67),
            baselines=0.0,
            perturbations_per_eval=self.size,
        )
        return (self.clock() - begin) / self.images


def evenly(count: int, wanted: int) -> list[int]:
    """The middles of `wanted` equal parts of 0 .. count - 1."""
    return [int((i + 0.5) * count / wanted) for i in range(wanted)]


def timed_net(name: str) -> nn.Module:
    """An untrained network, initialised so that maps keep their strength (He et al. 2015)."""
    if name == "vgg":
        net = vgg_like()
        he_initialise(net)
    else:
        net = models.build("resnet34_gelu", ("normal", "bacteria", "virus"), Pixels(size=(SIDE, SIDE)))
    return net.eval().requires_grad_(False)


@torch.no_grad()
def memory_alone(net_name: str, dtype: torch.dtype) -> float:
    """GiB: the largest resident set of this process after the engine made two columns."""
    net, x = timed_net(net_name), torch.randn(1, 1, SIDE, SIDE)
    masks = place_masks((SIDE, SIDE), MASK, 1)
    network = Network(net, x, torch.zeros_like(x), masks, dtype)
    run = network.columns(network.choose("auto"))
    for column in evenly(len(masks.lefts), 2):
        run(column)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_a_child(net_name: str, dtype: str) -> float:
    """`memory_alone` in a new process."""
    command = [sys.executable, __file__, "--net", net_name, "--alone", dtype]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@torch.no_grad()
def main() -> None:
    """Prints one line per way."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--net", choices=["vgg", "resnet34"], default="vgg")
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 3, 9])
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--captum", type=int, default=0, help="columns beside which captum runs; 0: all")
    parser.add_argument("--alone", choices=["float32", "bfloat16"], help="prints the memory of one engine")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.alone:
        print(memory_alone(options.net, getattr(torch, options.alone)))
        return
    memory = {name: in_a_child(options.net, name) for name in ("float32", "bfloat16")}
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    net, x = timed_net(options.net), torch.randn(1, 1, SIDE, SIDE)
    masks = place_masks((SIDE, SIDE), MASK, 1)
    count = len(masks.tops)
    chosen = evenly(count, count if options.full else options.columns)
    beside = set(evenly(len(chosen), options.captum or len(chosen)))

    ours: dict[str, Callable[[int], Tensor]] = {}
    shared: dict[str, float] = {}
    for dtype in (torch.float32, torch.bfloat16):
        network = Network(net, x, torch.zeros_like(x), masks, dtype)
        engine = network.choose("auto")
        name = f"hilum {engine} {str(dtype).removeprefix('torch.')}"
        if not ours:
            work = network.multiply_adds()
            print(f"multiply-adds, plain / {engine} = {work['plain'] / work[engine]:.2f}")
        begin = clock()
        ours[name] = network.columns(engine)
        shared[name] = (clock() - begin) / count**2
    peers = {f"captum, batch {size}": Captum(net, x, size, clock) for size in options.batches}
    times: dict[str, list[float]] = {name: [] for name in (*peers, *ours)}
    maps: dict[str, list[Tensor]] = {name: [] for name in ours}
    for i, column in enumerate(chosen):
        for name, run in peers.items():
            if i in beside:
                times[name].append(run())
        for name, run_column in ours.items():
            begin = clock()
            logits = run_column(column)
            times[name].append((clock() - begin) / count)
            maps[name].append(logits.softmax(1)[:, 1])

    means = {name: statistics.mean(values) + shared.get(name, 0.0) for name, values in times.items()}
    best = min(means[name] for name in peers)
    print(f"columns timed: {len(chosen)} of {count}; captum: {9 * len(beside)} masked copies per batch size")
    for name, seconds in means.items():
        print(
            f"{name:24s} {1000 * seconds:8.2f} ms per mask   captum's best / this = {best / seconds:5.2f}   "
            f"whole map {seconds * count**2:7.0f} s"
        )
    exact, rough = (torch.stack(values) for values in maps.values())
    for name, size in memory.items():
        print(f"largest memory of a process that makes two columns in {name}: {size:.2f} GiB")
    print(f"probabilities in the map: {float(exact.min()):.4f} to {float(exact.max()):.4f}")
    print(f"largest probability difference, bfloat16 to float32: {float((exact - rough).abs().max()):.1e}")
    rows = evenly(count, 9)
    copies = x.repeat(len(rows), 1, 1, 1)
    left = chosen[len(chosen) // 2]
    for i, top in enumerate(rows):
        copies[i, :, top : top + MASK, left : left + MASK] = 0
    difference = exact[chosen.index(left)][rows] - net(copies).softmax(1)[:, 1]
    print(f"largest probability difference, float32 to masked copies: {float(difference.abs().max()):.1e}")


if __name__ == "__main__":
    main()
