"""One figure more of a training: AUROC on held-out images in the look of the other label's devices."""

from functools import lru_cache

import numpy as np
import pandas as pd

from hilum.artifacts.base import Figure
from hilum.comparison.folds import HELD
from hilum.data.cases import Cases
from hilum.data.counterfactual.donors import donors
from hilum.data.counterfactual.image import PARTS
from hilum.data.counterfactual.sets import counterfactual_images, paths_of, were_squeezed
from hilum.data.images import Pixels
from hilum.data.tasks import Task
from hilum.evaluation.counterfactual.figures import check_healthy, counterfactual_auroc
from hilum.files import digest
from hilum.inference.forward import logits_of, softmax
from hilum.models import ChestModel
from hilum.progress import advancing


def held_out_auroc(model: ChestModel, cases: Cases, split: pd.Series, task: Task, images: int) -> Figure:
    """AUROC of normal against abnormal on at most `images` held-out images, donors from the training part, with its
    interval over patients.

    DataError for a task without a healthy class.
    """
    check_healthy(task.classes)
    part = cases.table["case_id"].map(split)
    rows = cases.table[part == HELD]
    order = np.argsort([digest("counterfactual images", case) for case in rows["case_id"]])
    rows = rows.iloc[order[:images]].sort_values("case_id", ignore_index=True)
    donor_of = donors(rows, cases.table[part == "train"])
    made = _made(tuple(paths_of(cases, donor_of)), model.pixels, were_squeezed(cases))
    abnormal = 1 - softmax(logits_of(model, made))[:, 0]
    return counterfactual_auroc(abnormal, rows["label"].tolist(), rows["patient"])


@lru_cache(maxsize=4)
def _made(paths: tuple[tuple[str, str], ...], pixels: Pixels, squeezed: bool) -> np.ndarray:
    """The images, kept for the other cells with the same fold and pixel contract."""
    with advancing("making counterfactual images") as advance:
        return counterfactual_images(paths, {"all": PARTS}, pixels, squeezed, advance)["all"]
