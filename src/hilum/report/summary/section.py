"""Summary: five sentences and one table for a reader who has five minutes."""

from dataclasses import dataclass

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.report.beside import published
from hilum.report.detectors import summary as anomaly_sentence
from hilum.report.results import Results, results
from hilum.report.section import Section
from hilum.report.titles import TITLES
from hilum.report.wording import LEVEL, NOTHING, listing, number, percent, plural, split_name
from hilum.run import Run


@dataclass(frozen=True)
class Row:
    """One task on one held-out split, as the table prints it; `choices`: what these images decided."""

    task: str
    anchor: str
    images: str
    choices: str
    accuracy: Figure
    auroc: Figure
    published: str


def make(run: Run) -> Section | None:
    """Sentences and table; None before anything was trained."""
    trained = [result for task in TITLES if (result := results(run, task)) is not None]
    if not trained:
        return None
    rows = [_row(result, split) for result in trained for split in ("test", "val") if split in result.metrics]
    values = {
        "sentences": _sentences(run, trained),
        "rows": rows,
        "level": LEVEL,
        "value_of": value_of,
        "interval_of": interval_of,
    }
    return Section("summary", "Summary", "summary/template.html", values)


def in_words(figure: Figure, unit: str = "") -> str:
    """A figure with its counts and interval; `unit` "%" prints a share as a percentage.

    >>> in_words(Figure(value=0.987, low=0.973, high=0.997, k=304, n=308), "%").replace("\\xa0", " ")
    '98.7 % (304/308; 95 % CI 97.3 to 99.7)'
    >>> in_words(Figure(value=None))
    '–'
    """
    interval = f"{LEVEL} CI {words}" if (words := interval_of(figure, unit)) else ""
    inside = "; ".join(part for part in (figure.counts, interval) if part)
    return f"{value_of(figure, unit)} ({inside})" if inside else value_of(figure, unit)


def value_of(figure: Figure, unit: str = "") -> str:
    """The value alone.

    >>> value_of(Figure(value=0.9876)), value_of(Figure(value=None))
    ('0.988', '–')
    """
    if figure.value is None:
        return NOTHING
    return percent(figure.value) if unit == "%" else number(figure.value)


def interval_of(figure: Figure, unit: str = "") -> str:
    """The two ends of the interval; empty without one.

    >>> interval_of(Figure(value=0.9876, low=0.97, high=0.99))
    '0.970 to 0.990'
    """
    if figure.value is None or figure.low is None or figure.high is None:
        return ""
    scale, digits = (100, 1) if unit == "%" else (1, 3)
    return f"{number(scale * figure.low, digits)} to {number(scale * figure.high, digits)}"


def _row(result: Results, split: str) -> Row:
    images = plural(result.metrics[split]["n_cases"], "image")
    return Row(
        task=TITLES[result.task],
        anchor=result.task,
        images=f"{split_name(split)}, {images}",
        choices="used for no choice"
        if split == "test"
        else f"used to choose {listing(result.chosen_on_val)}",
        accuracy=_figure(result, split, "accuracy"),
        auroc=_figure(result, split, "auroc"),
        published=published(result, split),
    )


def _figure(result: Results, split: str, name: str) -> Figure:
    """A figure of metrics.json; without a value where it does not exist."""
    entry = result.metrics[split].get(name) or {"value": None}
    return Figure(**{key: entry.get(key) for key in ("value", "low", "high", "k", "n")})


def _sentences(run: Run, trained: list[Results]) -> list[str]:
    """What was found per task, how independent it is, what shortcuts alone reach, and anomaly detection."""
    return [
        *(f"{TITLES[result.task]}: {_headline(result)}" for result in trained),
        _independence(trained),
        *_shortcuts(run),
        *([words] if (words := anomaly_sentence(run)) else []),
    ]


def _headline(result: Results) -> str:
    """Accuracy with sensitivity and specificity, or with the most frequent error."""
    accuracy = in_words(_figure(result, result.split, "accuracy"), "%")
    first = f"accuracy {accuracy} on {split_name(result.split)} images ({result.size})."
    return f"{first} {_two_classes(result) if len(result.classes) == 2 else _most_frequent_error(result)}".strip()


def _two_classes(result: Results) -> str:
    sensitivity, specificity = (_figure(result, result.split, key) for key in ("sensitivity", "specificity"))
    if sensitivity.value is None or specificity.value is None:
        return ""
    return (
        f"Sensitivity {percent(sensitivity.value)} ({sensitivity.counts}), specificity"
        f" {percent(specificity.value)} ({specificity.counts})."
    )


def _most_frequent_error(result: Results) -> str:
    """The largest cell off the diagonal of the confusion matrix."""
    table = result.block["confusion"]
    cells = [
        (n, label, predicted)
        for row, label in zip(table, result.classes, strict=True)
        for n, predicted in zip(row, result.classes, strict=True)
        if label != predicted
    ]
    n, label, predicted = max(cells, key=lambda cell: cell[0])
    if not n:
        return "There is no error."
    total = sum(table[result.classes.index(label)])
    return f"Most frequent error: {label} classified as {predicted} ({n} of {plural(total, 'image')})."


def _independence(trained: list[Results]) -> str:
    """Whether the figures come from images that took no part in any choice, and of other patients."""
    on_val = [result for result in trained if result.split == "val"]
    leaky = [f"“{TITLES[result.task]}”" for result in trained if result.division.get("leaky")]
    if on_val:
        chosen = listing(list(dict.fromkeys(part for result in on_val for part in result.chosen_on_val)))
        words = (
            f"These are validation figures: the same images were used to choose {chosen}, so the figures are"
            " slightly too high; the data holds no test images."
        )
    else:
        words = "The test images took no part in any choice: weights, epoch and threshold were fixed without them."
    if leaky:
        words += (
            f" The split of {listing(leaky)} leaks: the same patients or images are in training and in"
            " evaluation, so the figures are too high."
        )
    return words


def _shortcuts(run: Run) -> list[str]:
    """What all shortcuts together reach."""
    if not run.audit_file.exists():
        return []
    joint = Audit.load(run.audit_file).joint
    parts = [
        f"{together.positive} from {together.negative} with AUROC {_area(together.auroc)}"
        for task, together in joint.items()
        if task in run.tasks
    ]
    if not parts:
        return []
    return [
        f"Simple numbers about file and picture, without the lungs, separate {listing(parts)}; a model has to"
        " exceed this."
    ]


def _area(auroc: Figure) -> str:
    interval = (
        f" ({LEVEL} CI {number(auroc.low, 2)} to {number(auroc.high, 2)})" if auroc.low is not None else ""
    )
    return f"{number(auroc.value, 2)}{interval}"
