"""What the parts of the section share."""

from dataclasses import dataclass

from markupsafe import Markup

from hilum.report.cells import Cell


@dataclass(frozen=True)
class Panel:
    """A sentence, drawings with their caption, and the rows of a table: name, whether it is in use, cells."""

    sentence: str
    drawings: list[Markup]
    caption: str
    rows: list[tuple[str, bool, list[Cell]]]
