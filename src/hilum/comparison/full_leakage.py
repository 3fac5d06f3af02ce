"""`hilum compare --leakage`: the leakage with a whole recipe instead of the short one of a study."""

import shlex
from pathlib import Path
from typing import Any

from hilum.comparison.leakage import leakage
from hilum.comparison.run import read_cases
from hilum.data.tasks import task
from hilum.errors import RunError
from hilum.evaluation.show import columns, figure
from hilum.report.leaked import build_leakage_page, points
from hilum.run import LeakageFolder
from hilum.training.config import TaskRecipe


def full_leakage(
    data: str,
    name: str,
    recipe: TaskRecipe,
    folds: int,
    out: Path,
    replicates: int,
    source: str | None = None,
    skip_unreadable: bool = False,
) -> dict[str, Any]:
    """Trains the recipe with patients apart and by image, and writes figures.json and index.html. What is
    finished is not trained again. RunError when `out` holds something else."""
    folder = LeakageFolder(out)
    if out.is_dir() and any(out.iterdir()) and not folder.way("patient").is_dir():
        raise RunError(f"{out} already holds files", "choose another --out")
    cases = read_cases(data, source, skip_unreadable, [recipe])
    found = leakage(folder, cases, task(name, cases.labels), recipe, folds, replicates=replicates)
    words = ["hilum", "compare", data, "--leakage", "--task", name, "--folds", str(folds), "--out", str(out)]
    build_leakage_page(folder, shlex.join(words))
    return found


def leakage_text(found: dict[str, Any]) -> str:
    """The leakage as plain text for the terminal."""
    rows = [("way", "accuracy", "AUROC")]
    rows += [(way, figure(one["accuracy"]), figure(one["auroc"])) for way, one in found["ways"].items()]
    if found["official"]:
        rows.append(("official", figure(found["official"]["accuracy"]), ""))
    return "\n".join([*columns(rows), f"leakage buys {points(found['difference']['accuracy'])}"]).replace(
        "\u00a0", " "
    )
