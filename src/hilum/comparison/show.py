"""A comparison and the leakage as plain text for the terminal."""

from hilum.artifacts.comparison import CellResult, CellRow, Comparison
from hilum.artifacts.leakage import Leakage
from hilum.artifacts.metrics import Shift
from hilum.evaluation.show import columns
from hilum.evaluation.text import figure_text

HEAD = (
    "recipe",
    "accuracy",
    "sd",
    "AUROC",
    "sd",
    "difference",
    "p (Holm)",
    "swapped look",
    "matched",
    "worst group",
    "parameters",
    "seconds",
    "trainings",
)


def comparison_text(comparison: Comparison) -> str:
    """A line per cell in the order of the grid; a cell that failed has its sentence instead of figures.

    >>> cells = [CellRow(name="vgg", changes={}, recipe={}, expected=3)]
    >>> comparison_text(Comparison.model_construct(cells=cells, against=None))
    'not trained yet: vgg'
    """
    rows = [HEAD, *(_row(cell, cell.result) for cell in comparison.cells if cell.result)]
    lines = columns(rows) if len(rows) > 1 else []
    if comparison.against:
        lines.append(f"difference: accuracy minus that of {comparison.against}, 95 % interval over patients")
        lines.append("p: exact permutation test by patient, corrected by Holm")
    if any(cell.result and cell.result.acquisition for cell in comparison.cells):
        lines.append(
            "matched: accuracy on shortcut-matched pairs; worst group: the lowest accuracy of a group"
        )
    if any(cell.result and cell.result.counterfactual for cell in comparison.cells):
        lines.append("swapped look: AUROC on held-out images in the look of the other label's devices")
    waiting = [cell.name for cell in comparison.cells if not cell.result and not cell.error]
    if waiting:
        lines.append(f"not trained yet: {', '.join(waiting)}")
    failed = [f"{cell.name}: {cell.error}" for cell in comparison.cells if cell.error]
    return "\n".join([*lines, *failed])


def _row(cell: CellRow, result: CellResult) -> tuple[str, ...]:
    accuracy, auroc = result.spread["accuracy"], result.spread["auroc"]
    gap, p = "", ""
    if result.paired:
        figure = result.paired.accuracy
        gap = f"{figure.value:+.3f}"
        if figure.low is not None and figure.high is not None:
            gap += f" [{figure.low:+.3f}, {figure.high:+.3f}]"
        p = _number(result.paired.accuracy_test.p_holm)
    return (
        cell.name,
        _number(accuracy.mean),
        _number(accuracy.sd),
        _number(auroc.mean),
        _number(auroc.sd),
        gap,
        p,
        _number(result.counterfactual.mean if result.counterfactual else None),
        *_groups(result.acquisition),
        f"{result.parameters:,}",
        f"{result.seconds:.1f}",
        f"{result.trainings}/{cell.expected}",
    )


def _groups(acquisition: Shift | None) -> tuple[str, str]:
    """Accuracy on shortcut-matched pairs and in the worst group."""
    matched = acquisition.matched if acquisition else None
    worst = acquisition.worst_group if acquisition else None
    return _number(matched.accuracy.value if matched else None), _number(worst.value if worst else None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def leakage_text(leakage: Leakage) -> str:
    """A line per way, and the difference that leakage makes.

    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.comparison import PairedDifference
    >>> from hilum.artifacts.leakage import Way
    >>> way = Way.model_construct(accuracy=Figure(value=0.9), auroc=Figure(value=0.95))
    >>> gap = PairedDifference.model_construct(accuracy=Figure(value=0.02, low=-0.01, high=0.05))
    >>> print(leakage_text(Leakage.model_construct(patient=way, image=way, difference=gap, official=None)))
    way      accuracy  AUROC
    patient  0.900     0.950
    image    0.900     0.950
    image minus patient: +2.0 points of accuracy (95 % interval -1.0 to +5.0)
    """
    rows = [("way", "accuracy", "AUROC")]
    for name, way in (("patient", leakage.patient), ("image", leakage.image)):
        rows.append((name, figure_text(way.accuracy), figure_text(way.auroc)))
    if leakage.official:
        rows.append(("official", figure_text(leakage.official.accuracy), ""))
    gap = leakage.difference.accuracy
    difference = f"image minus patient: {100 * (gap.value or 0):+.1f} points of accuracy"
    if gap.low is not None and gap.high is not None:
        difference += f" (95 % interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return "\n".join([*columns(rows), difference])
