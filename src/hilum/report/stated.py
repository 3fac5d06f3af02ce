"""Figures of artifacts as the report states them: value, unit, counts, interval."""

from typing import Literal

from hilum.artifacts.base import Figure
from hilum.report.wording import LEVEL, number, percent, share_range

Unit = Literal["%", ""]


def value_text(figure: Figure | None, unit: Unit = "%") -> str:
    """The value alone; a dash where there is none.

    >>> value_text(Figure(value=0.5)).replace("\\xa0", " "), value_text(Figure(value=0.98765), "")
    ('50.0 %', '0.988')
    """
    value = figure.value if figure else None
    return percent(value) if unit == "%" else number(value)


def interval_text(figure: Figure | None, unit: Unit = "%") -> str:
    """The two ends of the 95 % interval; empty where there is none.

    >>> interval_text(Figure(value=0.5, low=0.41, high=0.592)).replace("\\xa0", " ")
    '41.0 to 59.2 %'
    """
    if figure is None or figure.low is None or figure.high is None:
        return ""
    if unit == "%":
        return share_range(figure.low, figure.high)
    return f"{number(figure.low)} to {number(figure.high)}"


def stated(figure: Figure | None, unit: Unit = "%") -> str:
    """Value, counts and interval, or the reason why there is none, as a sentence holds them.

    >>> stated(Figure(value=0.5, low=0.4, high=0.6, k=5, n=10)).replace("\\xa0", " ")
    '50.0 % (5/10; 95 % CI 40.0 to 60.0)'
    """
    if figure is None or figure.value is None:
        return value_text(figure, unit)
    parts = [figure.counts] if figure.counts else []
    if interval_text(figure, unit):
        parts.append(f"{LEVEL} CI {interval_text(figure, unit).removesuffix('%').rstrip()}")
    elif figure.reason:
        parts.append(figure.reason)
    return f"{value_text(figure, unit)} ({'; '.join(parts)})" if parts else value_text(figure, unit)


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign; a typographic minus.

    >>> signed(-0.25, 2), signed(3)
    ('−0.25', '+3.0')
    """
    return f"{value:+.{digits}f}".replace("-", "−")


def points_text(figure: Figure) -> str:
    """A difference of two shares in percentage points, with its interval.

    >>> points_text(Figure(value=0.1, low=-0.05, high=0.15)).replace("\\xa0", " ")
    '+10.0 points (95 % CI −5.0 to +15.0)'
    """
    text = f"{signed(100 * (figure.value or 0.0))} points"
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({LEVEL} CI {signed(100 * figure.low)} to {signed(100 * figure.high)})"
