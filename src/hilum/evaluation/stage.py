"""The evaluation stage of a run: logits of every case, the operating point from val, figures per split."""

from typing import Any

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import SPLITS, Cases
from hilum.data.facts import facts_table
from hilum.data.split import used_cases
from hilum.data.tasks import Task
from hilum.errors import RunError
from hilum.evaluation.decision import choose_threshold
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.shift import shift_figures
from hilum.evaluation.subgroups import subgroups
from hilum.files import write_json, write_table
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.run import TaskFolder

BATCH = 64


def predict_images(
    model: ChestModel, cache: ImageCache, rows: np.ndarray, what: str = "predicting"
) -> np.ndarray:
    """float64 logits "cases classes" of cached images, in fp32 on the best device at hand."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts = []
    with torch.inference_mode(), advancing(what) as advance:
        for start in range(0, len(rows), BATCH):
            images = model.pixels.normalize(np.asarray(cache.images[rows[start : start + BATCH]]))
            x = torch.from_numpy(images)[:, None].to(device, memory_format=torch.channels_last)
            parts.append(model(x).double().cpu().numpy())
            advance(min(start + BATCH, len(rows)), len(rows))
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return np.concatenate(parts) if parts else np.zeros((0, len(model.classes)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities "cases classes" of logits "cases classes".

    >>> softmax(np.array([[0.0, 0.0]])).tolist()
    [[0.5, 0.5]]
    """
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def predictions_table(
    logits: np.ndarray, cases: Cases, split: pd.Series, task: Task, threshold: float | None
) -> pd.DataFrame:
    """The rows of predictions.csv, in the order of `cases` (see run.TaskFolder.predictions)."""
    probabilities = softmax(logits)
    table = cases.table[["case_id", "patient"]].copy()
    table["split"] = split.loc[table["case_id"]].to_numpy()
    table["label"] = cases.table["label"]
    table["target"] = cases.table["label"].map(dict(task.class_of))
    table["predicted"] = predicted_classes(probabilities, task.classes, threshold)
    for column, name in enumerate(task.classes):
        table[f"logit_{name}"] = logits[:, column]
    for column, name in enumerate(task.classes):
        table[f"prob_{name}"] = probabilities[:, column]
    return table


def evaluate_task(
    folder: TaskFolder,
    cases: Cases,
    split: pd.Series,
    task: Task,
    rule: str,
    replicates: int,
    seed: int,
    logits: np.ndarray | None = None,
) -> dict[str, Any]:
    """Writes predictions.csv, the threshold in model.json, and metrics.json; gives the metrics back.

    `logits`: those of the cases in train, val and test, in their order, where a pass was made already.
    `rule` chooses the threshold of a binary task on val, and on val only. Without a val split the
    threshold is 0.5 and the card says so.
    """
    used = used_cases(cases, split)
    if logits is None:
        model = folder.load_model()
        cache = ImageCache.of(used, model.pixels)
        rows = cache.rows(used.table["case_id"].tolist())
        logits = predict_images(model, cache, rows, f"{folder.name}: predicting")
    table = predictions_table(logits, used, split, task, None)
    threshold = _threshold(table, task, rule)
    value = threshold["value"] if threshold else None
    table["predicted"] = predicted_classes(softmax(logits), task.classes, value)
    card = {**folder.card(), "threshold": threshold}
    write_table(folder.predictions_file, table)
    metrics = metrics_of(table, task.classes, value, card["weights_digest"], replicates, seed)
    with advancing(f"{folder.name}: what each image gives away without a lung") as advance:
        facts = facts_table(cases, advance)
    _add_subgroups(metrics, table, cases, facts, task, value, replicates, seed)
    for part in ("val", "test"):
        if part in metrics:
            metrics[part]["shift"] = shift_figures(table, part, facts, replicates, seed)
    write_json(folder.card_file, card)
    write_json(folder.metrics_file, metrics)
    return metrics


def metrics_of(
    table: pd.DataFrame,
    classes: tuple[str, ...],
    threshold: float | None,
    digest: str,
    replicates: int,
    seed: int,
) -> dict[str, Any]:
    """metrics.json: a block of `evaluate` per split that has cases, with the digest of the weights."""
    metrics = {}
    for name in SPLITS:
        rows = table[table["split"] == name]
        if len(rows):
            block = evaluate(rows, classes, threshold, replicates=replicates, seed=seed)
            metrics[name] = {**block, "weights_digest": digest}
    return metrics


def _add_subgroups(
    metrics: dict[str, Any],
    table: pd.DataFrame,
    cases: Cases,
    facts: pd.DataFrame,
    task: Task,
    threshold: float | None,
    replicates: int,
    seed: int,
) -> None:
    """Figures by subgroup of the held-out splits, from what the audit has measured on each image."""
    images = {str(name): int(count) for name, count in cases.table["patient"].value_counts().items()}
    for name in ("val", "test"):
        if name in metrics:
            rows = table[table["split"] == name]
            metrics[name]["subgroups"] = subgroups(
                rows, facts, images, task.classes, threshold, replicates, seed
            )


def _threshold(table: pd.DataFrame, task: Task, rule: str) -> dict[str, Any] | None:
    if len(task.classes) != 2:
        return None
    abnormal = task.classes[1]
    val = table[table["split"] == "val"]
    if val.empty:
        return {"class": abnormal, "value": 0.5, "chosen_on": "nothing", "rule": "half"}
    value = choose_threshold(val[f"prob_{abnormal}"].to_numpy(), (val["target"] == abnormal).to_numpy(), rule)
    return {"class": abnormal, "value": float(value), "chosen_on": "val", "rule": rule}


def check_same_weights(folder: TaskFolder) -> None:
    """RunError when metrics.json was made with other weights than those that lie beside it now."""
    made_with = {block.get("weights_digest") for block in folder.metrics().values()}
    if made_with != {folder.card()["weights_digest"]}:
        raise RunError(
            f"{folder.metrics_file} was made with other weights than {folder.model_folder} holds",
            f"run: hilum evaluate {folder.path.parent}",
        )
