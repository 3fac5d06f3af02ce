"""What the parts of the explanation stage work on: one trained task, its films and its choices."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from hilum.data.cache import ImageCache
from hilum.data.tasks import Task
from hilum.errors import HilumError, ModelError
from hilum.explain.maps import Film
from hilum.explain.receptive_field import check_layer
from hilum.models import ChestModel
from hilum.progress import say
from hilum.run import TaskFolder
from hilum.training.recipe import ExplainChoice


@dataclass
class Subject:
    """A trained task with everything that the parts ask for. `failures`: what could not be done, and why."""

    folder: TaskFolder
    model: ChestModel
    cases: pd.DataFrame
    root: str
    source: str
    cache: ImageCache
    predictions: pd.DataFrame
    task: Task
    choice: ExplainChoice
    again: bool
    failures: list[dict[str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Of the weights."""
        return str(self.model.card["weights_digest"])

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.model.parameters()).device

    @property
    def late_layer(self) -> str:
        """The layer whose filters are shown: the recipe's, else the last convolution. ModelError names the
        nearest layer where there is none of that name."""
        return chosen_layer(self.model, self.choice.layer)

    def prepared(self, case_ids: list[str]) -> np.ndarray:
        """uint8 "films rows cols" as the cache holds them."""
        return self.cache.images[self.cache.rows(case_ids)]

    def batch(self, case_ids: list[str]) -> torch.Tensor:
        """Network inputs "films 1 rows cols"."""
        films = self.model.pixels.normalize(self.prepared(case_ids))
        return torch.from_numpy(films)[:, None].to(self.device)

    def film(self, case_id: str, asked: str) -> Film:
        """One film with the class asked about it."""
        row = self.predictions.loc[self.predictions["case_id"] == case_id].iloc[0]
        return Film(
            case_id,
            self.batch([case_id]),
            asked,
            self.task.classes.index(asked),
            float(row[f"prob_{asked}"]),
            str(self.cases.loc[case_id, "digest"]),
        )

    def fail(self, what: str, error: Exception) -> None:
        """Notes a part that can't be done: a sentence for the report and for the person at the terminal."""
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if not isinstance(error, HilumError):
            why = f"{type(error).__name__}: {why}"
        self.failures.append({"what": what, "why": why})
        say(f"  {self.task.name}: {what} is left out: {why}")


def chosen_layer(model: ChestModel, layer: str | None) -> str:
    """`layer`, or the name of the last convolution. ModelError for one that the model does not have."""
    if layer is not None:
        check_layer(model, layer)
        return layer
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Conv2d)]
    if not names:
        raise ModelError("the model has no convolution", "choose a layer: --set layer=NAME")
    return names[-1]
