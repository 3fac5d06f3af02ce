"""Two processes train one network: the figures of one process, nothing lost when one of them is killed, and either
number of processes goes on with what the other has left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from ..conftest import SMALL, Answer

COMMAND = [sys.executable, "-c", "from hilum.cli import main; main()"]
OURS = [
    "--task=multiclass",
    "--set=multiclass.training.precision=fp32",
    "--set=multiclass.training.epochs=4",
    "--set=multiclass.training.batch_size=16",
    "--set=multiclass.training.ema=0.9",
    "--set=multiclass.model={name: resnet, options: {width: 8, stages: [1, 1], embedding: 16, dropout: 0}}",
]


TORCHRUN = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--nproc-per-node=2",
    "--max-restarts=1",
    "--no-python",
]


def train(data: Path, out: Path, *more: str, launcher: Sequence[str] = ()) -> subprocess.Popen[str]:
    """`hilum train`, started."""
    settings = [
        word for word in SMALL if "multiclass.model" not in word and "multiclass.training" not in word
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, *COMMAND, "train", str(data), "--out", str(out), *settings, *OURS, *more]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def history(out: Path) -> pd.DataFrame:
    """Figures by epoch, without seconds and speed."""
    return pd.read_csv(out / "multiclass" / "history.csv").drop(columns=["seconds", "images_per_second"])


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """The numbers of the processes that it has started."""
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8")
    return list(map(int, text.split()))


def after_an_epoch(process: subprocess.Popen[str], out: Path) -> None:
    """Waits until it has written a checkpoint, or another where there is one."""
    checkpoint, end = out / "multiclass" / "checkpoints" / "last.ckpt", time.monotonic() + 300
    before = checkpoint.stat().st_ino if checkpoint.exists() else None
    while process.poll() is None and time.monotonic() < end:
        if checkpoint.exists() and checkpoint.stat().st_ino != before:
            return
        time.sleep(0.02)
    raise AssertionError("no epoch was finished")


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs Linux's /proc to find the second process"
)
def test_two_processes_are_one_training_and_resume_with_another_number(
    phantom_data: Path, tmp_path: Path
) -> None:
    alone = train(phantom_data, tmp_path / "alone")
    _, errors = alone.communicate(timeout=300)
    assert alone.returncode == 0, errors
    wanted = history(tmp_path / "alone")
    assert len(wanted) == 4

    out = tmp_path / "both"
    both = train(phantom_data, out, "--devices", "2")
    after_an_epoch(both, out)
    [other] = children_of(both)
    os.kill(other, signal.SIGKILL)
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 2, errors
    assert "a process of this training has ended" in errors and "Traceback" not in errors

    alone = train(phantom_data, out, "--resume")
    after_an_epoch(alone, out)
    alone.kill()
    _, errors = alone.communicate(timeout=300)
    assert "multiclass: continues after epoch" in errors and len(history(out)) < 4

    both = train(phantom_data, out, "--devices", "2", "--resume")
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors
    assert errors.count("multiclass: continues after epoch") == 1
    pd.testing.assert_frame_equal(history(out), wanted, rtol=2e-4, atol=2e-5)
    assert (out / "multiclass" / "metrics.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="needs Linux's /proc to find the processes of torchrun"
)
def test_torchrun_starts_lost_processes_again_and_they_resume(phantom_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "again"
    both = train(phantom_data, out, "--devices", "2", "--resume", launcher=TORCHRUN)
    after_an_epoch(both, out)
    os.kill(children_of(both)[-1], signal.SIGKILL)
    _, errors = both.communicate(timeout=300)
    assert both.returncode == 0, errors
    assert errors.count("multiclass: continues after epoch") == 1 and len(history(out)) == 4


WRAPPED = """
import os
import sys
import torch
from hilum.training.processes import together
with together(devices=2) as processes:
    network = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 4))
    network(torch.ones(2, 4)).sum().backward()
    del network
    if not processes.first:
        processes.tell(None)  # waits for the end, which the first process tells
threads = [open(f"/proc/self/task/{number}/comm").read() for number in os.listdir("/proc/self/task")]
sys.exit(any("gloo" in thread for thread in threads))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc to list threads")
def test_no_thread_of_the_processes_outlives_them(tmp_path: Path) -> None:
    """Such a thread gives a tensor back while the interpreter ends, and then the process aborts."""
    script = tmp_path / "wrapped.py"
    script.write_text(WRAPPED, encoding="utf-8")
    command = [*TORCHRUN[:-2], str(script)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr


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
