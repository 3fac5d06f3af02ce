"""The seed report's tasks 4b and 4c on a trained network of task 1a: hilum's time beside the usual way's, and equality.

    hilum train DATA --preset seed --task binary --out RUN
    OMP_NUM_THREADS=2 python benchmarks/seed_report.py RUN
    OMP_NUM_THREADS=2 python benchmarks/seed_report.py RUN --only 4c --steps 50       # steps that are timed

4b: the whole occlusion map of the most confident normal and abnormal validation image (zero mask of 90 px, stride 1;
14,985 positions of 200 x 224), and captum's Occlusion on a part of the positions, extrapolated, because a masked copy
costs the same wherever its mask lies. The map is compared with plain forward passes at 100 random positions.
4c: 64 filters of the layer that the report shows, `--steps` of the 1,000 steps, in float32 and bfloat16, and the
report's own way (one session per filter on the whole network) for four of them, extrapolated to all. Needs captum.
"""

import argparse
import resource
import time
from pathlib import Path

import torch
from captum.attr import Occlusion
from torch import Tensor, nn

from hilum.data.cache import ImageCache
from hilum.data.split import used_cases
from hilum.explain.filters.synthesis import synthesize
from hilum.explain.images import choose_images
from hilum.explain.network.convolutions import chosen_layer
from hilum.explain.occlusion.occlusion_map import occlusion_map
from hilum.run import Run
from synthesis import session

MASK, POSITIONS, FILTERS, STEPS = 90, 100, 64, 1000


def probabilities(net: nn.Module, images: Tensor, target: int) -> Tensor:
    """Of class `target`, "images"."""
    with torch.inference_mode():
        return net(images).softmax(1)[:, target]


def occlusion(net: nn.Module, x: Tensor, target: int, name: str) -> None:
    """Prints the time of the whole map, captum's for as many copies, and the largest difference."""
    begin = time.perf_counter()
    values = occlusion_map(net, x, target, MASK, 1, 0.0)
    seconds = time.perf_counter() - begin
    places = torch.stack([torch.randint(0, side, (POSITIONS,)) for side in values.shape], 1).tolist()
    copies = x.repeat(POSITIONS, 1, 1, 1)
    for copy, (row, col) in zip(copies, places, strict=True):
        copy[:, row : row + MASK, col : col + MASK] = 0
    plain = torch.cat([probabilities(net, part, target) for part in copies.split(20)])
    worst = float((plain - torch.stack([values[row, col] for row, col in places])).abs().max())
    usual = captum_seconds(net, x, target) * values.numel()
    print(
        f"4b {name}: {values.shape[0]} x {values.shape[1]} = {values.numel():,} positions in {seconds:.0f} s; captum"
        f" {usual:.0f} s, extrapolated: {usual / seconds:.1f} x; largest difference of the probability at"
        f" {POSITIONS} random positions {worst:.1e}"
    )


def captum_seconds(net: nn.Module, x: Tensor, target: int) -> float:
    """Per masked copy, at the best of three batch sizes."""
    counted: list[int] = []
    handle = net.register_forward_hook(lambda *call: counted.append(len(call[2])))
    best = float("inf")
    for size in (1, 8, 32):
        counted.clear()
        begin = time.perf_counter()
        Occlusion(net).attribute(
            x,
            target=target,
            sliding_window_shapes=(1, MASK, MASK),
            strides=(1, 20, 27),
            baselines=0.0,
            perturbations_per_eval=size,
        )
        best = min(best, (time.perf_counter() - begin) / sum(counted))
    handle.remove()
    return best


def synthesis(net: nn.Module, layer: str, x: Tensor, steps: int) -> None:
    """Prints the time of 64 filters in 1,000 steps, extrapolated from `steps`, and of the report's way."""
    begin = time.perf_counter()
    wanted = [session(net, layer, number, x, max(steps // 10, 2), 10_000.0) for number in range(4)]
    usual = (time.perf_counter() - begin) / len(wanted) / max(steps // 10, 2) * FILTERS * STEPS
    print(f"4c, one session per filter on the whole network: {usual / 60:.0f} min, extrapolated")
    for dtype in (torch.float32, torch.bfloat16):
        begin = time.perf_counter()
        synthesize(net, layer, range(FILTERS), x, steps, 10_000.0, dtype=dtype)
        seconds = (time.perf_counter() - begin) / steps * STEPS
        print(f"4c, layer {layer}, {dtype}: {seconds / 60:.1f} min; sessions / this = {usual / seconds:.1f}")


def main() -> None:
    """Prints a line per map and per way."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", choices=("4b", "4c"))
    options = parser.parse_args()
    torch.manual_seed(0)
    run = Run(options.run)
    folder, cases = run.task("binary"), run.cases()
    net = folder.load_model().eval()
    predictions = folder.predictions()
    chosen = choose_images(predictions, tuple(folder.card().classes), 1, 0)
    cache = ImageCache.of(used_cases(cases, run.split("binary")), net.pixels)
    for _, row in chosen.iterrows():
        x = torch.from_numpy(net.pixels.normalize(cache.images[cache.rows([row["case_id"]])]))[:, None]
        if options.only != "4c":
            occlusion(net, x, list(folder.card().classes).index(row["target_class"]), str(row["label"]))
    if options.only != "4b":
        synthesis(net, chosen_layer(net, None), x, options.steps)
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")


if __name__ == "__main__":
    main()
