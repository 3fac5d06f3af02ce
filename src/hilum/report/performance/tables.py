"""Tables of a task: confusion matrix, model card, all figures, figures by class."""

from dataclasses import dataclass
from typing import Any

from hilum.artifacts.metrics import FIGURES
from hilum.report.cells import Cell, cell
from hilum.report.results import Results
from hilum.report.wording import count, duration, metric, number, percent, split_name


@dataclass(frozen=True)
class Count:
    """One cell of the confusion matrix; `shade`: its share of the row, 0 to 1."""

    count: str
    share: str
    shade: float
    is_correct: bool


@dataclass(frozen=True)
class Matrix:
    """Rows by label: (label, number of images, cells); `rule`: how a probability becomes a prediction."""

    classes: tuple[str, ...]
    rows: list[tuple[str, str, list[Count]]]
    rule: str


@dataclass(frozen=True)
class Table:
    """`rows`: name, cells, and a remark."""

    columns: list[str]
    rows: list[tuple[str, list[Cell | None], str]]


def confusion(task: Results) -> Matrix:
    """Counts and row shares; the shade of a cell is its row share.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.metrics import SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> block = SplitMetrics.model_construct(confusion=[[9, 1], [2, 8]])
    >>> card, folder = {"classes": ["normal", "virus"]}, TaskFolder(Path("binary"))
    >>> matrix = confusion(Results("binary", card, {"test": block}, *[pd.DataFrame()] * 2, {}, "test", folder))
    >>> [[cell.count for cell in cells] for _, _, cells in matrix.rows], matrix.rule
    ([['9', '1'], ['2', '8']], 'An image is classified as the most probable class.')
    """
    rows = []
    for label, counts in zip(task.classes, task.block.confusion, strict=True):
        total = sum(counts)
        cells = [
            Count(
                count(n),
                percent(n / total if total else None, 1),
                round(n / total, 3) if total else 0.0,
                label == predicted,
            )
            for n, predicted in zip(counts, task.classes, strict=True)
        ]
        rows.append((label, count(total), cells))
    return Matrix(task.classes, rows, _rule(task))


def _rule(task: Results) -> str:
    """How a probability becomes a prediction."""
    threshold = task.card.get("threshold")
    if threshold:
        return (
            f"An image is classified as {threshold['class']} when its probability of {threshold['class']} is at"
            f" least {number(threshold['value'])} ({_where_chosen(threshold)})."
        )
    return "An image is classified as the most probable class."


def _where_chosen(threshold: dict[str, Any]) -> str:
    rules = {"youden": "highest sensitivity + specificity", "half": "one half, without a choice"}
    rule = rules.get(threshold.get("rule", ""), threshold.get("rule", ""))
    if threshold.get("rule") == "half":
        return f"rule: {rule}"
    return f"rule: {rule}, chosen on {split_name(threshold.get('chosen_on', ''))} images"


def all_figures(task: Results) -> Table:
    """Every figure of every split: the held-out split first.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.metrics import SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> figures = {**dict.fromkeys(FIGURES), "accuracy": Figure(value=0.9, k=9, n=10)}
    >>> block = SplitMetrics.model_construct(n_cases=10, **figures)
    >>> rows, card = pd.DataFrame({"case_id": ["a"], "patient": "a", "split": "test"}), {"classes": ["normal", "virus"]}
    >>> task = Results("binary", card, {"test": block}, rows, rows, {}, "test", TaskFolder(Path("binary")))
    >>> all_figures(task).columns, all_figures(task).rows[0][1][0].counts
    (['Test: 10\\xa0images'], '9/10')
    """
    splits = [
        task.split,
        *(name for name in ("test", "val", "train") if name in task.metrics and name != task.split),
    ]
    return Table(
        [f"{split_name(split).capitalize()}: {task.size_of(split)}" for split in splits],
        [
            (
                metric(key).name,
                [cell(key, getattr(task.metrics[split], key)) for split in splits],
                _meaning(key, task),
            )
            for key in task.block.figures
        ],
    )


def _meaning(key: str, task: Results) -> str:
    words = metric(key)
    return words.more or words.meaning if len(task.classes) > 2 else words.meaning


