"""Accuracy, ranking and calibration of a trained task when pixels of held-out images are missing or corrupted.

Each corruption of robustness.py at each severity gives one point; severity 0 are the same images as they are.
The threshold stays the one that was chosen on whole images: a user would not choose another. Points are
written one by one, so a stage that is stopped goes on, and a later call adds points to an earlier one's.

The images of all points are the same, so a point's `change` of accuracy is paired: its interval is that of the
difference, case by case, and much narrower than the intervals of both accuracies suggest.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.robustness import CORRUPTIONS, corrupt
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.errors import DataError, RecipeError, RunError, nearest
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.intervals import bootstrap, percentile_interval
from hilum.files import digest, write_json
from hilum.inference.forward import BATCH, softmax
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.robustness.config import MissingConfig
from hilum.run import TaskFolder

FORMAT = 1
BINS = 10
FIGURES = ("accuracy", "auroc")


def missing_pixels(
    folder: TaskFolder, cases: Cases, split: pd.Series, task: Task, config: MissingConfig, force: bool = False
) -> dict[str, Any]:
    """Writes missing.json of a task and gives it back: see docs/missing.md for its keys.

    Measured on test where there is one, else on val, on at most `choice.images` of them. What was measured
    before with the same weights, images and choices is not measured again (with `again` it is); a file that
    holds all that is asked for, from as many images or more, stays as it is. RecipeError names an unknown
    corruption; DataError when no image is held out.
    """
    names = check_corruptions(config)
    card = folder.card()
    table, part = held_out(cases, split, task, config)
    threshold = (card.get("threshold") or {}).get("value")
    made_from = digest(
        card["weights_digest"],
        str(threshold),
        cases.digest,
        *table["case_id"],
        str(config.replicates),
        str(config.seed),
    )
    wanted = [(name, severity) for name in names for severity in config.severities]
    known = None if force else _known(folder, card["weights_digest"])
    if known and _holds(known, wanted, len(table), made_from):
        return known
    facts = known if known and known["made_from"] == made_from else None
    if facts is None:
        facts = {
            "format": FORMAT,
            "made_from": made_from,
            "weights_digest": card["weights_digest"],
            "split": part,
            "images": len(table),
            "of_images": int((split == part).sum()),
            "patients": int(table["patient"].nunique()),
            "classes": list(task.classes),
            "replicates": config.replicates,
            "seed": config.seed,
            "plain": None,
            "corruptions": {},
        }
    model = folder.load_model()
    used = used_cases(cases, split)
    cache = ImageCache.of(used, model.pixels)
    rows = cache.rows(table["case_id"].tolist())
    images = np.stack([cache.images[row] for row in rows])
    measure = _Measure(model, images, table, task, threshold, config)
    facts["plain"] = measure.plain
    todo = [pair for pair in wanted if str(pair[1]) not in facts["corruptions"].get(pair[0], {})]
    with advancing(f"{folder.name}: missing pixels") as advance:
        for done, (name, severity) in enumerate(todo, start=1):
            facts["corruptions"].setdefault(name, {})[str(severity)] = measure(name, severity)
            write_json(folder.missing_file, facts)
            advance(done, len(todo))
    write_json(folder.missing_file, facts)
    return facts


def check_corruptions(config: MissingConfig) -> list[str]:
    """The names asked for; all of them where none is named. RecipeError for one that does not exist."""
    for name in config.corruptions or ():
        if name not in CORRUPTIONS:
            raise RecipeError(f"missing.corruptions: {name!r} is not known", nearest(name, list(CORRUPTIONS)))
    return list(config.corruptions or CORRUPTIONS)


def held_out(cases: Cases, split: pd.Series, task: Task, config: MissingConfig) -> tuple[pd.DataFrame, str]:
    """case_id, patient and target of the images that measure, and the split they are from.

    At most `choice.images`, drawn by digest of seed and case, each class in proportion and with one image at
    least.
    """
    parts = split.reindex(cases.table["case_id"]).to_numpy()
    part = next((name for name in ("test", "val") if (parts == name).any()), None)
    if part is None:
        raise DataError("no image is held out in val or test", "choose a split with a val part")
    table = cases.table.loc[parts == part, ["case_id", "patient", "label"]].reset_index(drop=True)
    table["target"] = table["label"].map(dict(task.class_of))
    if config.images is None or len(table) <= config.images:
        return table, part
    order = table["case_id"].map(lambda case: digest("missing", str(config.seed), str(case)))
    ordered = table.iloc[np.argsort(order.to_numpy())]
    share = config.images / len(table)
    chosen = [rows.head(max(1, int(share * len(rows)))) for _, rows in ordered.groupby("target")]
    return pd.concat(chosen).sort_values("case_id", ignore_index=True), part


def confidence_error(
    probabilities: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, bins: int = BINS
) -> np.ndarray:
    """Expected calibration error of the likeliest class (Guo et al. 2017), bins of equal mass, "replicates".

    sum over bins of n_b / n |mean highest probability - share of them that are right|, 0 (best) to 1.
    `probabilities`: "cases classes"; `target`: class indices "cases"; `weights`: "replicates cases", None:
    every case once. The bins are those of the cases themselves in every replicate.

    >>> confidence_error(np.array([[0.9, 0.1], [0.9, 0.1]]), np.array([0, 1]), bins=1).round(6).tolist()
    [0.4]
    """
    stated = probabilities.max(1)
    gap = stated - (probabilities.argmax(1) == target)
    member = np.zeros((len(stated), bins))
    order = np.argsort(stated, kind="stable")
    for column, rows in enumerate(np.array_split(order, bins)):
        member[rows, column] = 1
    counts = np.ones((1, len(stated))) if weights is None else weights
    return np.abs(counts @ (member * gap[:, None])).sum(1) / counts.sum(1)


class _Measure:
    """One point: the images corrupted, predicted and scored. `plain`: the figures of the images as they are."""

    def __init__(
        self,
        model: ChestModel,
        images: np.ndarray,
        table: pd.DataFrame,
        task: Task,
        threshold: float | None,
        config: MissingConfig,
    ) -> None:
        self.model, self.images, self.table = model, images, table
        self.classes, self.threshold, self.config = task.classes, threshold, config
        probabilities = softmax(logits_of_images(model, images))
        self.right = self._right(probabilities)
        self.plain = self._figures(probabilities)

    def __call__(self, name: str, severity: int) -> dict[str, Any]:
        corrupted = [
            corrupt(image, name, severity, self.config.seed, case)
            for image, case in zip(self.images, self.table["case_id"], strict=True)
        ]
        probabilities = softmax(logits_of_images(self.model, np.stack(corrupted)))
        lost = self._right(probabilities) - self.right
        return {**self._figures(probabilities), "change": self._interval(lost)}

    def _right(self, probabilities: np.ndarray) -> np.ndarray:
        predicted = predicted_classes(probabilities, self.classes, self.threshold)
        return (predicted == self.table["target"].to_numpy()).astype(np.float64)

    def _figures(self, probabilities: np.ndarray) -> dict[str, Any]:
        config = self.config
        return figures_of(
            probabilities, self.table, self.classes, self.threshold, config.replicates, config.seed
        )

    def _interval(self, values: np.ndarray) -> dict[str, float]:
        """The mean over the cases with its interval over patients."""
        entry = {"value": float(values.mean())}
        if self.config.replicates:
            drawn, _ = bootstrap(
                lambda weights: {"mean": weights @ values / weights.sum(1)},
                self.table["patient"].to_numpy(),
                self.table["target"].to_numpy(),
                self.config.replicates,
                self.config.seed,
            )
            entry["low"], entry["high"] = percentile_interval(drawn["mean"])
        return entry


def logits_of_images(model: ChestModel, images: np.ndarray) -> np.ndarray:
    """float64 logits "images classes" of prepared images, uint8 "images rows cols", on the best device."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device)
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            x = torch.from_numpy(model.pixels.normalize(images[start : start + BATCH]))[:, None].to(device)
            x = x.contiguous(memory_format=torch.channels_last)
            parts.append(model(x).double().cpu().numpy())
    model.to("cpu")
    return np.concatenate(parts)


