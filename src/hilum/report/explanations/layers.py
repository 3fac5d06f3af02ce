"""What layers and filters are worth: ablation, linear probes, concepts."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import Ablation, Concepts, ConceptScore, FilterCost, Probes
from hilum.report.cells import Cell
from hilum.report.explanations.plots import probe_curve
from hilum.report.wording import LEVEL, NOTHING, SPACE, count, digits, percent, plural

FILTERS = 10
"""Rows of the table of filters."""


@dataclass(frozen=True)
class FilterRow:
    """What setting one filter to its mean costs; `cells`: by class."""

    filter: str
    loss: Cell
    cells: list[Cell]


@dataclass(frozen=True)
class AblationTable:
    """The filters without which the loss rises most."""

    classes: Sequence[str]
    layer: str
    rows: list[FilterRow]
    images: str
    of: str
    lead: str


@dataclass(frozen=True)
class ProbeView:
    """Linear probes by layer."""

    drawing: Markup
    lead: str
    note: str


@dataclass(frozen=True)
class ConceptRow:
    """One concept; `cells`: by class."""

    title: str
    accuracy: str
    cells: list[str]


@dataclass(frozen=True)
class ConceptTable:
    """How often moving towards a concept raises a class."""

    classes: Sequence[str]
    rows: list[ConceptRow]
    note: str


def ablation(known: Ablation | None, classes: Sequence[str]) -> AblationTable | None:
    """The filters without which the loss rises most."""
    if known is None or not known.rows:
        return None
    rows = known.rows[:FILTERS]
    first = rows[0]
    hit = min(classes, key=lambda name: _change(first, name).value or 0.0)
    return AblationTable(
        classes=classes,
        layer=known.layer,
        rows=[
            FilterRow(str(row.filter), change(row.loss), [change(_change(row, name)) for name in classes])
            for row in rows
        ],
        images=plural(known.images, "image"),
        of=count(known.of),
        lead=(
            f"Filter {first.filter} matters most: without it the loss changes by {change_words(first.loss)} nats per"
            f" image, and the probability of the true class falls most for images labelled {hit}. Without the"
            f" whole layer the loss changes by {change_words(known.whole.loss)}. The costs of single filters do not"
            " add up to that, because filters replace each other. The filters were ranked on these very images, so the"
            " costs of the first ones are too large."
        ),
    )


def _change(row: FilterCost, name: str) -> Figure:
    return row.classes.get(name, Figure(value=None))


def change(figure: Figure) -> Cell:
    """A change with its sign and its interval, or the reason why it has none.

    >>> change(Figure(value=0.0123, low=-0.001, high=0.02))
    Cell(value='+0.0123', counts='', small='−0.001 to +0.02')
    """
    if figure.low is None or figure.high is None:
        return Cell(signed(figure.value), small=figure.reason or "")
    return Cell(signed(figure.value), small=f"{signed(figure.low)} to {signed(figure.high)}")


def change_words(figure: Figure) -> str:
    """A change as a sentence holds it.

    >>> change_words(Figure(value=0.0123, low=-0.001, high=0.02)).replace("\\xa0", " ")
    '+0.0123 (95 % CI −0.001 to +0.02)'
    """
    cell = change(figure)
    if figure.low is None or not cell.small:
        return cell.value
    return f"{cell.value} ({LEVEL} CI {cell.small})"


def signed(value: float | None) -> str:
    """A change with its sign.

    >>> signed(0.0123), signed(-0.5)
    ('+0.0123', '−0.5')
    """
    if value is None or value != value:
        return NOTHING
    return f"+{digits(value)}" if value > 0 else digits(value)


def probes(known: Probes | None, task: str) -> ProbeView | None:
    """How well a linear classifier on each layer tells the classes apart."""
    if known is None or not known.rows:
        return None
    first, best = known.rows[0], max(known.rows, key=lambda row: row.accuracy.value or 0.0)
    return ProbeView(
        drawing=probe_curve(known.rows, known.head, f"probes-{task}"),
        lead=(
            f"A linear probe on layer “{best.layer}” classifies {percent(best.accuracy.value)} of the images"
            f" correctly ({best.accuracy.counts}); on the first layer it is {percent(first.accuracy.value)}"
            f" ({first.accuracy.counts})."
        ),
        note=(
            f"Fitted on {plural(known.fitted, 'training image')}, measured on"
            f" {plural(known.measured, 'held-out image')} of other patients; lines are {LEVEL} intervals"
            " over patients. A good probe shows that the class can be read from a layer, not that the network"
            " reads it there."
        ),
    )


def concepts(known: Concepts | None, classes: Sequence[str]) -> ConceptTable | None:
    """How often moving towards a concept raises a class."""
    if known is None:
        return None
    return ConceptTable(
        classes=classes,
        rows=[
            ConceptRow(
                row.title,
                accuracy_words(row.accuracy),
                [concept(row.classes.get(name)) for name in classes],
            )
            for row in known.rows
        ],
        note=(
            f"Layer “{known.layer}”, {plural(known.images, 'phantom image')}. Told apart: balanced accuracy"
            f" of a linear classifier on held-out patients; 50{SPACE}% is guessing. Raises a class: share of"
            " its images whose evidence rises when the layer’s maps move towards the concept; a star where"
            " this differs from directions of shuffled labels (rank-sum test and cosine with the gradient,"
            f" Bonferroni) and the concept can be told apart. In brackets {LEVEL} intervals over patients, the"
            " network given. A concept includes whatever goes along with it in these images."
        ),
    )


def concept(score: ConceptScore | None) -> str:
    """A share with its interval, and a star where it is no chance.

    >>> score = ConceptScore(value=1.0, low=0.94, high=1.0, p=0.001, matters=True)
    >>> concept(score).replace("\\xa0", " "), concept(None)
    ('100 % * (94 to 100)', '–')
    """
    if score is None:
        return NOTHING
    return percent(score.value, 0) + (f"{SPACE}*" if score.matters else "") + _ends(score)


def accuracy_words(figure: Figure) -> str:
    """A share with its interval in whole per cent.

    >>> accuracy_words(Figure(value=0.5, low=0.4, high=0.6)).replace("\\xa0", " ")
    '50 % (40 to 60)'
    """
    return percent(figure.value, 0) + _ends(figure)


def _ends(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f" ({100 * figure.low:.0f} to {100 * figure.high:.0f})"
