"""The anomaly stage's figures, read and checked in one place for the sections that use them."""

import pandas as pd

from hilum.artifacts.anomaly import AnomalyFigures, Measured
from hilum.artifacts.base import Figure
from hilum.errors import RunError
from hilum.report import commands
from hilum.report.wording import NOTHING, SPACE, number, percent, plural
from hilum.run import Run

TITLE = "Anomaly detection"
ENSEMBLE = "ensemble"

PARTS = {"test": "test images", "measure": "held-out validation images"}
"""The images that figures are measured on, those to quote first."""


def figures_of(run: Run) -> AnomalyFigures:
    """figures.json; RunError when a detector was fitted again since."""
    figures = run.anomaly.figures()
    for row, detector in figures.detectors.items():
        known = detector.weights_digest
        if known is not None and run.anomaly.detector(row).card().weights_digest != known:
            raise RunError(
                f"{run.anomaly.figures_file} was made with another {row} than the run holds",
                f"run: {commands.stage(run, 'anomaly')}",
            )
    return figures


def quoted_part(figures: AnomalyFigures) -> str:
    """The images to quote first: test where there are any, else the held-out validation images."""
    best = figures.detectors[figures.best]
    return next((part for part in PARTS if part in best.parts), "measure")


def summary(run: Run) -> str:
    """The result in one or two sentences, for the summary; empty where there is no leaderboard."""
    if not run.anomaly.figures_file.exists():
        return ""
    figures = figures_of(run)
    part = quoted_part(figures)
    measured = figures.detectors[figures.best].on(part)
    return "" if measured is None else f"{TITLE}: {ranking(figures.best, part, measured)}"


def ranking(row: str, part: str, measured: Measured) -> str:
    """How well a detector ranks: on all images, and on the shortcut-matched pairs."""
    images = f"{measured.n_healthy} healthy and {measured.n_abnormal} abnormal {PARTS[part]}"
    plain = (
        f"{row_name(row)} reaches AUROC {area(measured.auroc)} on {images}, fitted on healthy images alone."
    )
    matched = measured.matched
    if matched is None or matched.value is None:
        return plain
    pairs = plural(matched.pairs, "shortcut-matched pair")
    return f"{plain} On {pairs} of a healthy and an abnormal image, AUROC is {area(matched)}."


def anomaly_scores(run: Run) -> pd.Series | None:
    """case_id -> 1 minus the conformal p-value by the best detector, 0..1; None where there is no leaderboard.

    Ranks among healthy images, because a few extreme raw scores would take most of a colour scale."""
    if not run.anomaly.figures_file.exists():
        return None
    best = figures_of(run).best
    table = run.anomaly.scores().set_index("case_id")
    return 1 - table[f"{best}_p"]


# -- words ---------------------------------------------------------------------------------------------------


def row_name(row: str) -> str:
    """A row of the leaderboard in words.

    >>> row_name("patch_memory@random"), row_name("ensemble")
    ('patch memory (random)', 'the ensemble')
    """
    if row == ENSEMBLE:
        return "the ensemble"
    name, _, variant = row.partition("@")
    words = name.rpartition(".")[2].replace("_", " ")
    return f"{words} ({variant.replace('_', ' ')})" if variant else words


def area(figure: Figure) -> str:
    """An area under a curve with its interval.

    >>> area(Figure(value=0.98765, low=0.97, high=1.0))
    '0.988 (95\\xa0% CI 0.970 to 1.000)'
    """
    interval = area_interval(figure)
    return number(figure.value) + (f" (95{SPACE}% CI {interval})" if interval else "")


def area_interval(figure: Figure) -> str:
    """The interval of an area; empty without one."""
    return "" if figure.low is None else f"{number(figure.low)} to {number(figure.high)}"


def share(figure: Figure) -> str:
    """A share with its counts and interval.

    >>> share(Figure(value=0.5, low=0.1, high=0.9, k=1, n=2)).replace(SPACE, " ")
    '50.0 % (1/2; 95 % CI 10.0 to 90.0)'
    """
    if figure.value is None:
        return NOTHING
    interval = share_interval(figure).removesuffix(f"{SPACE}%")
    more = [figure.counts, f"95{SPACE}% CI {interval}" if interval else ""]
    return f"{percent(figure.value)} ({'; '.join(filter(None, more))})"


def share_interval(figure: Figure) -> str:
    """The interval of a share in percent; empty without one."""
    return "" if figure.low is None else f"{100 * figure.low:.1f} to {percent(figure.high)}"
