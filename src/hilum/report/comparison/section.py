"""The comparison as a section: of the page that `hilum compare` writes, and of the report of a run that holds one
(--out RUN/compare)."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from hilum.artifacts.base import Figure
from hilum.artifacts.comparison import (
    CellResult,
    CellRow,
    Comparison,
    PairedDifference,
    Pooled,
    Spread,
)
from hilum.artifacts.metrics import Shift
from hilum.files import write_text
from hilum.folders import ComparisonFolder
from hilum.report.build_page import print_page
from hilum.report.comparison.plots import trainings_plot
from hilum.report.section import Section
from hilum.report.stated import Unit, points_text, signed, stated
from hilum.report.wording import (
    LEVEL,
    NOTHING,
    SPACE,
    count,
    duration,
    listing,
    number,
    percent,
    plural,
)
from hilum.run import Run

ANCHOR, TITLE = "comparison", "Comparison of architectures"
FOLDS = {
    "patient": "patient-disjoint folds",
    "acquisition": "acquisition groups",
    "ordered": "parts by case number, the lowest first",
}

ALPHA = 0.05
"""A corrected p-value below this is a difference."""


@dataclass(frozen=True)
class Mean:
    """A mean over trainings and its spread."""

    value: str
    spread: str = ""


@dataclass(frozen=True)
class Gap:
    """Differences from the reference, each with its test."""

    accuracy: str
    accuracy_test: str
    auroc: str
    auroc_test: str


@dataclass(frozen=True)
class Row:
    """One recipe as text. `error`: why there is nothing more; `paired`: None for the reference and before all
    trainings are finished."""

    name: str
    error: str = ""
    note: str = ""
    accuracy: Mean = Mean(NOTHING)
    accuracy_pooled: str = ""
    auroc: Mean = Mean(NOTHING)
    auroc_pooled: str = ""
    brier: Mean = Mean(NOTHING)
    test: Mean = Mean(NOTHING)
    groups: list[str] = field(default_factory=list)
    counterfactual: Mean = Mean(NOTHING)
    parameters: str = ""
    seconds: str = ""
    epochs: str = ""
    reference: bool = False
    paired: Gap | None = None


def make(run: Run) -> Section | None:
    """The comparison that was made into this run; None where there is none, for it is no part of a study.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    if not run.comparison.figures_file.exists():
        return None
    return comparison_section(run.comparison)


def build_comparison_page(path: Path) -> Path:
    """Writes index.html beside compare.json and compare.csv in `path`, and gives its path back; needs no torch."""
    folder = ComparisonFolder(path)
    title = f"{folder.figures().name}: comparison of recipes"
    write_text(folder.page_file, print_page(title, [comparison_section(folder)]))
    return folder.page_file


def comparison_section(folder: ComparisonFolder) -> Section:
    """The table sorted by accuracy, a drawing of every training, and what the tests say."""
    comparison = folder.figures()
    cells = sorted(comparison.cells, key=_accuracy, reverse=True)
    results = [cell.result for cell in cells if cell.result is not None]
    return Section(
        ANCHOR,
        TITLE,
        "comparison/template.html",
        {
            "lead": lead(comparison),
            "rows": [_row(cell, comparison) for cell in cells],
            "drawing": _drawing(folder, cells, comparison),
            "measured": _measured(comparison),
            "against": comparison.against,
            "has_groups": any(result.acquisition for result in results),
            "has_counterfactual": any(result.counterfactual for result in results),
            "has_test": any(result.test for result in results),
            "level": LEVEL,
            "command": _command(comparison, folder),
        },
    )


def lead(comparison: Comparison) -> str:
    """The best recipe, and which recipes differ from the reference.

    >>> lead(Comparison.model_construct(cells=[CellRow(name="vgg", changes={}, recipe={}, expected=3)]))
    'No recipe has finished all its trainings yet.'
    """
    complete = comparison.complete
    if not complete:
        return "No recipe has finished all its trainings yet."
    best = max(complete, key=_accuracy)
    text = (
        f"Of {plural(len(complete), 'recipe')}, {best.name} has the highest accuracy"
        f" ({percent(_accuracy(best))}, mean over trainings)."
    )
    compared = [cell for cell in complete if cell.result and cell.result.paired]
    if not comparison.against or not compared:
        return text
    signs = {cell.name: _sign(cell.result.paired) for cell in compared if cell.result and cell.result.paired}
    parts = [
        f"{listing(names)} {'is' if len(names) == 1 else 'are'} {word} than {comparison.against}"
        for sign, word in ((1, "better"), (-1, "worse"))
        if (names := [name for name, own in signs.items() if own == sign])
    ]
    same = sum(sign == 0 for sign in signs.values())
    if same:
        parts.append(f"for {plural(same, 'recipe')} no difference from {comparison.against} is shown")
    return f"{text} After correction for the number of comparisons, {'; '.join(parts)}."


