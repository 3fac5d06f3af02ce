"""One task's results with what the embedding stage left behind."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from hilum.errors import RunError
from hilum.evaluation.seed_report import CLASSES as SEED_CLASSES
from hilum.report.results import Results, results
from hilum.run import Run


@dataclass(frozen=True)
class Embedded:
    """One task's results with what the embedding stage left behind."""

    one: Results
    facts: dict[str, Any]
    neighbors: pd.DataFrame
    projection: pd.DataFrame
    suspects: pd.DataFrame
    duplicates: pd.DataFrame

    @property
    def parts(self) -> list[str]:
        """The held-out splits that were measured, the one to quote first."""
        rows = self.facts["table"]
        return [part for part in ("test", "val") if any(part in row for row in rows)]

    @property
    def k(self) -> int:
        """How many neighbours vote."""
        return int(self.facts["space"]["k"])

    @property
    def seed_is_comparable(self) -> bool:
        """The seed report names three classes of real images."""
        drawn_images = self.one.card.get("data", {}).get("source") == "phantom"
        return self.one.task == "multiclass" and self.one.classes == SEED_CLASSES and not drawn_images


def embedded(run: Run, task: str) -> Embedded | None:
    """RunError when the vectors were made with other weights than the model has."""
    one = results(run, task)
    if one is None:
        return None
    folder = run.task(task).embeddings
    facts = folder.figures()
    if facts["weights_digest"] != one.card["weights_digest"]:
        raise RunError(
            f"{folder.figures_file} was made with other weights than the model has",
            f"run: hilum embed {run.path}",
        )
    return Embedded(
        one,
        facts,
        folder.neighbors(),
        folder.projection(),
        folder.suspects() if folder.suspects_file.exists() else pd.DataFrame(),
        folder.duplicates() if folder.duplicates_file.exists() else pd.DataFrame(),
    )
