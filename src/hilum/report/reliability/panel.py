"""What the parts of the section share."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.report.cells import Cell
from hilum.report.wording import percent, share_range


@dataclass(frozen=True)
class Panel:
    """A sentence, drawings with their caption, and the rows of a table: name, whether it is in use, cells."""

    sentence: str
    drawings: list[Markup]
    caption: str
    rows: list[tuple[str, bool, list[Cell]]]


def share_words(figure: Figure) -> str:
    """A share with its interval, for a sentence.

    >>> share_words(Figure(value=0.062, low=0.045, high=0.079)).replace("\\xa0", " ")
    '6.2 % (95 % CI 4.5 to 7.9 %)'
    """
    if figure.value is None or figure.low is None or figure.high is None:
        return percent(figure.value)
    return f"{percent(figure.value)} (95\u00a0% CI {share_range(figure.low, figure.high)})"