def _sign(paired: PairedDifference) -> int:
    """1 or -1 where test and patient interval agree that the accuracies differ, else 0: the careful reading."""
    gap, p = paired.accuracy, paired.accuracy_test.p_holm
    apart = gap.low is None or gap.high is None or not gap.low <= 0 <= gap.high
    if not apart or p is None or p >= ALPHA:
        return 0
    return 1 if (gap.value or 0.0) > 0 else -1


def _accuracy(cell: CellRow) -> float:
    value = cell.result.spread["accuracy"].mean if cell.result else None
    return -1.0 if value is None else value


def _row(cell: CellRow, comparison: Comparison) -> Row:
    """The cells of one row of the table, as text."""
    result = cell.result
    if result is None:
        return Row(cell.name, cell.error or "not trained yet")
    return Row(
        name=cell.name,
        note=_note(cell, result),
        accuracy=_mean_sd(result.spread["accuracy"], "%"),
        accuracy_pooled=_pooled(result.pooled, "accuracy", "%"),
        auroc=_mean_sd(result.spread["auroc"], ""),
        auroc_pooled=_pooled(result.pooled, "auroc", ""),
        brier=_mean_sd(result.spread["brier"], ""),
        test=_mean_sd(result.test["accuracy"], "%") if result.test else Mean(NOTHING),
        groups=_groups(result.acquisition),
        counterfactual=_mean_sd(result.counterfactual, "") if result.counterfactual else Mean(NOTHING),
        parameters=count(result.parameters),
        seconds=duration(result.seconds),
        epochs=plural(round(result.epochs), "epoch"),
        reference=cell.name == comparison.against,
        paired=_paired(result.paired) if result.paired else None,
    )


def _note(cell: CellRow, result: CellResult) -> str:
    left = cell.expected - result.trainings
    return cell.error or (f"{left} of {cell.expected} trainings are not done" if left else "")


def _mean_sd(spread: Spread, unit: Unit) -> Mean:
    """Mean and spread as text."""
    mean = percent(spread.mean) if unit == "%" else number(spread.mean)
    if spread.sd is None:
        return Mean(mean, "one training")
    sd = f"sd {100 * spread.sd:.1f} points" if unit == "%" else f"sd {number(spread.sd)}"
    return Mean(mean, sd)


def _pooled(pooled: Pooled | None, name: str, unit: Unit) -> str:
    return stated(getattr(pooled, name), unit) if pooled else ""


def _groups(acquisition: Shift | None) -> list[str]:
    """Accuracy on shortcut-matched pairs and in the worst group."""
    if acquisition is None:
        return []
    lines = []
    if acquisition.matched:
        lines.append(f"shortcut-matched pairs: {stated(acquisition.matched.accuracy)}")
    if acquisition.worst_group:
        lines.append(f"worst group ({acquisition.worst_group.name}): {stated(acquisition.worst_group)}")
    return lines


def _paired(paired: PairedDifference) -> Gap:
    """Differences from the reference with interval and corrected p."""
    test = paired.accuracy_test
    return Gap(
        accuracy=points_text(paired.accuracy),
        accuracy_test=f"{_p(test.p_holm)} ({test.only_first} against {test.only_second} images)",
        auroc=_gap(paired.auroc),
        auroc_test=_p(paired.auroc_test.p_holm),
    )


def _gap(figure: Figure) -> str:
    text = signed(figure.value or 0.0, 3)
    if figure.low is None or figure.high is None:
        return text
    return f"{text} ({LEVEL} CI {signed(figure.low, 3)} to {signed(figure.high, 3)})"


def _p(value: float | None) -> str:
    if value is None:
        return NOTHING
    return f"p{SPACE}<{SPACE}0.001" if value < 0.001 else f"p{SPACE}={SPACE}{value:.3f}"


def _measured(comparison: Comparison) -> str:
    """On what the recipes were measured."""
    folds = comparison.folds
    taken = (
        "each held out once"
        if len(folds.held_out) == folds.of
        else f"of which {len(folds.held_out)} held out"
    )
    pooled = next((cell.result.pooled for cell in comparison.complete if cell.result), None)
    images = (
        f"{plural(pooled.n_cases, 'image')} of {plural(pooled.n_patients, 'patient')} held out"
        if pooled
        else "no recipe is complete"
    )
    return (
        f"{images}; {folds.of} {FOLDS[folds.scheme]}, {taken}, the same for every recipe;"
        f" {plural(len(comparison.seeds), 'seed')}; epoch and threshold chosen on other patients of the training"
        " part"
    )


def _command(comparison: Comparison, folder: ComparisonFolder) -> str:
    words = ["hilum", "compare", comparison.data.given, "--grid", comparison.grid_file]
    if comparison.folds.scheme != "patient":
        words += ["--scheme", comparison.folds.scheme]
    return shlex.join([*words, "--out", folder.path.as_posix()])


def _drawing(folder: ComparisonFolder, cells: Sequence[CellRow], comparison: Comparison) -> Markup | None:
    names = [cell.name for cell in cells if cell.result]
    if not names:
        return None
    rows = pd.read_csv(folder.table_file, dtype={"cell": str}, keep_default_na=False, na_values=[""])
    return trainings_plot(names, rows, comparison.against, "compare-trainings")
