"""Time of `hilum --help`, beside Python itself and importing torch.

    python benchmarks/startup.py

Whole processes in turn, five rounds after one warm-up, median; the ratio is taken round by round.
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "hilum --help": ["-c", "import sys; sys.argv = ['hilum', '--help']; from hilum.cli import main; main()"],
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    """One run of a fresh interpreter."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Prints a line per command."""
    rounds = [{name: seconds(arguments) for name, arguments in COMMANDS.items()} for _ in range(6)][1:]
    for name in COMMANDS:
        times = [run[name] for run in rounds]
        ratio = statistics.median(run["hilum --help"] / run[name] for run in rounds)
        print(f"{name:16}  {statistics.median(times):6.3f} s   hilum --help / this {ratio:5.2f}")


if __name__ == "__main__":
    main()
