"""Peak memory of a training, as the operating system counts it.

    python benchmarks/memory.py path/to/chest_xray --preset seed --seconds 240

Runs `hilum train` in a process of its own for each task of the preset and prints its largest resident set;
pages of the memory-mapped images that happened to be in memory count, too. `--seconds` stops each task early:
memory is at its peak after a few batches of training; the evaluation needs less.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time


def peak(command: list[str], seconds: float | None) -> float:
    """GiB: the largest resident set of one process, which is stopped after `seconds`."""
    process = subprocess.Popen([sys.executable, "-c", "from hilum.cli import main; main()", *command])
    with contextlib.suppress(ProcessLookupError):
        start = time.monotonic()
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if seconds is not None and time.monotonic() - start > seconds:
                process.kill()
                break
            time.sleep(0.2)
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss / 1024**2  # Linux counts in KiB


def main() -> None:
    """Prints a line per task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--preset", default="seed")
    parser.add_argument("--task", action="append", default=None)
    parser.add_argument("--seconds", type=float, default=None)
    options = parser.parse_args()
    for task in options.task or ["binary", "multiclass"]:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                "train",
                options.data,
                "--preset",
                options.preset,
                "--task",
                task,
                "--out",
                f"{folder}/run",
            ]
            print(
                f"{options.preset} {task}: peak memory {peak(command, options.seconds):.2f} GiB", flush=True
            )


if __name__ == "__main__":
    main()
