"""Prediction sets: sentence, drawing, table."""

from hilum.artifacts.base import Figure
from hilum.artifacts.reliability import FittedSets, Reliability, SetKind
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.reliability import plots
from hilum.report.reliability.panel import Panel
from hilum.report.results import Results
from hilum.report.stated import stated
from hilum.report.wording import LEVEL, NOTHING, count, percent, share_range

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
    low, high = used.by_chance
    verdict = "agrees with"
    if coverage.value is not None and not low <= coverage.value <= high:
        verdict = "is below" if coverage.value < low else "is above"
    repeated = (
        f" Over {count(used.repeated.divisions)} divisions of the patients into halves the mean coverage is"
        f" {stated(used.repeated.coverage)}."
        if used.repeated
        else ""
    )
    return (
        f"Prediction sets hold the true class in {percent(coverage.value)} of images"
        f" ({coverage.counts}{_interval(coverage)}), which {verdict} the nominal"
        f" coverage of {percent(conformal.nominal, 0)}: given these numbers of patients and images, {LEVEL} of valid"
        f" sets measure {share_range(low, high)}.{repeated} The model abstains on {stated(used.figures.abstained)} of"
        " images: the set holds no class, all classes, or not the predicted class."
    )


def _interval(share: Figure) -> str:
    if share.low is None or share.high is None:
        return ""
    return f"; {LEVEL} CI {share_range(share.low, share.high)}"


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
    of_mean = share_cell(sets.repeated.coverage)
    return Cell(of_mean.value, small=f"{of_mean.small}; {spread}")
