"""`monitor: counterfactual_auroc`: epochs are chosen on validation images in the look of the other label's devices.

The images are made once per training and stay in memory; every epoch predicts them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from hilum.data.cases import Cases
from hilum.data.counterfactual.sets import in_other_look
from hilum.data.images import Pixels
from hilum.data.labels import HEALTHY
from hilum.data.tasks import Task
from hilum.errors import RecipeError
from hilum.models import ChestModel

MONITOR = "counterfactual_auroc"
"""The figure, and the monitor that needs it."""

BATCH = 64

Score = Callable[[pd.DataFrame, tuple[str, ...]], dict[str, float]]
"""As `hilum.training.task.Score`."""


def is_monitored(monitor: str) -> bool:
    """Whether a recipe's monitor needs counterfactual images.

    >>> is_monitored("counterfactual_auroc"), is_monitored("val_auroc")
    (True, False)
    """
    return monitor.removeprefix("val_") == MONITOR


@dataclass(frozen=True)
class Counterfactuals:
    """Counterfactual validation images, uint8 "images rows cols" in `pixels`, and how they are scored: `rows` has
    case_id, patient and label."""

    images: np.ndarray
    rows: pd.DataFrame
    pixels: Pixels
    score: Score

    @classmethod
    def of(
        cls, cases: Cases, split: pd.Series, task: Task, pixels: Pixels, score: Score, seed: int = 0
    ) -> "Counterfactuals":
        """Those of the val part, with donors from the train part, seeded as in the stage `counterfactual`.
        RecipeError for a task without a healthy class.

        >>> from pathlib import Path
        >>> from hilum.data.tasks import task
        >>> table = pd.DataFrame({"case_id": ["a", "b"], "label": ["covid", "virus"]})
        >>> cases = Cases(table, "table", Path("cases.csv"))
        >>> split, kinds = pd.Series({"a": "train", "b": "val"}), task("multiclass", cases.labels)
        >>> Counterfactuals.of(cases, split, kinds, Pixels(size=(8, 8)), score=lambda table, classes: {})
        Traceback (most recent call last):
        hilum.errors.RecipeError: training.monitor 'counterfactual_auroc' needs the class 'normal', task ...
        """
        if task.classes[0] != HEALTHY:
            raise RecipeError(
                f"training.monitor {MONITOR!r} needs the class {HEALTHY!r}, task {task.name!r} has none",
                "monitor val_auroc",
            )
        part = cases.table["case_id"].map(split)
        rows = cases.table.loc[part == "val", ["case_id", "patient", "label"]].reset_index(drop=True)
        pool, what = cases.table[part == "train"], f"{task.name}: making counterfactual images"
        return cls(in_other_look(cases, rows, pool, pixels, seed, what), rows, pixels, score)

    def figures(self, model: ChestModel, device: torch.device) -> dict[str, float]:
        """{"counterfactual_auroc": AUROC of normal against abnormal} of a network in eval mode."""
        probabilities = np.concatenate(
            [self._abnormal(model, device, start) for start in range(0, len(self.images), BATCH)]
        )
        table = self.rows[["case_id", "patient"]].copy()
        table["target"] = np.where(self.rows["label"] == HEALTHY, HEALTHY, "abnormal")
        table[f"prob_{HEALTHY}"], table["prob_abnormal"] = 1 - probabilities, probabilities
        return {MONITOR: self.score(table, (HEALTHY, "abnormal"))["auroc"]}

    @torch.no_grad()
    def _abnormal(self, model: ChestModel, device: torch.device, start: int) -> np.ndarray:
        batch = torch.from_numpy(self.pixels.normalize(self.images[start : start + BATCH]))[:, None]
        logits = model(batch.to(device).contiguous(memory_format=torch.channels_last))
        return 1 - logits.double().softmax(1)[:, 0].cpu().numpy()
