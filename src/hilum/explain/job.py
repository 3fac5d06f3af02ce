"""What the explanation of one trained task works on: its model, images and predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hilum.artifacts.explanations import Failure
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.tasks import Task
from hilum.errors import HilumError
from hilum.explain.maps import PreparedImage
from hilum.explain.parts import FinishedParts
from hilum.folders import AttributionFolder
from hilum.models import ChestModel
from hilum.progress import say

BATCH = 32
"""Images in one forward pass over the data set."""


@dataclass
class Job:
    """`split`: case_id -> train, val, test or unused; `cache`: prepared images; `layer`: the layer whose filters
    are shown; `parts`: what is finished; `failures`: what could not be done, and why."""

    model: ChestModel
    task: Task
    predictions: pd.DataFrame
    cases: Cases
    split: pd.Series
    cache: ImageCache
    folder: AttributionFolder
    layer: str
    parts: FinishedParts
    failures: list[Failure] = field(default_factory=list)

    @property
    def weights_digest(self) -> str:
        """Of the model's weights."""
        return self.model.weights_digest

    @cached_property
    def table(self) -> pd.DataFrame:
        """The cases by case_id."""
        return self.cases.table.set_index("case_id")

    @property
    def is_phantom(self) -> bool:
        """Whether the images are synthetic, so that their lesions are known."""
        return self.cases.source == "phantom"

    def prepared(self, case_ids: Sequence[str]) -> np.ndarray:
        """The prepared images of these cases, uint8 "images rows cols" in the order given. DataError for an unknown
        case."""
        return self.cache.images[self.cache.rows(list(case_ids))]

    def batch(self, case_ids: Sequence[str]) -> torch.Tensor:
        """Network inputs of these cases, float32 "images 1 rows cols" in the order given, on the model's device."""
        images = self.model.pixels.normalize(self.prepared(case_ids))
        return torch.from_numpy(images)[:, None].to(next(self.model.parameters()).device)

    def batches(self, case_ids: Sequence[str]) -> Iterator[torch.Tensor]:
        """Network inputs of these cases as `batch` gives them, at most BATCH at a time."""
        for start in range(0, len(case_ids), BATCH):
            yield self.batch(case_ids[start : start + BATCH])

    def image(self, case_id: str, target_class: str) -> PreparedImage:
        """One image with the class to explain, its number, and the probability that predictions.csv gives it."""
        row = self.predictions.loc[self.predictions["case_id"] == case_id].iloc[0]
        return PreparedImage(
            case_id,
            self.batch([case_id]),
            target_class,
            self.task.classes.index(target_class),
            float(row[f"prob_{target_class}"]),
            str(self.table.loc[case_id, "digest"]),
        )

    def write(self, path: Path, arrays: dict[str, np.ndarray]) -> None:
        """Writes arrays with the digest of the weights."""
        self.folder.write_arrays(path, arrays, {"weights_digest": self.weights_digest, "layer": self.layer})

    def fail(self, what: str, error: Exception) -> None:
        """Notes what can't be done: a sentence for the report and for the person at the terminal."""
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if not isinstance(error, HilumError):
            why = f"{type(error).__name__}: {why}"
        self.failures.append(Failure(what=what, why=why))
        say(f"  {self.task.name}: {what} is left out: {why}")
