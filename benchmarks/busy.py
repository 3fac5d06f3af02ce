"""How much slower a study is beside two busy loops than alone: the ratio of their times, at most 2.2.

    python benchmarks/busy.py                 # a short study, about five minutes in all
    python benchmarks/busy.py --preset quick  # the study of `make study`

Two loops that never rest take every second time slice of two cores, so a factor of two is fair. What is above it
is lost: OpenMP's threads that spin at barriers while the thread they wait for has no core (hilum/threads.py).
`--spin` shows that by asking OpenMP to spin.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

SHORT = ["anomaly=null", "explain=null", "embed=null", "leakage=null", "binary.training.epochs=4"]


@contextmanager
def busy(loops: int):
    """So many processes that compute without a pause."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def study(folder: Path, words: list[str], spin: bool) -> float:
    """Seconds of one study on phantoms."""
    env = {**os.environ, "OMP_WAIT_POLICY": "ACTIVE" if spin else "PASSIVE"}
    command = [sys.executable, "-c", "from hilum.cli import main; main()", "study", "phantom", *words]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(folder)], check=True, env=env, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="", help="a whole study instead of a short one")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--spin", action="store_true", help="let waiting threads spin, as OpenMP does by default"
    )
    given = parser.parse_args()
    words = (
        ["--preset", given.preset]
        if given.preset
        else ["--task", "binary", *(f"--set={one}" for one in SHORT)]
    )
    with tempfile.TemporaryDirectory() as place:
        ratios = []
        for number in range(given.rounds):
            alone = study(Path(place) / f"alone-{number}", words, given.spin)
            with busy(2):
                beside = study(Path(place) / f"beside-{number}", words, given.spin)
            ratios.append(beside / alone)
            print(f"alone {alone:.0f} s, beside two busy loops {beside:.0f} s: ratio {ratios[-1]:.2f}")
    print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f} (aim: at most 2.2)")


if __name__ == "__main__":
    main()
