"""benchmarks/gpu.py works without a GPU too, where its figures say nothing."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a CUDA device the benchmark itself is run")
def test_the_tiny_benchmark_prints_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
    spec = importlib.util.spec_from_file_location("benchmark_gpu", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--tiny"])
    training, occlusion = capsys.readouterr().out.splitlines()
    assert training.startswith("CPU, ResNet34, 32 px, 8 images, 1 epochs")
    difference = re.search(r"largest difference (\S+)$", occlusion)
    assert difference is not None and float(difference[1]) < 1e-4
    with pytest.raises(SystemExit):
        module.main([])
