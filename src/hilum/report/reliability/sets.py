"""Prediction sets: sentence, drawing, table."""

from hilum.artifacts.reliability import FittedSets, Reliability, SetKind
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.reliability import plots
from hilum.report.reliability.panel import Panel, share_words
from hilum.report.results import Results
from hilum.report.wording import LEVEL, NOTHING, count, of, percent, share_range

KINDS: dict[SetKind, str] = {"class_conditional": "by class", "marginal": "one for all classes"}


def panel(task: Results, figures: Reliability) -> Panel:
    """Coverage of both kinds of sets: a sentence, a drawing, and a row per kind with coverage (all images and by
    class), mean size, accuracy of single classes and share abstained."""
    conformal = figures.conformal
    used = conformal.in_use
    caption = (
        f"Quantiles from {count(used.n_fitted)} images, measured on {count(used.n_measured)} of other patients."
        f" Lines: exact binomial {LEVEL} intervals, images taken as independent. Filled: one quantile by class;"
        f" hollow: one for all classes. Dotted: nominal coverage, {percent(conformal.nominal, 0)}."
    )
    return Panel(
        _sentence(figures),
        [plots.coverages(conformal, task.classes, f"{task.task}-sets")],
        caption,
        [
            (words, kind == conformal.used, _cells(conformal.kind(kind), task.classes))
            for kind, words in KINDS.items()
        ],
    )


def _sentence(figures: Reliability) -> str:
    conformal = figures.conformal
    used = conformal.in_use
    coverage = used.figures.coverage
    low, high = coverage.binomial
    agrees = "agrees with" if low <= conformal.nominal <= high else "differs from"
    repeated = (
        f" Over {count(used.repeated.divisions)} divisions of the patients into halves the mean coverage is"
        f" {percent(used.repeated.coverage)}."
        if used.repeated
        else ""
    )
    return (
        f"Prediction sets hold the true class in {percent(coverage.value)} of images ({of(coverage)}; exact binomial"
        f" interval {share_range(low, high)}), which {agrees} the nominal coverage of"
        f" {percent(conformal.nominal, 0)}.{repeated} The model abstains on {share_words(used.figures.abstained)} of"
        " images: the set holds no class, all classes, or not the predicted class."
    )


def _cells(sets: FittedSets, classes: tuple[str, ...]) -> list[Cell]:
    figures = sets.figures
    return [
        share_cell(figures.coverage),
        *(share_cell(figures.per_class[name]) for name in classes),
        number_cell(figures.mean_size, 2),
        share_cell(figures.correct_if_single),
        share_cell(figures.abstained),
        _repeated(sets),
    ]


def _repeated(sets: FittedSets) -> Cell:
    if sets.repeated is None:
        return Cell(NOTHING, small="judged on test images")
    spread = f"± {percent(sets.repeated.coverage_sd)} over {count(sets.repeated.divisions)} divisions"
    return Cell(percent(sets.repeated.coverage), small=spread)
