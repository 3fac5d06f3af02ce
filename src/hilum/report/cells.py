"""Cells of tables: a figure with its counts and its interval."""

from dataclasses import dataclass

from hilum.artifacts.base import Figure
from hilum.report.stated import interval_text, value_text
from hilum.report.wording import NOTHING, metric, number


@dataclass(frozen=True)
class Cell:
    """`value` in the size of the table, `counts` beside it, `small` below it."""

    value: str
    counts: str = ""
    small: str = ""


EMPTY = Cell(NOTHING)


def cell(key: str, entry: Figure | None) -> Cell:
    """Value, counts and interval of a metric; the reason where it does not exist.

    >>> cell("accuracy", Figure(value=0.5, low=0.4, high=0.6, k=5, n=10)).small.replace("\\xa0", " ")
    '40.0 to 60.0 %'
    """
    if entry is None:
        return EMPTY
    if entry.value is None:
        return Cell("not defined", small=entry.reason or "")
    unit = metric(key).unit
    notes = [note for note in (interval_text(entry, unit), entry.note, entry.reason) if note]
    return Cell(value_text(entry, unit), entry.counts, "; ".join(notes))


def number_cell(entry: Figure | None, digits: int = 3) -> Cell:
    """A figure that is no share, with its interval.

    >>> number_cell(Figure(value=1.5, low=1.0, high=2.0), 1)
    Cell(value='1.5', counts='', small='1.0 to 2.0')
    """
    if entry is None:
        return EMPTY
    if entry.value is None:
        return Cell("not defined", small=entry.reason or "")
    low, high = (number(end, digits) for end in (entry.low, entry.high))
    ends = f"{low} to {high}" if (low, high) != (NOTHING, NOTHING) else entry.reason or ""
    return Cell(number(entry.value, digits), small=ends)


def share_cell(entry: Figure | None) -> Cell:
    """A share in per cent; below it counts and interval.

    >>> share_cell(Figure(value=0.5, low=0.4, high=0.6, k=5, n=10)).small.replace("\\xa0", " ")
    '5/10; 40.0 to 60.0 %'
    """
    if entry is None:
        return EMPTY
    if entry.value is None:
        return Cell("not defined", small=entry.reason or "")
    ends = interval_text(entry) or entry.reason
    return Cell(value_text(entry), small="; ".join(filter(None, (entry.counts, ends))))