def per_class(task: Results) -> Table | None:
    """More than two classes: one row per class of the held-out split, and one for abnormal against normal.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.metrics import SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> block = SplitMetrics.model_construct(per_class={"virus": {"auroc": Figure(value=0.9)}})
    >>> folder = TaskFolder(Path("multiclass"))
    >>> table = per_class(Results("multiclass", {}, {"test": block}, *[pd.DataFrame()] * 2, {}, "test", folder))
    >>> table.columns, [(name, cells[0].value) for name, cells, _ in table.rows]
    (['AUROC'], [('virus against the rest', '0.900')])
    """
    if not task.block.per_class:
        return None
    blocks = {f"{name} against the rest": entries for name, entries in task.block.per_class.items()}
    if task.block.normal_vs_abnormal:
        blocks["abnormal against normal"] = task.block.normal_vs_abnormal
    keys = [key for key in FIGURES if any(key in entries for entries in blocks.values())]
    return Table(
        [metric(key).name for key in keys],
        [
            (name, [cell(key, entries[key]) if key in entries else None for key in keys], "")
            for name, entries in blocks.items()
        ],
    )


# -- model card --------------------------------------------------------------------------------------------


def card(task: Results) -> list[tuple[str, str]]:
    """The model card as rows of a table; what it does not hold is left out.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.folders import TaskFolder
    >>> made = {"parameters": 1234, "training": {"seed": 0, "epochs": 3, "best_epoch": 2}}
    >>> card(Results("binary", made, {}, *[pd.DataFrame()] * 2, {}, "test", TaskFolder(Path("binary"))))
    [('Parameters', '1,234'), ('Seed', '0'), ('Epochs', '3, kept the weights after epoch 2')]
    """
    card, training = task.card, task.card.get("training", {})
    threshold = card.get("threshold")
    rows = [
        ("Network", _network(card.get("architecture", {}))),
        ("Parameters", count(card.get("parameters"))),
        ("Pixels", _pixels(card.get("pixels") or {})),
        ("Recipe", card.get("recipe") if isinstance(card.get("recipe"), str) else ""),
        ("Trained on", _trained_on(card, training)),
        ("Seed", str(training.get("seed", ""))),
        ("Epochs", _epochs(training)),
        ("Time", duration(training["seconds"]) if training.get("seconds") is not None else ""),
        (
            "Device, precision",
            ", ".join(str(training[key]) for key in ("device", "precision") if training.get(key)),
        ),
        (
            "Threshold",
            f"{threshold['class']} ≥ {number(threshold['value'])}; {_where_chosen(threshold)}"
            if threshold
            else "",
        ),
        ("Weights", card.get("weights_digest", "")),
        ("Intended use", card.get("intended_use", "")),
    ]
    return [(name, value) for name, value in rows if value]


def _network(architecture: dict[str, Any]) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in (architecture.get("options") or {}).items())
    return " with ".join(words for words in (architecture.get("name", ""), options) if words)


def _epochs(training: dict[str, Any]) -> str:
    kept = f", kept the weights after epoch {training['best_epoch']}" if training.get("best_epoch") else ""
    best = training.get("best_metric") or {}
    if best.get("value") is not None:
        kept += f" (best {best['name']}: {number(best['value'])})"
    return f"{training.get('epochs', '')}{kept}"


def _pixels(pixels: dict[str, Any]) -> str:
    """The pixel contract in words."""
    if not pixels:
        return ""
    rows, columns = pixels["size"]
    fit = {
        "squeeze": "resized to this size whatever the image's aspect ratio",
        "pad": "resized in its own aspect ratio, its reflection beside it",
        "lungs": "the part around the lungs, resized to this size",
    }.get(pixels.get("fit", ""), pixels.get("fit", ""))
    clip = pixels.get("clahe")
    levelled = f"; contrast equalised by tile (CLAHE, clip limit {clip:g})" if clip else ""
    frame = "; an even frame around the image is cut off first" if pixels.get("trim", True) else ""
    return f"{rows} × {columns} (rows × columns), {fit}{levelled}{frame}; {_scale(pixels)}"


def _scale(pixels: dict[str, Any]) -> str:
    if pixels.get("standardize") == "image":
        return "each image centred and scaled by its own mean and standard deviation"
    return (
        f"centred by {number(pixels.get('mean'))} and scaled by {number(pixels.get('sd'))}, mean and standard"
        " deviation of the training images (grey from 0 to 1)"
    )


def _trained_on(card: dict[str, Any], training: dict[str, Any]) -> str:
    images = training.get("images")
    if images is None:
        return ""
    patients = training.get("patients") or (card.get("data", {}).get("patients") or {}).get("train")
    of_patients = f" of {count(patients)} patients" if patients and patients != images else ""
    return f"{count(images)} images{of_patients}"
