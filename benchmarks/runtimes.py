"""Inference of ResNet34 at 224 px, batch 32: torch eager beside ONNX Runtime and OpenVINO, in one run.

    python benchmarks/runtimes.py                          # wall time
    python benchmarks/runtimes.py --clock cpu              # processor time, on a busy machine
    python benchmarks/runtimes.py --threads 2 --rounds 5

The network is ResNet34 with ReLU (hilum's `resnet` with 3, 4, 6 and 3 blocks), untrained; its batches are noise. All
engines compute the same batch in turn, after one warm-up; the best round counts. int8 is quantised on noise as well:
speed does not depend on the numbers. The last lines say how far each is from torch, as a share of the largest logit.

Aims (times torch eager in float32): ONNX or OpenVINO in float32 1.4, bf16 2.4, int8 4.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE = (224, 224)
OPTIONS = {"stages": [3, 4, 6, 3]}


def ways(folder: Path, threads: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Each engine as a function from a batch "batch 1 rows cols" to logits."""
    import torch

    from hilum.data.images import Pixels
    from hilum.inference.runtimes.graph import open_graph
    from hilum.models import build
    from hilum.scale.graphs import write_onnx
    from hilum.scale.networks import classifier_network
    from hilum.scale.quantize import write_int8

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    pixels = Pixels(size=SIZE)
    model = build("resnet", ("normal", "pneumonia"), pixels, OPTIONS).eval()
    network = classifier_network(model)
    write_onnx(network, folder / "model.onnx")
    noise = np.random.default_rng(0).integers(0, 256, (32, *SIZE), np.uint8)
    write_int8(folder / "model.onnx", folder / "int8.onnx", noise, pixels)

    def eager(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(batch)).numpy()

    def opened(engine: str, name: str, precision: str = "f32") -> Callable[[np.ndarray], np.ndarray]:
        os.environ["HILUM_OPENVINO_PRECISION"] = precision
        graph = open_graph(engine, folder / name)
        return lambda batch: graph(batch)["logits"]

    return {
        "torch eager fp32": eager,
        "ONNX Runtime fp32": opened("onnx", "model.onnx"),
        "OpenVINO fp32": opened("openvino", "model.onnx"),
        "OpenVINO bf16": opened("openvino", "model.onnx", "bf16"),
        "ONNX Runtime int8": opened("onnx", "int8.onnx"),
        "OpenVINO int8": opened("openvino", "int8.onnx"),
    }


def main() -> None:
    """Prints milliseconds per image, the ratio to torch, and the difference."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    batch = np.random.default_rng(1).normal(size=(options.batch, 1, *SIZE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        start = clock()
        engines = ways(Path(place), options.threads)
        print(f"built, exported and quantised in {clock() - start:.1f} s of {options.clock} time")
        answers = {name: engine(batch) for name, engine in engines.items()}
        taken = dict.fromkeys(engines, float("inf"))
        for _ in range(options.rounds):
            for name, engine in engines.items():
                start = clock()
                engine(batch)
                taken[name] = min(taken[name], clock() - start)
    first = next(iter(engines))
    for name, seconds in taken.items():
        print(
            f"{name:<18} {1000 * seconds / options.batch:7.1f} ms/image  {taken[first] / seconds:5.2f} x torch"
        )
    largest = np.abs(answers[first]).max()
    for name, logits in answers.items():
        print(f"{name:<18} differs by {np.abs(logits - answers[first]).max() / largest:.1e}")


if __name__ == "__main__":
    main()
