"""Accuracy, ranking and calibration of a trained network when held-out images are corrupted.

Each corruption of hilum.data.corruptions at each severity gives one point; `clean` are the same images as they
are. The threshold stays the one that was chosen on clean images: a user would not choose another. Points are
written one by one, so a stage that is stopped goes on, and a later call adds points to an earlier one's.

The images of all points are the same, so a point's `change` of accuracy is paired: its interval is that of the
difference, case by case, and much narrower than the intervals of both accuracies suggest. Whether it is a fall or
a rise is said by a permutation test by patient, which is exact where only a few images change.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hilum.artifacts.robustness import CorruptedPoint, Robustness
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.corruptions import CORRUPTIONS
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.errors import RecipeError, RunError, nearest
from hilum.evaluation.evaluate import predicted_classes
from hilum.evaluation.paired import permutation
from hilum.files import digest
from hilum.folders import TaskFolder
from hilum.inference.forward import logits_of, softmax
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.robustness.config import RobustnessConfig
from hilum.robustness.held_out import change_figure, corrupted_images, held_out, point_figures

METHOD = 2
"""Raised when a point of the same images would come out otherwise, so that earlier points are not kept."""


def measure_corruptions(
    folder: TaskFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    config: RobustnessConfig,
    force: bool = False,
) -> Robustness:
    """Writes robustness.json of a task and gives it back; see docs/robustness.md.

    What was measured before with the same weights, images and settings is not measured again (with `force` it
    is); a file that holds all points that are wanted, from as many images or more, stays as it is. RecipeError
    names an unknown corruption; DataError when no image is held out.
    """
    names = check_corruptions(config.corruptions)
    card = folder.card()
    table, part = held_out(cases, split, task, config)
    threshold = card.threshold_value
    made_from = digest(
        f"method {METHOD}",
        card.weights_digest,
        str(threshold),
        cases.digest,
        *table["case_id"],
        str(config.replicates),
        str(config.seed),
    )
    wanted = [(name, severity) for name in names for severity in config.severities]
    known = None if force else _known(folder)
    if known and _holds(known, wanted, len(table), made_from):
        return known
    measure = _Measure.of(folder, cases, split, table, threshold, config)
    same = known is not None and known.made_from == made_from
    robustness = Robustness(
        split=part,
        images=len(table),
        patients=int(table["patient"].nunique()),
        replicates=config.replicates,
        made_from=made_from,
        weights_digest=card.weights_digest,
        of_images=int((split == part).sum()),
        classes=list(task.classes),
        seed=config.seed,
        clean=measure.clean,
        corruptions=known.corruptions if known and same else {},
    )
    _add_points(robustness, measure, wanted, folder)
    return robustness


def check_corruptions(names: Sequence[str] | None) -> list[str]:
    """The names that are wanted; all of them where None is given. RecipeError for one that does not exist.

    >>> check_corruptions(["blur"]), len(check_corruptions(None))
    (['blur'], 14)
    """
    for name in names or ():
        if name not in CORRUPTIONS:
            raise RecipeError(f"corruption {name!r} is not known", nearest(name, list(CORRUPTIONS)))
    return list(names or CORRUPTIONS)


class _Measure:
    """One point: the images corrupted, predicted and scored. `clean`: the figures of the images as they are."""

    def __init__(
        self,
        model: ChestModel,
        images: np.ndarray,
        table: pd.DataFrame,
        threshold: float | None,
        config: RobustnessConfig,
    ) -> None:
        self.model, self.images, self.table = model, images, table
        self.threshold, self.config = threshold, config
        probabilities = softmax(logits_of(model, images))
        self.is_correct = self._is_correct(probabilities)
        self.clean = point_figures(probabilities, table, model.classes, threshold, config)

    @classmethod
    def of(
        cls,
        folder: TaskFolder,
        cases: Cases,
        split: pd.Series,
        table: pd.DataFrame,
        threshold: float | None,
        config: RobustnessConfig,
    ) -> "_Measure":
        """With the task's model and the images of `table`."""
        model = folder.load_model()
        cache = ImageCache.of(used_cases(cases, split), model.pixels)
        images = np.stack([cache.images[row] for row in cache.rows(table["case_id"].tolist())])
        return cls(model, images, table, threshold, config)

    def point(self, name: str, severity: int) -> CorruptedPoint:
        """The figures of the images with one corruption."""
        case_ids = self.table["case_id"].tolist()
        corrupted = corrupted_images(self.images, case_ids, name, severity, self.config.seed)
        probabilities = softmax(logits_of(self.model, corrupted))
        figures = point_figures(probabilities, self.table, self.model.classes, self.threshold, self.config)
        is_correct = self._is_correct(probabilities)
        return CorruptedPoint(
            accuracy=figures.accuracy,
            auroc=figures.auroc,
            ece=figures.ece,
            change=change_figure(is_correct - self.is_correct, self.table, self.config),
            p=permutation(is_correct, self.is_correct, self.table["patient"]).p,
        )

    def _is_correct(self, probabilities: np.ndarray) -> np.ndarray:
        predicted = predicted_classes(probabilities, self.model.classes, self.threshold)
        return (predicted == self.table["target"].to_numpy()).astype(np.float64)


def _add_points(
    robustness: Robustness, measure: _Measure, wanted: Sequence[tuple[str, int]], folder: TaskFolder
) -> None:
    """Measures what is not there yet, and writes the file after each point."""
    todo = [pair for pair in wanted if not robustness.has(*pair)]
    robustness.save(folder.robustness_file)
    with advancing(f"{folder.name}: corruptions") as advance:
        for done, (name, severity) in enumerate(todo, start=1):
            robustness.corruptions.setdefault(name, {})[severity] = measure.point(name, severity)
            robustness.save(folder.robustness_file)
            advance(done, len(todo))


def _known(folder: TaskFolder) -> Robustness | None:
    """robustness.json, if it is whole and of the present weights."""
    if not folder.robustness_file.exists():
        return None
    try:
        return folder.robustness()
    except RunError:
        return None


def _holds(known: Robustness, wanted: Sequence[tuple[str, int]], images: int, made_from: str) -> bool:
    """All points that are wanted are there, from the same images or from more."""
    return all(known.has(*pair) for pair in wanted) and (
        known.made_from == made_from or known.images > images
    )
