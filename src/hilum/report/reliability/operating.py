"""Operating points and the decision curve: sentences, tables, drawing."""

from dataclasses import dataclass

from hilum.artifacts.reliability import OperatingPoint, Reliability
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.reliability import plots
from hilum.report.reliability.panel import Panel
from hilum.report.results import Results
from hilum.report.stated import stated
from hilum.report.wording import LEVEL, number, percent

RULES = {"youden": "highest sensitivity + specificity", "half": "one half"}


@dataclass(frozen=True)
class Row:
    """One rule for one class. `cells`: sensitivity to LR−, empty where there is a `reason`; `predictive`: PPV and
    NPV at each prevalence."""

    class_name: str
    aim: str
    reason: str
    threshold: str
    cells: list[Cell]
    predictive: list[Cell]


@dataclass(frozen=True)
class Table:
    """`prevalences`: those of the predictive values."""

    sentence: str
    prevalences: list[str]
    rows: list[Row]


def table(figures: Reliability) -> Table:
    """A row per class and rule.

    >>> point = OperatingPoint(class_name="virus", rule="sensitivity>=0.95", in_use=False, reason="Never reached.")
    >>> figures = Reliability.model_construct(operating=[point], prevalences=[0.1], judged_on="test")
    >>> row = table(figures).rows[0]
    >>> row.class_name, row.aim.replace("\\xa0", " "), row.reason
    ('virus', 'sensitivity 95 % or more', 'Never reached.')
    """
    rows = [_row(point, figures.judged_on) for point in figures.operating]
    return Table(_sentence(figures.operating), [percent(share, 0) for share in figures.prevalences], rows)


def _row(point: OperatingPoint, judged_on: str) -> Row:
    decisions = point.decisions
    if decisions is None:
        return Row(point.class_name, _aim(point, judged_on), point.reason or "", "", [], [])
    return Row(
        point.class_name,
        _aim(point, judged_on),
        "",
        number(point.threshold),
        [
            *(
                share_cell(share)
                for share in (decisions.sensitivity, decisions.specificity, decisions.precision)
            ),
            *(number_cell(ratio, 2) for ratio in (decisions.lr_positive, decisions.lr_negative)),
        ],
        [share_cell(share) for values in decisions.at_prevalence for share in (values.ppv, values.npv)],
    )


def _aim(point: OperatingPoint, judged_on: str) -> str:
    figure, _, share = point.rule.partition(">=")
    looks = " in both looks" if point.both_looks else ""
    chosen_here = ", chosen on these images" if point.both_looks and judged_on == "val" else ""
    if share:
        in_use = f"; in use{chosen_here}" if point.in_use else ""
        return f"{figure} {percent(float(share), 0)} or more{looks}{in_use}"
    return f"in use ({RULES.get(point.rule, point.rule)}{looks}{chosen_here})"


def _sentence(points: list[OperatingPoint]) -> str:
    """The first required sensitivity that has figures, of the first class."""
    rules = (each for each in points if each.rule.startswith("sensitivity") and not each.both_looks)
    point = next((each for each in rules if each.decisions), None)
    if point is None or point.decisions is None:
        return ""
    required = percent(float(point.rule.split(">=")[1]), 0)
    return (
        f"With a threshold for a sensitivity of {required} for {point.class_name}, the sensitivity is"
        f" {stated(point.decisions.sensitivity)} and the specificity"
        f" {stated(point.decisions.specificity)} on images that did not choose the threshold."
    )


def decision_panel(task: Results, figures: Reliability) -> Panel | None:
    """Net benefit over thresholds; None where no class is normal.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.reliability import DecisionCurve
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> from hilum.artifacts.metrics import Metrics
    >>> curve = DecisionCurve(at=[0.2, 0.5, 0.8], model=[0.4, 0.3, 0.1], low=[0.3, 0.2, 0], high=[0.5, 0.4, 0.2],
    ...     treat_all=[0.4, 0, -1.5], gain=[0, 0.3, 0.1], gain_low=[-0.1, 0.2, 0.05], gain_high=[0.1, 0.4, 0.2],
    ...     shown=[False, True, True], share_abnormal=0.5)
    >>> figures = Reliability.model_construct(decision_curve=curve)
    >>> task = Results("binary", ModelCard.model_construct(), Metrics({}), *[pd.DataFrame()] * 2, None, "test",
    ...     TaskFolder(Path("binary")))
    >>> decision_panel(task, figures).sentence.partition(" the ")[0]
    'For thresholds between 0.50 and 0.80'
    """
    curve = figures.decision_curve
    if curve is None:
        return None
    better = longest([at if shown else None for at, shown in zip(curve.at, curve.shown, strict=True)])
    where = (
        f"For thresholds between {number(better[0], 2)} and {number(better[-1], 2)}"
        if better
        else "At no threshold"
    )
    sentence = (
        f"{where} the net benefit of treating by the model is higher than that of treating everybody and of treating"
        f" nobody ({LEVEL} band over patients that holds for all thresholds together)."
    )
    caption = (
        "At a threshold of 0.2, one missed abnormal patient weighs as much as four normal ones treated. Band:"
        f" {LEVEL} interval over patients. {percent(curve.share_abnormal, 0)} of these images are abnormal; with a"
        " lower prevalence the curves lie lower. Calibrated probabilities."
    )
    return Panel(sentence, [plots.net_benefits(curve, f"{task.task}-net-benefit")], caption, [])


def longest(values: list[float | None]) -> list[float]:
    """The longest run without a gap.

    >>> longest([0.1, None, 0.3, 0.4, None])
    [0.3, 0.4]
    """
    best: list[float] = []
    run: list[float] = []
    for value in values:
        run = [] if value is None else [*run, value]
        best = run if len(run) > len(best) else best
    return best
