"""Does the acquisition counterfactual expose a network that reads the device, and pass one that can't?

    OMP_NUM_THREADS=1 python benchmarks/counterfactual.py [OUT]

Two phantom sets of the same patients: without a shortcut, and with a second device for every abnormal image. The
same small network is trained on each (binary task, 64 px, 8 epochs), and measured on its own validation images and
on those of the other set. docs/shift.md has the figures.
"""

import sys
import tempfile
from pathlib import Path

from hilum.data.sources.phantom import PhantomSettings, write
from hilum.evaluation.counterfactual.show import counterfactual_text
from hilum.runner import study

CHANGES = (
    "binary.pixels.size=[64, 72]",
    "binary.training.epochs=8",
    "counterfactual.images=null",
    "leakage=null",
    "embed=null",
    "anomaly=null",
    "explain=null",
    "robustness=null",
    "reliability=null",
)


def main(out: Path) -> None:
    """Prints the table of each network."""
    for shortcut in (None, "device"):
        settings = PhantomSettings(patients=400, size=(112, 128), shortcut=shortcut)
        data = write(out / f"set-{shortcut or 'none'}", settings)
        run = study(
            data,
            "quick",
            out / f"run-{shortcut or 'none'}",
            tasks=["binary"],
            changes=CHANGES,
            only=["counterfactual"],
            report=False,
        )
        print(f"\nplanted shortcut: {shortcut or 'none'}")
        print(counterfactual_text(run.task("binary").counterfactual()))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
