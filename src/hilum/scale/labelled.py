"""Labelled images for an int8 export: some of train to measure ranges on, and val to check the accuracy on."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from hilum.artifacts.card import ModelCard
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.images import Pixels
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import class_task
from hilum.errors import DataError
from hilum.files import digest
from hilum.inference.guard_fit import some_in_other_look
from hilum.run import Run

CALIBRATION = 256
"""Images of train that ranges are measured on, at most."""

OTHER_LOOK = 400
"""Validation images that a guard sees in the look of the other label's devices as well, at most."""


@dataclass(frozen=True)
class Labelled:
    """Prepared images, uint8 "images rows cols"; `targets`: class names of `val`; `other_look`: some of val in the look
    of the other label's devices, for a guard."""

    calibration: np.ndarray
    val: np.ndarray
    targets: list[str]
    other_look: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1), np.uint8))

    @classmethod
    def of_run(cls, run: Run, task: str, pixels: Pixels, guarded: bool) -> "Labelled":
        """Of the split that a run was trained with.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     Labelled.of_run(run, "binary", Pixels(size=(8, 8)), guarded=False)
        Traceback (most recent call last):
        hilum.errors.RunError: ...predictions.csv is missing; the stage that writes it has not run
        """
        table = run.task(task).predictions()
        return cls._of(run.cases(), table[["case_id", "split", "target"]], pixels, guarded)

    @classmethod
    def of_data(cls, data: str, card: ModelCard, pixels: Pixels, guarded: bool) -> "Labelled":
        """Of a folder of labelled radiographs, split by patient with seed 0. DataError where its classes are not the
        model's.

        >>> card = ModelCard.model_construct(task="binary", classes=["normal", "abnormal"])
        >>> Labelled.of_data("gone", card, Pixels(size=(8, 8)), guarded=False)
        Traceback (most recent call last):
        hilum.errors.DataError: gone does not exist; name a folder of radiographs, a .csv, a .npz, or ...
        """
        cases = open_source(data)
        task = class_task(card.task, cases.labels)
        if list(task.classes) != card.classes:
            raise DataError(
                f"{data} has the classes {', '.join(task.classes)}, the model {', '.join(card.classes)}",
                "give labelled images of the model's classes",
            )
        table = cases.table[["case_id", "label"]].copy()
        table["split"] = table["case_id"].map(split_cases(cases).of)
        table["target"] = table["label"].map(dict(task.class_of))
        return cls._of(cases, table, pixels, guarded)

    @classmethod
    def _of(cls, cases: Cases, table: pd.DataFrame, pixels: Pixels, guarded: bool) -> "Labelled":
        train, val = (table[table["split"] == name] for name in ("train", "val"))
        if not len(train) or not len(val):
            raise DataError(
                "int8 needs images of train and of val", "give labelled images with --data FOLDER"
            )
        order = sorted(train["case_id"], key=lambda case: digest("int8", str(case)))[:CALIBRATION]
        used = cases.where(cases.table["case_id"].isin({*order, *val["case_id"]}))
        cache, ids = ImageCache.of(used, pixels), val["case_id"].tolist()
        looks = (
            some_in_other_look(used, ids, order, pixels, OTHER_LOOK, seed=0)
            if guarded
            else np.zeros((0, *pixels.size), np.uint8)
        )
        chosen, held_out = (np.asarray(cache.images[cache.rows(some)]) for some in (order, ids))
        return cls(chosen, held_out, val["target"].astype(str).tolist(), looks)


def run_of(source: Path) -> tuple[Run, str] | None:
    """The run and the task that a model folder or a task folder belongs to; None for a model folder alone.

    >>> run_of(Path("gone")) is None
    True
    """
    folder = source.parent if source.name == "model" else source
    if not (folder.parent / "run.json").exists():
        return None
    return Run(folder.parent), folder.name
