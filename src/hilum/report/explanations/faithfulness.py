"""Faithfulness of the maps: the table of methods, phantom images with known lesions, and lungs."""

from dataclasses import dataclass

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import Faithfulness, Lungs, Truth
from hilum.report.cells import Cell
from hilum.report.explanations.verdicts import depends, matters, numbers_of, steady
from hilum.report.stated import stated
from hilum.report.wording import NOTHING, count, number, percent, plural

COLUMNS = (
    ("deletion", "Deletion", "area under the probability as the marked pixels are removed; low is good"),
    ("insertion", "Insertion", "the same while the marked pixels are added; high is good"),
    (
        "unexplained",
        "Unexplained changes",
        "share of the changes of evidence under covered squares that the map does not predict (infidelity,"
        " after the best scaling of the map), 0 to 1; low is good",
    ),
    (
        "randomised",
        "Random weights",
        "rank correlation with the map of a network with random weights; near 0 is good",
    ),
    ("noise", "Noise", "rank correlation with the map of the image with a little noise; near 1 is good"),
    ("shift", "Shift", "rank correlation with the map of the image shifted a little; near 1 is good"),
)
"""Keys of MapFigures, their headings, and what they mean."""

TRUTH = (
    ("pointing", "Pointing game", "share of images whose highest point lies in the lesion"),
    ("energy", "Energy inside", "share of the evidence for the class inside the lesion"),
    ("iou", "Overlap", "intersection over union of the lesion and the strongest area of its size"),
)


@dataclass(frozen=True)
class Heading:
    """Of a column, and what its figures mean."""

    title: str
    meaning: str


@dataclass(frozen=True)
class MethodRow:
    """One method; `baseline`: it knows nothing of the network."""

    title: str
    baseline: bool
    cells: list[Cell]


@dataclass(frozen=True)
class MethodTable:
    """Faithfulness of all methods."""

    columns: list[Heading]
    rows: list[MethodRow]
    images: str


@dataclass(frozen=True)
class TruthTable(MethodTable):
    """How well each method finds the lesions of phantoms; `missed`: which images are left out."""

    lead: str
    missed: str


@dataclass(frozen=True)
class AgreementRow:
    """One method against all."""

    title: str
    cells: list[Cell]


@dataclass(frozen=True)
class AgreementTable:
    """Rank correlations of the maps of each pair of methods."""

    names: list[str]
    rows: list[AgreementRow]


@dataclass(frozen=True)
class LungRow:
    """One method: the share of its map inside the lungs."""

    title: str
    baseline: bool
    share: Cell


@dataclass(frozen=True)
class LungTable:
    """`area`: share of the image that the lungs fill; `overlap`: of found and true lungs on phantoms."""

    rows: list[LungRow]
    area: str
    images: str
    overlap: str


def cell(figure: Figure | float | None, share: bool = False) -> Cell:
    """A number with its counts and interval, as a cell; `share` prints percentages.

    >>> cell(0.5).value, cell(Figure(value=0.25, low=0.2, high=0.3)).small
    ('0.50', '0.20 to 0.30')
    """
    block = figure if isinstance(figure, Figure) else Figure(value=figure)
    if block.value is None or block.value != block.value:
        return Cell(NOTHING)
    printed = percent(block.value) if share else number(block.value, 2)
    of = "" if block.k is None or block.n is None else f"{count(block.k)}/{count(block.n)}"
    low, high = block.low, block.high
    if low is None or high is None:
        return Cell(printed, of, block.reason or "")
    ends = f"{100 * low:.1f} to {percent(high)}" if share else _apart(low, high)
    return Cell(printed, of, ends)


def _apart(low: float, high: float) -> str:
    """Both ends with as many digits as tell them apart, up to six; nothing where that is not enough."""
    for digits in range(2, 7):
        first, last = number(low, digits), number(high, digits)
        if first != last:
            return f"{first} to {last}"
    return ""


def _head(columns: tuple[tuple[str, str, str], ...]) -> list[Heading]:
    return [Heading(title, meaning) for _, title, meaning in columns]


def line(known: Faithfulness | None, method: str) -> str:
    """One line beside a method's name, in words and with its numbers, of all images that were measured; empty where
    nothing was.

    >>> line(None, "grad_cam")
    ''
    """
    rows = {row.name: row for row in known.rows} if known else {}
    if method not in rows:
        return ""
    mean = rows[method]
    words = matters(mean.p_deletion, mean.p_insertion), depends(mean.randomised), steady(mean.noise)
    return f"{' '.join(words)} ({numbers_of(mean)})"


def table(known: Faithfulness | None) -> MethodTable | None:
    """The table of all methods, with random numbers and an edge detector as rows."""
    if known is None:
        return None
    rows = [
        MethodRow(row.title, row.kind == "baseline", [cell(getattr(row, key)) for key, _, _ in COLUMNS])
        for row in known.rows
    ]
    return MethodTable(_head(COLUMNS), rows, plural(known.images, "image"))


def agreement(known: Faithfulness | None) -> AgreementTable | None:
    """Rank correlations of the maps of each pair of methods, as a table."""
    if known is None:
        return None
    names, values = known.agreement.names, known.agreement.values
    rows = [
        AgreementRow(
            name,
            [Cell("1") if other == name else cell(value) for other, value in zip(names, line, strict=True)],
        )
        for name, line in zip(names, values, strict=True)
    ]
    return AgreementTable(names, rows)


def truth(known: Truth | None) -> TruthTable | None:
    """On phantom images: how well each method finds the lesion."""
    if known is None:
        return None
    rows = [
        MethodRow(
            row.title,
            row.kind == "baseline",
            [cell(getattr(row, key), share=key != "iou") for key, _, _ in TRUTH],
        )
        for row in known.rows
    ]
    best = next(row for row in known.rows if row.name == known.best)
    points = cell(best.pointing, share=True)
    lead = (
        f"The best result is that of {best.title}: its highest point lies in the lesion in {points.value} of"
        f" the images ({points.counts}; 95 % CI {points.small}). The lesions fill"
        f" {stated(known.lesion_area)} of an image, which is how often a map of random numbers would hit."
    )
    missed = (
        f"Abnormal images that the model classifies as normal are left out: {known.missed}."
        if known.missed
        else ""
    )
    return TruthTable(_head(TRUTH), rows, plural(known.images, "image"), lead, missed)


def lungs(known: Lungs | None) -> LungTable | None:
    """Which share of each map lies inside the lungs, beside the share of the image that they fill.

    >>> lungs(Lungs(images=2, area=Figure(value=0.25), overlap=Figure(value=0.96), rows=[])).overlap
    '0.960'
    """
    if known is None:
        return None
    rows = [LungRow(row.title, row.kind == "baseline", cell(row.share, share=True)) for row in known.rows]
    return LungTable(rows, stated(known.area), plural(known.images, "image"), stated(known.overlap, ""))
