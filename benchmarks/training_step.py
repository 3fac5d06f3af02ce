"""How much faster hilum's training step is than PyTorch's defaults, on the CPU.

    OMP_NUM_THREADS=1 python benchmarks/training_step.py --model resnet34_gelu --size 128

The peer is the same network with the same optimiser in fp32 and NCHW memory order, as a notebook would write
it; ours is what `hilum train` picks on this machine (bf16 autocast where the processor has it, NHWC order).
Steps in turn, medians of the ratios round by round. Equal accuracy is a matter of whole trainings:
docs/results.md has both, made with `--set multiclass.training.precision=fp32` and without.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from hilum.data.images import Pixels
from hilum.models import build
from hilum.training.fit import Hardware


def step(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, bf16: bool) -> Callable[[], None]:
    """One training step, ready to be called repeatedly."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(x)
        torch.nn.functional.cross_entropy(logits.float(), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def seconds(work: Callable[[], None]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Prints images per second of both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet34_gelu")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    x = torch.randn(options.batch, 1, options.size, options.size)
    y = torch.randint(0, 3, (options.batch,))
    pixels = Pixels(size=(options.size, options.size))
    classes = ("normal", "bacteria", "virus")
    bf16 = Hardware.choose().precision == "bf16-mixed"
    plain = build(options.model, classes, pixels)
    ours = build(options.model, classes, pixels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ways = {
        "fp32, NCHW (default)": step(plain, x, y, bf16=False),
        f"{'bf16' if bf16 else 'fp32'}, NHWC (hilum)": step(
            ours, x.contiguous(memory_format=torch.channels_last), y, bf16=bf16
        ),
    }
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(options.rounds + 1)][1:]
    default = next(iter(ways))
    for name in ways:
        speed = options.batch / statistics.median(times[name] for times in rounds)
        ratio = statistics.median(times[default] / times[name] for times in rounds)
        print(f"{options.model} {options.size} px  {name:22} {speed:6.1f} images/s   {ratio:4.2f} x default")


if __name__ == "__main__":
    main()
