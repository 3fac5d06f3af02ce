"""Two processes train one network: the same figures as one process, and nothing lost when one of them is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from ..conftest import SMALL, Answer

COMMAND = [sys.executable, "-c", "from hilum.cli import main; main()"]
OURS = [
    "--task=multiclass",
    "--set=multiclass.training.precision=fp32",
    "--set=multiclass.training.epochs=3",
    "--set=multiclass.training.batch_size=16",
    "--set=multiclass.training.ema=0.9",
    "--set=multiclass.model={name: resnet, options: {width: 8, stages: [1, 1], embedding: 16, dropout: 0}}",
]


def train(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    """`hilum train`, started."""
    settings = [
        word for word in SMALL if "multiclass.model" not in word and "multiclass.training" not in word
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, "train", str(data), "--out", str(out), *settings, *OURS, *more]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def history(out: Path) -> pd.DataFrame:
    """Figures by epoch, without seconds and speed."""
    return pd.read_csv(out / "multiclass" / "history.csv").drop(columns=["seconds", "images_per_second"])


def child_of(process: subprocess.Popen[str]) -> int:
    """The number of the one process that it has started."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
    [child] = map(int, text.split())
    return child


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs Linux's /proc to find the second process"
)
def test_two_processes_are_one_training(phantom_data: Path, tmp_path: Path) -> None:
    alone = train(phantom_data, tmp_path / "alone")
    _, errors = alone.communicate(timeout=300)
    assert alone.returncode == 0, errors
    wanted = history(tmp_path / "alone")
    assert len(wanted) == 3

    both, out = train(phantom_data, tmp_path / "both", "--devices", "2"), tmp_path / "both"
    checkpoint, end = out / "multiclass" / "checkpoints" / "last.ckpt", time.monotonic() + 300
    while not checkpoint.exists() and both.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(child_of(both), signal.SIGKILL)
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 2, errors
    assert "a process of this training has ended" in errors and "Traceback" not in errors

    both = train(phantom_data, out, "--devices", "2", "--resume")
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors
    assert errors.count("multiclass: continues after epoch") == 1
    pd.testing.assert_frame_equal(history(out), wanted, rtol=2e-4, atol=2e-5)
    assert (out / "multiclass" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--num-nodes", "2"], "--num-nodes 2 needs a launcher on each machine"),
        (["--devices", "2", "--strategy", "fsdp"], "strategy fsdp needs CUDA devices"),
        (["--strategy", "magic"], "strategy 'magic' is not known"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    options: list[str], sentence: str, phantom_data: Path, hilum: Callable[..., Answer], tmp_path: Path
) -> None:
    if "fsdp" in options and torch.cuda.is_available():
        pytest.skip("there are CUDA devices")
    answer = hilum("train", phantom_data, "--out", tmp_path / "run", *options)
    assert answer.code == 2 and sentence in answer.err
    assert not (tmp_path / "run").exists()
