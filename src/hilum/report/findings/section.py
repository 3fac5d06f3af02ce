"""Findings: a model that states several findings per image, a row and a curve per finding."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.card import FindingRule, ModelCard
from hilum.artifacts.curves import ClassCurves
from hilum.artifacts.findings import FindingFigures, FindingsBlock, FindingsMetrics
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.cells import Cell, cell
from hilum.report.figures import look
from hilum.report.performance import plots
from hilum.report.section import Section
from hilum.report.stated import stated
from hilum.report.wording import count, number, plural, sentence, split_name
from hilum.run import Run

NAME, TITLE = "findings", "Findings"


@dataclass(frozen=True)
class Row:
    """One finding: counts of the images that state it, and its figures in the order of COLUMNS."""

    name: str
    counts: str
    threshold: str
    cells: list[Cell]


COLUMNS = {
    "auroc": "AUROC",
    "average_precision": "Average precision",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "precision": "Precision",
    "npv": "Negative predictive value",
    "brier_before": "Brier score as trained",
    "brier": "Brier score, calibrated",
}
"""The figures of a row and their headings."""


def make(run: Run) -> Section | None:
    """The section; why there is none where the task was trained and not evaluated; None where no finding is stated.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    folder = run.task(NAME)
    if NAME not in run.tasks:
        return None
    if not folder.findings_file.exists():
        return absent(run, stage="evaluate", anchor=NAME, title=TITLE)
    metrics, card = folder.findings(), folder.card()
    rules = {rule.name: rule for rule in card.findings or []}
    history = folder.history()
    best = card.training.best_epoch if card.training else None
    values = {
        "lead": headline(metrics),
        "columns": list(COLUMNS.values()),
        "tables": [_table(metrics, split, rules) for split in _splits(metrics)],
        "curves": [_roc(metrics, curves) for curves in metrics.curves],
        "caption": _caption(metrics),
        "precision_recall": [_precision_recall(metrics, curves) for curves in metrics.curves],
        "reliability": [_reliability(metrics, curves) for curves in metrics.curves if curves.bins],
        "split": split_name(metrics.reported),
        "training": [
            plots.training_curve(history, "loss", best, "findings-loss"),
            plots.learning_rate_curve(history, best, "findings-rate"),
        ],
        "card": _card(card),
        "absent": [sentence(reason) for reason in _reasons(run)],
        "commands": [commands.evaluate(run), commands.report(run)],
    }
    return Section(NAME, TITLE, "findings/template.html", values)


def headline(metrics: FindingsMetrics) -> str:
    """The means over findings, and the findings with the lowest and the highest AUROC, of the reported split.

    >>> from hilum.artifacts.base import Figure
    >>> area = Figure(value=0.9, low=0.85, high=0.95)
    >>> block = FindingsBlock.model_construct(n_cases=20, n_patients=15, findings=[], averaged=["Edema"],
    ...     mean={"auroc": area, "average_precision": area})
    >>> headline(FindingsMetrics.model_construct(splits={"test": block}))
    'Mean AUROC 0.900 ... of 15...patients.'
    """
    block = metrics.splits[metrics.reported]
    where = f"{plural(block.n_cases, f'{split_name(metrics.reported)} image')} of {plural(block.n_patients, 'patient')}"
    words = (
        f"Mean AUROC {stated(block.mean['auroc'], '')} and mean average precision"
        f" {stated(block.mean['average_precision'], '')} over {plural(len(block.averaged), 'finding')} on {where}."
    )
    ranked = sorted(
        (each for each in block.findings if each.name in block.averaged),
        key=lambda each: each.auroc.value or 0.0,
    )
    if len(ranked) < 2:
        return words
    low, high = ranked[0], ranked[-1]
    return f"{words} Lowest AUROC: {low.name}, {stated(low.auroc, '')}. Highest: {high.name}, {stated(high.auroc, '')}."


