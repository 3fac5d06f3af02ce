"""The figures of a run as plain numbers, to compare two runs, or a run with the golden figures of the tests.

    python tests/same_figures.py RUN                 # prints them as JSON
    python tests/same_figures.py RUN GOLDEN.json     # says where they differ by more than 0.001

The golden figures in tests/golden are those of the program as it stands: a change of shape must not move them. Before
and after its stages became components (commits fcf8844 and 33a5f50) they were the same. They were made anew, from the
same images with the same seed, when frames were cut off and borders reflected, and intervals came from other methods
(docs/log.md, 27 November 2026); and when `quick`, which the study starts from, came to see the lungs alone (28
November).
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TOLERANCE = 1e-3
"""Processors differ in the last digits of a sum, and two epochs of training carry that along."""


def figures_of_run(path: Path) -> dict[str, Any]:
    """Per task: metrics, held-out probabilities, attribution maps, strongest activations, synthesis, corruptions
    and the temperature; and the anomaly score of every image."""
    anomaly = pd.read_csv(path / "anomaly" / "scores.csv").set_index("case_id")
    detector = anomaly.columns[4]
    return {
        **{task: _task(path / task) for task in ("binary", "multiclass")},
        "anomaly": anomaly[detector].to_dict(),
    }


def _task(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    robustness = json.loads((folder / "robustness.json").read_text())
    reliability = json.loads((folder / "reliability.json").read_text())
    maximal = np.load(folder / "attributions" / "maximal.npz")
    synthesis = np.load(folder / "attributions" / "synthesis.npz")
    return {
        "metrics": {split: _values(block) for split, block in metrics.items()},
        "probabilities": _probabilities(folder / "predictions.csv"),
        "maps": {
            f"{file.parent.name}/{file.stem}": _size(np.load(file)["map"])
            for file in sorted(folder.glob("attributions/*/*.npz"))
        },
        "maximal_cases": maximal["case_id"].tolist(),
        "synthesis": [float(np.abs(synthesis[name]).mean()) for name in ("plain", "clean")],
        "robustness": {
            f"{name}/{severity}": point["accuracy"]["k"]
            for name, points in robustness["corruptions"].items()
            for severity, point in points.items()
        },
        "temperature": reliability["calibration"]["fitted"]["temperature"]["temperature"],
    }


def _values(block: dict[str, Any]) -> dict[str, list[float | None]]:
    figures = {name: entry for name, entry in block.items() if isinstance(entry, dict) and "value" in entry}
    figures.pop("threshold", None)
    return {name: [entry.get(key) for key in ("value", "low", "high")] for name, entry in figures.items()}


def _probabilities(file: Path) -> dict[str, list[float]]:
    table = pd.read_csv(file)
    held_out = table[table["split"].isin(["val", "test"])].set_index("case_id")
    return held_out[[name for name in held_out if name.startswith("prob_")]].T.to_dict("list")


def _size(values: np.ndarray) -> list[float]:
    return [float(values.mean()), float(np.abs(values).mean())]


def differences(figures: Any, golden: Any, place: str = "") -> list[str]:
    """Where two nested values differ: another key, another word, or a number off by more than the tolerance,
    relative to its size where it is above 1."""
    if isinstance(golden, dict):
        if set(figures) != set(golden):
            return [f"{place}: keys {sorted(set(figures) ^ set(golden))}"]
        return [line for key in golden for line in differences(figures[key], golden[key], f"{place}/{key}")]
    if isinstance(golden, list):
        if len(figures) != len(golden):
            return [f"{place}: {len(figures)} values, not {len(golden)}"]
        pairs = enumerate(zip(figures, golden, strict=True))
        return [line for number, (a, b) in pairs for line in differences(a, b, f"{place}/{number}")]
    if isinstance(golden, float) and isinstance(figures, float | int):
        same = abs(figures - golden) <= TOLERANCE * max(1.0, abs(golden))
    else:
        same = figures == golden
    return [] if same else [f"{place}: {figures}, not {golden}"]


if __name__ == "__main__":
    result = figures_of_run(Path(sys.argv[1]))
    if len(sys.argv) == 2:
        print(json.dumps(result))
    else:
        found = differences(result, json.loads(Path(sys.argv[2]).read_text()))
        print("\n".join(found) or "the same figures")
        sys.exit(bool(found))
