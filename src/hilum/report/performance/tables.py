"""Tables of a task: confusion matrix, model card, all figures, figures by class."""

from dataclasses import dataclass

from hilum.artifacts.card import (
    IN_BOTH_LOOKS,
    IN_OTHER_LOOK,
    Architecture,
    OperatingPoint,
    PixelContract,
    TrainingData,
    TrainingFacts,
)
from hilum.artifacts.metrics import FIGURES
from hilum.report.cells import Cell, cell
from hilum.report.results import Results
from hilum.report.wording import count, duration, meaning, metric, number, percent, split_name


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
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics, SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> block = SplitMetrics.model_construct(confusion=[[9, 1], [2, 8]])
    >>> card = ModelCard.model_construct(classes=["normal", "virus"])
    >>> folder = TaskFolder(Path("binary"))
    >>> matrix = confusion(Results("binary", card, Metrics({"test": block}), *[pd.DataFrame()] * 2, None, "test",
    ...     folder))
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
    threshold = task.card.threshold
    if threshold is None:
        return "An image is classified as the most probable class."
    return (
        f"An image is classified as {threshold.positive} when its probability of {threshold.positive} is at"
        f" least {number(threshold.value)} ({_where_chosen(threshold)})."
    )


def _where_chosen(threshold: OperatingPoint) -> str:
    if threshold.rule == "half":
        return "rule: one half, without a choice"
    rule = "highest sensitivity + specificity" if threshold.rule == "youden" else threshold.rule
    if threshold.chosen_on == IN_BOTH_LOOKS:
        return (
            f"rule: {rule}, chosen on validation images, each as it is or in the look of the other label's devices,"
            " whichever is harder"
        )
    if threshold.chosen_on == IN_OTHER_LOOK:
        return f"rule: {rule}, chosen on validation images in the look of the other label's devices"
    return f"rule: {rule}, chosen on {split_name(threshold.chosen_on)} images"


def all_figures(task: Results) -> Table:
    """Every figure of every split: the held-out split first.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics, SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> figures = {**dict.fromkeys(FIGURES), "accuracy": Figure(value=0.9, k=9, n=10)}
    >>> block = SplitMetrics.model_construct(n_cases=10, **figures)
    >>> rows = pd.DataFrame({"case_id": ["a"], "patient": "a", "split": "test"})
    >>> card = ModelCard.model_construct(classes=["normal", "virus"])
    >>> task = Results("binary", card, Metrics({"test": block}), rows, rows, None, "test", TaskFolder(Path("binary")))
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
                meaning(key, task.classes),
            )
            for key in task.block.figures
        ],
    )


def per_class(task: Results) -> Table | None:
    """More than two classes: one row per class of the held-out split, and one for abnormal against normal.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.metrics import Metrics, SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> block = SplitMetrics.model_construct(per_class={"virus": {"auroc": Figure(value=0.9)}})
    >>> folder = TaskFolder(Path("multiclass"))
    >>> table = per_class(Results("multiclass", ModelCard.model_construct(), Metrics({"test": block}),
    ...     *[pd.DataFrame()] * 2, None, "test", folder))
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
    >>> from importlib.resources import files
    >>> from pathlib import Path
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> from hilum.folders import TaskFolder
    >>> packed = ModelCard.load(files("hilum") / "weights" / "binary" / "model.json")
    >>> rows = card(Results("binary", packed, Metrics({}), *[pd.DataFrame()] * 2, None, "test", TaskFolder(Path("a"))))
    >>> [name for name, _ in rows][:4]
    ['Network', 'Parameters', 'Pixels', 'Recipe']
    """
    card, threshold = task.card, task.card.threshold
    rows = [
        ("Network", _network(card.architecture)),
        ("Parameters", count(card.parameters)),
        ("Pixels", _pixels(card.pixels)),
        ("Recipe", card.recipe),
        *(_training(card.training, card.data) if card.training else []),
        (
            "Threshold",
            f"{threshold.positive} ≥ {number(threshold.value)}; {_where_chosen(threshold)}"
            if threshold
            else "",
        ),
        ("Weights", card.weights_digest),
        ("Intended use", card.intended_use),
    ]
    return [(name, value) for name, value in rows if value]


def _training(training: TrainingFacts, data: TrainingData | None) -> list[tuple[str, str]]:
    return [
        ("Trained on", _trained_on(training, data)),
        ("Seed", str(training.seed)),
        ("Epochs", _epochs(training)),
        ("Time", duration(training.seconds) if training.seconds is not None else ""),
        ("Device, precision", ", ".join(word for word in (training.device, training.precision) if word)),
    ]


def _network(architecture: Architecture) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in architecture.options.items())
    return " with ".join(words for words in (architecture.name, options) if words)


def _epochs(training: TrainingFacts) -> str:
    kept = f", kept the weights after epoch {training.best_epoch}" if training.best_epoch else ""
    best = training.best_metric
    if best:
        kept += f" (best {best.name}: {number(best.value)})"
    return f"{training.epochs}{kept}"


def _pixels(pixels: PixelContract) -> str:
    """The pixel contract in words."""
    rows, columns = pixels.size
    fit = {
        "squeeze": "resized to this size whatever the image's aspect ratio",
        "pad": "resized in its own aspect ratio, its reflection beside it",
        "lungs": "the part around the lungs, resized to this size",
    }[pixels.fit]
    frame = "; an even frame around the image is cut off first" if pixels.trim else ""
    return f"{rows} × {columns} (rows × columns), {fit}{frame}; {_scale(pixels)}"


def _scale(pixels: PixelContract) -> str:
    if pixels.standardize == "image":
        return "each image centred and scaled by its own mean and standard deviation"
    return (
        f"centred by {number(pixels.mean)} and scaled by {number(pixels.sd)}, mean and standard"
        " deviation of the training images (grey from 0 to 1)"
    )


def _trained_on(training: TrainingFacts, data: TrainingData | None) -> str:
    images = training.images
    if images is None:
        return ""
    patients = data.patients["train"] if data and "train" in data.patients else None
    of_patients = f" of {count(patients)} patients" if patients and patients != images else ""
    return f"{count(images)} images{of_patients}"
