"""Selective prediction: risk against coverage of each confidence score."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.reliability import Reliability, SelectiveFigures
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.reliability import plots
from hilum.report.results import Results
from hilum.report.stated import stated
from hilum.report.wording import LEVEL, SPACE, count, listing, number, percent

ALPHA = 0.05
"""The p-value from which chance explains a difference."""

SCORES = {
    "probability": "probability of the predicted class",
    "margin": "margin to the second class",
    "entropy": "entropy of the probabilities",
    "ensemble": "mean over models of several runs",
    "mc_dropout": "mean over passes with dropout",
    "views": "mean over several views of the image",
    "anomaly": "anomaly score",
}


@dataclass(frozen=True)
class SelectivePanel:
    """`rows`: name, number of images, cells; `coverages`: of the last columns; `lowest`: the lowest possible
    area; `error`: the share of errors."""

    sentence: str
    drawings: list[Markup]
    caption: str
    coverages: list[str]
    rows: list[tuple[str, str, list[Cell]]]
    lowest: str
    error: str


def panel(task: Results, figures: Reliability) -> SelectivePanel:
    """Errors among the images answered: a sentence, a drawing per set of images, and a row per confidence score
    with its area under the risk-coverage curve and the risk at each coverage."""
    first = figures.selective["probability"]
    return SelectivePanel(
        sentence=_sentence(figures.selective, first),
        drawings=plots.risks(figures.selective, f"{task.task}-risk"),
        caption=(
            f"The prediction is the most probable class. Band: {LEVEL} interval over patients for the probability. A"
            " line that rises to the right means that errors are among the less confident predictions. Scores that"
            " exist for some of the images only have a panel of their own, with the probability on the same images."
        ),
        coverages=[percent(point.coverage, 0) for point in first.risk_at],
        rows=[
            (SCORES.get(name, name), count(block.n_cases), _cells(block))
            for name, block in figures.selective.items()
        ],
        lowest=number(first.lowest_aurc, 4),
        error=percent(first.error.value),
    )


def _cells(block: SelectiveFigures) -> list[Cell]:
    areas = [number_cell(figure, 4) for figure in (block.aurc, block.aurc_difference)]
    return [*areas, *(share_cell(point.risk) for point in block.risk_at)]


def _sentence(scores: dict[str, SelectiveFigures], first: SelectiveFigures) -> str:
    better = [
        SCORES.get(name, name)
        for name, block in scores.items()
        if block.aurc_difference
        and (block.aurc_difference.value or 0) < 0
        and block.p_holm is not None
        and block.p_holm < ALPHA
    ]
    comparison = ""
    if better:
        comparison = f" Better than the probability: {listing(better)}."
    elif len(scores) > 1:
        comparison = " No other score is better than the probability beyond chance."
    at_80 = next(point for point in first.risk_at if point.coverage == 0.8)
    change = (at_80.risk.value or 0) - (first.error.value or 0)
    verb = "rises" if change > 0 else "falls"
    return (
        f"If the 20{SPACE}% least confident predictions are left to a person, the share of errors among the others"
        f" {verb} from {stated(first.error)} to {stated(at_80.risk)}.{comparison}"
    )
