"""The published baseline next to this run's figures: test with test, validation with validation."""

from dataclasses import dataclass

from hilum.artifacts.base import Figure
from hilum.artifacts.published import Baseline
from hilum.report.cells import EMPTY, Cell, cell
from hilum.report.results import Results
from hilum.report.stated import points_text, stated, value_text
from hilum.report.wording import metric, plural, split_name


@dataclass(frozen=True)
class Comparison:
    """A sentence, and a row per published figure that can be compared."""

    sentence: str
    rows: list["Row"]


@dataclass(frozen=True)
class Row:
    """`theirs` with a `remark`, and `ours`; either may be empty."""

    name: str
    images: str
    theirs: Cell
    remark: str
    ours: Cell


def published(task: Results, split: str) -> str:
    """The published accuracy on this task and split, for one cell of a table: "83.5 % (521/624)", "none published",
    or "real images: not comparable" for a run on synthetic images; "" where no baseline fits the data.
    """
    if task.baseline is None:
        return ""
    if not task.baseline.comparable:
        return "real images: not comparable"
    row = task.baseline.accuracy_on(split)
    if row is None:
        return "none published"
    counts = f" ({row.figure.counts})" if row.figure.counts else ", on other images"
    return f"{value_text(row.figure)}{counts}"


def comparison(task: Results) -> Comparison | None:
    """The published baseline of a task and this run's figures: a row per published figure, such as accuracy on test,
    521/624, with this run's figure beside it, "–" where the run has none. For a run on synthetic images, a
    sentence that they are not comparable, and no rows. None where no baseline fits labels and data.
    """
    baseline = task.baseline
    if baseline is None:
        return None
    if not baseline.comparable:
        return Comparison(
            "The published baseline was measured on real radiographs, this run on synthetic images: they are not"
            " comparable.",
            [],
        )
    return Comparison(_sentence(task, baseline), _rows(task, baseline))


def _rows(task: Results, baseline: Baseline) -> list[Row]:
    return [
        Row(
            name=f"Sensitivity for {row.class_name}" if row.class_name else metric(row.key).name,
            images=split_name(row.split),
            theirs=cell(row.key, row.figure),
            remark=row.remark,
            ours=_ours(task, row.split, row.key, row.class_name),
        )
        for row in baseline.figures
    ]


def _ours(task: Results, split: str, key: str, class_name: str) -> Cell:
    if split not in task.metrics:
        return EMPTY
    block = task.metrics[split]
    return cell(key, block.of_class(class_name, key) if class_name else getattr(block, key))


def _sentence(task: Results, baseline: Baseline) -> str:
    """What was measured on what, and whether the two figures may be compared."""
    accuracy = stated(baseline.accuracy)
    given = (
        f"The seed report’s three-class network has an accuracy of {accuracy} on the official test images."
        if baseline.own_figures
        else "The seed report has no figure for its binary network. Its three-class network, with both abnormal"
        f" classes taken as one, has an accuracy of {accuracy} on the official test images."
    )
    if "test" not in task.metrics:
        return f"{given} This run has no test images, and a validation figure is not comparable with a test figure."
    ours = task.metrics["test"]
    if ours.n_cases != baseline.n_test:
        images = plural(ours.n_cases, "test image")
        return f"{given} This run was measured on {images} of another set, so a difference may come from the images."
    given = f"{given} This run’s model has an accuracy of {stated(ours.accuracy)} on as many."
    difference = unpaired_difference(ours.accuracy, baseline.accuracy)
    if difference.low is None:
        return given
    return (
        f"{given} The difference is {points_text(difference)}. The report’s single predictions are not known, so the"
        " two figures are taken as independent; on the same images the true interval is narrower."
    )


def unpaired_difference(ours: Figure, theirs: Figure) -> Figure:
    """The difference of two shares with an interval from the intervals of both, taken as independent ("square and
    add": Newcombe, Statistics in Medicine 17:873, 1998, method 10). No interval where one of them has none.

    >>> first = Figure(value=0.9, low=0.86, high=0.93)
    >>> difference = unpaired_difference(first, Figure(value=0.8, low=0.75, high=0.84))
    >>> round(difference.value, 3), round(difference.low, 3), round(difference.high, 3)
    (0.1, 0.043, 0.158)
    """
    if ours.value is None or theirs.value is None:
        return Figure(value=None)
    value = ours.value - theirs.value
    if ours.low is None or ours.high is None or theirs.low is None or theirs.high is None:
        return Figure(value=value)
    down = ((ours.value - ours.low) ** 2 + (theirs.high - theirs.value) ** 2) ** 0.5
    up = ((ours.high - ours.value) ** 2 + (theirs.value - theirs.low) ** 2) ** 0.5
    return Figure(value=value, low=value - down, high=value + up)
