"""How much faster synthesis is than the seed report's sessions: one filter at a time on the whole network.

    OMP_NUM_THREADS=1 python benchmarks/synthesis.py
    OMP_NUM_THREADS=1 python benchmarks/synthesis.py --filters 64 --steps 100

The VGG-like network at 224 px and its last layer of 64 filters, one thread; the ways take turns in one
process. The sessions leave the weights trainable, as a plain script does. The images are compared. The
deeper the layer, the less there is to cut off: try --layer features.17. `--clock cpu` counts processor time
instead of wall time, for a machine that does other work as well.
"""

import argparse
import time

import torch
from torch import Tensor, nn

from hilum import models
from hilum.data.images import Pixels
from hilum.explain.filters.synthesis import synthesize

SIDE = 224


def session(net: nn.Module, layer: str, number: int, start: Tensor, steps: int, lr: float) -> Tensor:
    """The seed's way, for one filter."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda *call: kept.append(call[2]))
    x = start.clone().requires_grad_(True)
    for _ in range(steps):
        kept.clear()
        net(x)
        kept[0][0, number].mean().backward()
        assert x.grad is not None
        x.data += lr * x.grad
        x.grad = None
    handle.remove()
    return x.detach()


def main() -> None:
    """Prints one line per way."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--filters", type=int, default=4)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--layer", default="features.10")
    parser.add_argument("--lr", type=float, default=10.0)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    net = models.build("vgg", ("normal", "pneumonia"), Pixels(size=(SIDE, SIDE))).eval()
    start = torch.randn(1, 1, SIDE, SIDE)
    seconds = {"sessions": 0.0, "float32": 0.0, "bfloat16": 0.0}
    worst = 0.0
    for first in range(0, options.filters, 4):
        filters = list(range(first, min(first + 4, options.filters)))
        begin = clock()
        wanted = [session(net, options.layer, i, start, options.steps, options.lr) for i in filters]
        seconds["sessions"] += clock() - begin
        for name in ("float32", "bfloat16"):
            begin = clock()
            found = synthesize(
                net, options.layer, filters, start, options.steps, options.lr, dtype=getattr(torch, name)
            )
            seconds[name] += clock() - begin
            if name == "float32":
                worst = max(worst, float((found.images - torch.cat(wanted)).abs().max()))
    for name, took in seconds.items():
        each, ratio = 1000 * took / options.filters / options.steps, seconds["sessions"] / took
        print(f"{name:10s} {each:8.1f} ms per filter and step   sessions / this = {ratio:.2f}")
    print(f"largest pixel difference, float32 to sessions: {worst:.1e} (pixels of the start: -4 to 4)")


if __name__ == "__main__":
    main()
