"""Peak memory of a training on a data set, as the operating system counts it.

    python benchmarks/memory.py path/to/chest_xray --size 224

Runs `hilum train` in a process of its own, one epoch of each task at the given size, and prints its largest
resident set; pages of the memory-mapped films that happened to be in memory count, too. `--seconds` stops
each task early: memory is at its peak after a few batches.
"""

import argparse
import contextlib
import resource
import subprocess
import sys
import tempfile


def main() -> None:
    """Prints gigabytes."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("data")
    words.add_argument("--size", type=int, default=224)
    words.add_argument("--task", action="append", default=None)
    words.add_argument("--seconds", type=float, default=None)
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for task in given.task or ["binary", "etiology"]:
            choices = [
                f"--set={task}.training.epochs=1",
                f"--set={task}.pixels.size=[{given.size},{given.size}]",
            ]
            command = [
                "train",
                given.data,
                "--preset",
                "quick",
                "--task",
                task,
                "--out",
                f"{folder}/{task}",
                *choices,
            ]
            code = "from hilum.cli import main; main()"
            with contextlib.suppress(subprocess.TimeoutExpired):  # stopped on purpose
                subprocess.run([sys.executable, "-c", code, *command], check=True, timeout=given.seconds)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
            print(f"{task} at {given.size} px: peak memory so far {peak:.2f} GiB")


if __name__ == "__main__":
    main()
