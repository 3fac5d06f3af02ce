"""What the parts of the explanation stage work on: one trained task, its images and its choices."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from hilum.data.cache import ImageCache
from hilum.data.tasks import Task
from hilum.errors import HilumError
from hilum.explain.config import ExplainConfig
from hilum.explain.maps import Image
from hilum.explain.maximal import conv_layers
from hilum.explain.receptive_field import check_layer
from hilum.models import ChestModel
from hilum.progress import say
from hilum.run import TaskFolder

LARGEST_FIELD = 0.5
"""Share of the image that a unit of the layer shown by default may see."""


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
    config: ExplainConfig
    force: bool
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
        """The layer whose filters are shown; see `chosen_layer`."""
        return chosen_layer(self.model, self.config.layer)

    def prepared(self, case_ids: list[str]) -> np.ndarray:
        """uint8 "images rows cols" as the cache holds them."""
        return self.cache.images[self.cache.rows(case_ids)]

    def batch(self, case_ids: list[str]) -> torch.Tensor:
        """Network inputs "images 1 rows cols"."""
        images = self.model.pixels.normalize(self.prepared(case_ids))
        return torch.from_numpy(images)[:, None].to(self.device)

    def image(self, case_id: str, asked: str) -> Image:
        """One image with the class asked about it."""
        row = self.predictions.loc[self.predictions["case_id"] == case_id].iloc[0]
        return Image(
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
    """`layer`, or of the convolutions whose middle unit sees at most half of the image the one that sees most:
    later ones see nearly all, and their receptive fields would say nothing. The first where all see more.

    ModelError for a layer that the model does not have, with the nearest name.
    """
    if layer is not None:
        check_layer(model, layer)
        return layer
    rows, cols = model.pixels.size
    found = conv_layers(model, model.pixels.size)
    seen = [one.sees[0] * one.sees[1] for one in found]
    small = [place for place, area in enumerate(seen) if area <= LARGEST_FIELD * rows * cols]
    return found[max(small, key=lambda place: (seen[place], place))].name if small else found[0].name
