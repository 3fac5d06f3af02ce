"""What one task of a run has found, read and checked once for the sections that speak of it."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from hilum.errors import RunError
from hilum.report.wording import LEVEL, figure, interval, of, plural, split_name
from hilum.run import Run


@dataclass(frozen=True)
class Results:
    """Card, figures, predictions and history of a task. `split` is the held-out part that is reported first:
    test where there is one, else val."""

    task: str
    card: dict[str, Any]
    metrics: dict[str, Any]
    predictions: pd.DataFrame
    history: pd.DataFrame
    division: dict[str, Any]
    split: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's classes, in its order."""
        return tuple(self.card["classes"])

    @property
    def block(self) -> dict[str, Any]:
        """The figures of the held-out split."""
        return self.metrics[self.split]

    @property
    def rows(self) -> pd.DataFrame:
        """The predictions of the held-out split."""
        return self.predictions[self.predictions["split"] == self.split]

    @property
    def size(self) -> str:
        """How much the held-out split holds: '624 images of 390 patients'."""
        return self.size_of(self.split)

    def size_of(self, split: str) -> str:
        """Images and patients of a split; a source that knows no patients makes each image its own patient, and
        then none are named."""
        rows = self.predictions[self.predictions["split"] == split]
        images = plural(self.metrics[split]["n_cases"], "image")
        if (rows["patient"] == rows["case_id"]).all():
            return images
        return f"{images} of {plural(self.metrics[split]['n_patients'], 'patient')}"

    @property
    def threshold(self) -> float | None:
        """The operating point of a binary model, a probability of the abnormal class."""
        return (self.card.get("threshold") or {}).get("value")

    @property
    def chosen_on_val(self) -> list[str]:
        """What the validation images decided."""
        threshold = self.card.get("threshold") or {}
        decided = threshold.get("chosen_on") == "val" and threshold.get("rule") != "half"
        return ["the epoch that was kept", *(["the threshold"] if decided else [])]


def results(run: Run, task: str) -> Results | None:
    """The task's results, or None when it was not trained and evaluated to the end.

    RunError when the figures were made with other weights than those that lie beside them.
    """
    folder = run.task(task)
    if not (folder.card_file.exists() and folder.metrics_file.exists() and folder.predictions_file.exists()):
        return None
    card, metrics = folder.card(), folder.metrics()
    for name, block in metrics.items():
        made_with = block.get("weights_digest", card.get("weights_digest"))
        if made_with != card.get("weights_digest"):
            raise RunError(
                f"{folder.metrics_file}, split {name!r}, was made with other weights than the model has",
                f"run: hilum evaluate {run.path}",
            )
    return Results(
        task,
        card,
        metrics,
        folder.predictions(),
        folder.history(),
        run.facts().get("split", {}).get(task, {}),
        next((name for name in ("test", "val") if name in metrics), next(iter(metrics))),
    )


def found(key: str, entry: dict[str, Any]) -> str:
    """A figure with its counts and interval, as a sentence holds it.

    >>> found("accuracy", {"value": 0.5, "low": 0.4, "high": 0.6, "k": 5, "n": 10}).replace("\\xa0", " ")
    '50.0 % (5/10; 95 % interval 40.0 to 60.0 %)'
    """
    inside = "; ".join(
        part
        for part in (
            of(entry),
            f"{LEVEL} interval {interval(key, entry)}" if entry.get("low") is not None else "",
        )
        if part
    )
    return f"{figure(key, entry)} ({inside})" if inside else figure(key, entry)


def headline(one: Results) -> str:
    """The one sentence that says what was found."""
    images = f"{one.size} held back for {split_name(one.split)}"
    accuracy = found("accuracy", one.block["accuracy"])
    if len(one.classes) == 2:
        abnormal, healthy = one.block.get("sensitivity"), one.block.get("specificity")
        rest = (
            f" It finds {figure('sensitivity', abnormal)} of the abnormal ({of(abnormal)}) and clears"
            f" {figure('specificity', healthy)} of the healthy ({of(healthy)})."
            if abnormal and healthy
            else ""
        )
        return f"Of {images}, the model names {accuracy} correctly.{rest}"
    return f"Of {images}, the model names {accuracy} correctly. {_commonest_mistake(one)}".strip()


def _commonest_mistake(one: Results) -> str:
    """The largest cell off the diagonal, as a sentence."""
    table = one.block.get("confusion")
    if not table:
        return ""
    cells = [
        (n, label, predicted)
        for row, label in zip(table, one.classes, strict=True)
        for n, predicted in zip(row, one.classes, strict=True)
        if label != predicted
    ]
    n, label, predicted = max(cells, key=lambda cell: cell[0])
    if not n:
        return "It makes no mistake there."
    total = sum(table[one.classes.index(label)])
    return (
        f"The commonest mistake: {label} predicted as {predicted} ({n} of {total} images labelled {label})."
    )
