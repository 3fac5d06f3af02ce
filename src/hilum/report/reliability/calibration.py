"""Calibration before and after scaling: sentence, diagrams, table."""

from hilum.artifacts.card import ScalingFacts
from hilum.artifacts.reliability import Reliability
from hilum.report.cells import Cell, number_cell
from hilum.report.figures import look
from hilum.report.reliability import plots
from hilum.report.reliability.panel import Panel
from hilum.report.results import Results
from hilum.report.stated import stated
from hilum.report.wording import LEVEL, number, percent

METHODS = {"none": "as trained", "temperature": "temperature", "vector": "scale and shift per class"}


def panel(task: Results, figures: Reliability) -> Panel:
    """Calibration error before and after, and whether chance explains what remains: a sentence, a reliability
    diagram per class, and a row per scaling with errors, Brier score and its parts, and log loss."""
    calibration = figures.calibration
    drawings = [
        plots.before_and_after(
            bins["none"],
            bins[calibration.used],
            look(name, task.classes),
            name,
            f"{task.task}-calibration-{name}",
        )
        for name, bins in calibration.diagrams.items()
    ]
    caption = (
        f"Groups of equal size by stated probability. Hollow: as trained. Filled: calibrated, with Wilson’s {LEVEL}"
        " interval, images taken as independent. Dotted: stated probability and observed share agree."
    )
    return Panel(_sentence(figures), drawings, caption, _rows(figures))


def _sentence(figures: Reliability) -> str:
    calibration = figures.calibration
    before, after = calibration.before, calibration.after
    chance = after.ece_of_chance
    verdict = (
        "Chance alone explains this error."
        if (after.ece.value or 0) <= chance.high
        else f"Chance alone explains at most {percent(chance.high)}: these probabilities are not calibrated."
    )
    return (
        f"The expected calibration error as trained is {stated(before.ece)}; a perfectly calibrated model would"
        f" show {percent(before.ece_of_chance.mean)} on as many images. After calibration"
        f" ({_fitted(calibration.fitted[calibration.used])}) it is {stated(after.ece)}. {verdict}"
    )


def _fitted(scaling: ScalingFacts) -> str:
    if scaling.temperature is not None:
        return f"temperature {number(scaling.temperature, 2)}"
    return "a scale and a shift per class"


def _rows(figures: Reliability) -> list[tuple[str, bool, list[Cell]]]:
    return [
        (
            METHODS[method],
            method == figures.calibration.used,
            [
                number_cell(block.ece),
                Cell(number(block.ece_of_chance.mean), small=f"up to {number(block.ece_of_chance.high)}"),
                *(
                    number_cell(part)
                    for part in (block.brier.score, block.brier.reliability, block.brier.resolution)
                ),
                number_cell(block.log_loss),
            ],
        )
        for method, block in figures.calibration.methods.items()
    ]