def figures_of(
    probabilities: np.ndarray,
    table: pd.DataFrame,
    classes: Sequence[str],
    threshold: float | None,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """{"accuracy", "auroc", "ece"}, each with its 95 % interval over patients; accuracy with k and n."""
    rows = table[["case_id", "patient", "target"]].copy()
    for column, name in enumerate(classes):
        rows[f"prob_{name}"] = probabilities[:, column]
    block = evaluate(rows, classes, threshold, replicates=replicates, seed=seed)
    target = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    error: dict[str, Any] = {"value": float(confidence_error(probabilities, target)[0])}
    if replicates:
        drawn, _ = bootstrap(
            lambda weights: {"ece": confidence_error(probabilities, target, weights)},
            table["patient"].to_numpy(),
            target,
            replicates,
            seed,
        )
        error["low"], error["high"] = percentile_interval(drawn["ece"])
    return {**{name: block[name] for name in FIGURES}, "ece": error}


def _known(folder: TaskFolder, weights_digest: str) -> dict[str, Any] | None:
    """missing.json, if it is whole and of the present weights."""
    if not folder.missing_file.exists():
        return None
    try:
        return folder.missing()
    except RunError:
        return None


def _holds(known: dict[str, Any], wanted: Sequence[tuple[str, int]], images: int, made_from: str) -> bool:
    """All points asked for are there, from the same images or from more."""
    there = all(str(severity) in known["corruptions"].get(name, {}) for name, severity in wanted)
    return there and (known["made_from"] == made_from or known["images"] > images)