def _splits(metrics: FindingsMetrics) -> list[str]:
    """The reported split first."""
    others = [
        name for name in ("test", "val", "train") if name in metrics.splits and name != metrics.reported
    ]
    return [metrics.reported, *others]


def _table(metrics: FindingsMetrics, split: str, rules: dict[str, FindingRule]) -> dict[str, object]:
    block = metrics.splits[split]
    return {
        "title": f"{split_name(split).capitalize()}: {plural(block.n_cases, 'image')}",
        "rows": [_row(each, rules.get(each.name)) for each in block.findings],
        "mean": _mean(block),
        "averaged": count(len(block.averaged)),
        "chosen": split == "val",
    }


def _row(figures: FindingFigures, rule: FindingRule | None) -> Row:
    sides = {"present": figures.n_present, "absent": figures.n_absent, "not stated": figures.n_not_stated}
    return Row(
        figures.name,
        ", ".join(f"{count(n)} {side}" for side, n in sides.items()),
        f"{number(rule.threshold)}{'' if rule.chosen_on == 'val' else ', not chosen'}" if rule else "",
        [cell(key.removesuffix("_before"), getattr(figures, key)) for key in COLUMNS],
    )


def _mean(block: FindingsBlock) -> list[Cell]:
    """Of the figures that have a mean; empty cells for the others."""
    return [cell(key, block.mean[key]) if key in block.mean else Cell("") for key in COLUMNS]


def _roc(metrics: FindingsMetrics, curves: ClassCurves) -> Markup:
    figures = next(each for each in metrics.splits[metrics.reported].findings if each.name == curves.name)
    return plots.roc(
        curves.roc,
        look(curves.name, metrics.classes),
        curves.name,
        number(figures.auroc.value),
        (curves.false_positive_rate, curves.sensitivity),
        f"findings-roc-{curves.name}",
    )


def _precision_recall(metrics: FindingsMetrics, curves: ClassCurves) -> Markup:
    figures = next(each for each in metrics.splits[metrics.reported].findings if each.name == curves.name)
    return plots.precision_recall(
        curves.precision_recall,
        look(curves.name, metrics.classes),
        curves.name,
        number(figures.average_precision.value),
        curves.share,
        None if curves.precision.value is None else (curves.sensitivity, curves.precision),
        f"findings-pr-{curves.name}",
    )


def _reliability(metrics: FindingsMetrics, curves: ClassCurves) -> Markup:
    return plots.reliability_diagram(
        curves.bins,
        look(curves.name, metrics.classes),
        curves.name,
        f"findings-reliability-{curves.name}",
    )


def _caption(metrics: FindingsMetrics) -> str:
    return (
        f"{split_name(metrics.reported).capitalize()} images that state the finding as present or absent. Bands: 95 %,"
        " point by point, from bootstrap samples over patients. The marker is the threshold in use. Dotted: guessing."
    )


def _card(card: ModelCard) -> list[tuple[str, str]]:
    rows, columns = card.pixels.size
    training = card.training
    facts = [
        ("Network", card.architecture.name),
        ("Parameters", count(card.parameters)),
        ("Pixels", f"{rows} × {columns} (rows × columns)"),
        ("Recipe", card.recipe),
        ("Seed", str(training.seed) if training else ""),
        (
            "Epochs",
            f"{training.epochs}, kept the weights after epoch {training.best_epoch}" if training else "",
        ),
        (
            "Calibrated findings",
            ", ".join(rule.name for rule in card.findings or [] if rule.calibrated) or "none",
        ),
        ("Weights", card.weights_digest),
        ("Intended use", card.intended_use),
    ]
    return [(name, value) for name, value in facts if value]


def _reasons(run: Run) -> list[str]:
    """Why stages left nothing for this task."""
    return [
        record.reason
        for label, record in run.stage_records().items()
        if label.endswith(f" {NAME}") and record.reason
    ]
