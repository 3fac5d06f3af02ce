"""A small network that is trained several times in short time: on few labels, without a class, with corrupted
images. Every training takes the same number of steps, and no epoch is chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from hilum.data.augment import Augment
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.inference.forward import logits_of, softmax
from hilum.inference.runtimes.torch import choose_device
from hilum.models import ChestModel, build
from hilum.progress import Advance
from hilum.robustness.config import SmallNetworkConfig
from hilum.training.loader import ImageSet
from hilum.training.selfsupervised import train_briefly

AUGMENT = Augment(rotate=7, translate=0.05, scale=0.1, contrast=0.2, brightness=0.1)
LEARNING_RATE = 2e-3


class SmallNetworks:
    """The images of a task at a small size, and networks trained on them. `train`: the images to learn from;
    `test`: those that measure; `truth`: their class indices; `corrupted`: share of the training images that
    are corrupted."""

    def __init__(
        self,
        cases: Cases,
        split: pd.Series,
        task: Task,
        test: pd.DataFrame,
        config: SmallNetworkConfig,
        corrupted: float = 0.0,
    ) -> None:
        self.train, self.test = train_images(cases, split, task), test
        self.task, self.config = task, config
        self.augment = AUGMENT.model_copy(update={"corrupt": corrupted})
        self.cache = ImageCache.of(used_cases(cases, split), config.pixels.contract(0.5, 0.25))
        self.pixels = config.pixels.contract(*self.cache.mean_sd(self.train["case_id"].tolist()))
        self.test_images = self.cache.images[self.cache.rows(test["case_id"].tolist())]
        self.targets = class_indices(task.classes, self.train["target"])
        self.truth = class_indices(task.classes, test["target"])

    def images(self, rows: np.ndarray) -> ImageSet:
        """The images at these positions of `train`, with their class indices."""
        case_ids = self.train["case_id"].to_numpy()[rows].tolist()
        return ImageSet(self.cache, case_ids, self.targets[rows], self.pixels)

    def new(self, seed: int, classes: Sequence[str] = ()) -> ChestModel:
        """A network with random weights by `seed`, on the device at hand; of the task's classes unless others are
        given. Seeds torch's global generator."""
        torch.manual_seed(seed)
        model = self.config.model
        network = build(model.name, classes or self.task.classes, self.pixels, model.options)
        return network.to(choose_device(), memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fitted(
        self,
        classes: Sequence[str],
        rows: np.ndarray,
        steps: int,
        seed: int,
        weights: Mapping[str, torch.Tensor] | None = None,
        advance: Advance | None = None,
    ) -> ChestModel:
        """A network of these classes, trained on these rows of `train`. `weights`: to begin from."""
        model = self.new(seed, classes)
        if weights is not None:
            model.load_state_dict({**model.state_dict(), **weights})
        targets = class_indices(classes, self.train["target"].iloc[rows])
        images = replace(self.images(rows), targets=targets)
        train_briefly(
            model, images, self.augment, steps, self.config.batch_size, LEARNING_RATE, seed, advance
        )
        return model

    def probabilities(self, model: ChestModel, images: np.ndarray | None = None) -> np.ndarray:
        """float64 "images classes", 0..1, of the held-out images, or of prepared images uint8 "images rows cols"."""
        return softmax(logits_of(model, self.test_images if images is None else images))

    def is_correct(self, probabilities: np.ndarray) -> np.ndarray:
        """float64 "images": 1 where the most probable class is the true one."""
        return (probabilities.argmax(1) == self.truth).astype(np.float64)

    def of_truth(self, probabilities: np.ndarray) -> np.ndarray:
        """The probability of each image's own class, "images"."""
        return probabilities[np.arange(len(self.truth)), self.truth]

    @property
    def majority(self) -> float:
        """The share of the most frequent class among the held-out images, 0..1: the accuracy of always naming it."""
        return float(self.test["target"].value_counts(normalize=True).max())


def train_images(cases: Cases, split: pd.Series, task: Task) -> pd.DataFrame:
    """The images to learn from: the columns of cases and `target`, the class of each.

    >>> from pathlib import Path
    >>> from hilum.data.tasks import task
    >>> cases = Cases(pd.DataFrame({"case_id": ["a", "b"], "label": ["normal", "virus"]}), "table", Path("cases.csv"))
    >>> split = pd.Series({"a": "val", "b": "train"})
    >>> train_images(cases, split, task("binary", ["normal", "virus"])).values.tolist()
    [['b', 'virus', 'pneumonia']]
    """
    train = cases.table[cases.table["case_id"].map(split) == "train"].reset_index(drop=True)
    return train.assign(target=train["label"].map(dict(task.class_of)))


def class_indices(classes: Sequence[str], targets: pd.Series) -> np.ndarray:
    """int64 "images": the position of each target in `classes`, -1 for one that is not among them.

    >>> class_indices(["normal", "virus"], pd.Series(["virus", "bacteria"])).tolist()
    [1, -1]
    """
    return pd.Index(list(classes)).get_indexer(pd.Index(targets)).astype(np.int64)
