"""The alternatives table as a section: of the page that `hilum compare` draws, and of a study's report."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from hilum.files import write_text
from hilum.report.build_page import print_page
from hilum.report.figures import FAINT, INK, in_style, new_figure, svg
from hilum.report.sections import Section
from hilum.report.wording import (
    LEVEL,
    NOTHING,
    SPACE,
    count,
    duration,
    figure,
    interval,
    listing,
    number,
    of,
    percent,
    plural,
)
from hilum.run import ComparisonFolder

FOLDS = {"patient": "patient-disjoint folds", "acquisition": "groups of images that were taken alike"}

ALPHA = 0.05
"""A corrected p-value below this is called a difference."""


def build_comparison_page(folder: ComparisonFolder) -> Path:
    """Writes index.html of a comparison from its compare.json and compare.csv; needs no torch."""
    title = f"{folder.figures()['name']}: comparison of recipes"
    write_text(folder.page_file, print_page(title, [comparison_section(folder)]))
    return folder.page_file


def comparison_section(folder: ComparisonFolder) -> Section:
    """The table sorted by accuracy, a figure of every training, and what the tests say."""
    result = folder.figures()
    cells = sorted(result["cells"], key=_accuracy, reverse=True)
    return Section(
        "alternatives",
        "Alternatives",
        "compare.html",
        {
            "lead": lead(result),
            "rows": [_row(cell, result) for cell in cells],
            "drawing": _drawing(folder, cells, result),
            "measured": _measured(result),
            "against": result["against"],
            "has_camera": any(cell.get("shift") for cell in cells),
            "has_test": any("test" in cell for cell in cells),
            "level": LEVEL,
            "command": _command(result, folder),
        },
    )


def lead(result: Mapping[str, Any]) -> str:
    """What was found, in a sentence or two."""
    whole = [cell for cell in result["cells"] if "pooled" in cell]
    if not whole:
        return "No recipe has finished all its trainings yet."
    best = max(whole, key=_accuracy)
    mean = percent(best["spread"]["accuracy"]["mean"])
    of_all = plural(len(whole), "recipe")
    said = f"Of {of_all}, {best['name']} names the most images correctly ({mean} on average)."
    if not result["against"] or len(whole) < 2:
        return said
    others = [cell for cell in whole if cell.get("paired")]
    better = [
        one["name"] for one in others if _tells(one) and one["paired"]["difference"]["accuracy"]["value"] > 0
    ]
    worse = [
        one["name"] for one in others if _tells(one) and one["paired"]["difference"]["accuracy"]["value"] < 0
    ]
    parts = [
        f"{listing(names)} {'is' if len(names) == 1 else 'are'} {word} than {result['against']}"
        for names, word in ((better, "better"), (worse, "worse"))
        if names
    ]
    same = len(others) - len(better) - len(worse)
    if same:
        parts.append(
            f"of {plural(same, 'other')} no difference from {result['against']} is shown"
            if parts
            else f"none can be told from {result['against']}"
        )
    return f"{said} In accuracy, and after correction for the number of comparisons, {'; '.join(parts)}."


def _tells(cell: Mapping[str, Any]) -> bool:
    """Test and patient interval agree that the accuracies differ: the careful reading."""
    gap = cell["paired"]["difference"]["accuracy"]
    apart = gap.get("low") is None or not gap["low"] <= 0 <= gap["high"]
    return apart and cell["paired"]["mcnemar"]["p_holm"] < ALPHA


def _accuracy(cell: Mapping[str, Any]) -> float:
    value = ((cell.get("spread") or {}).get("accuracy") or {}).get("mean")
    return -1.0 if value is None else value


def _row(cell: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The cells of one row of the table, as text."""
    if "spread" not in cell:
        return {"name": cell["name"], "error": cell.get("error") or "not trained yet"}
    spread, pooled, test = cell["spread"], cell.get("pooled"), cell.get("test")
    missing = cell["expected"] - cell["trainings"]
    note = cell.get("error") or (f"{missing} of {cell['expected']} trainings are missing" if missing else "")
    return {
        "name": cell["name"],
        "error": "",
        "note": note,
        "accuracy": _mean_sd(spread["accuracy"], True),
        "accuracy_interval": _interval("accuracy", pooled),
        "auroc": _mean_sd(spread["auroc"], False),
        "auroc_interval": _interval("auroc", pooled),
        "brier": _mean_sd(spread["brier"], False),
        "test": _mean_sd(test["accuracy"], True) if test else NOTHING,
        "camera": _camera(cell.get("shift")),
        "trainings": count(cell["trainings"]),
        "parameters": count(cell["parameters"]),
        "seconds": duration(cell["seconds"]),
        "epochs": plural(round(cell["epochs"]), "epoch"),
        "reference": cell["name"] == result["against"],
        "paired": _paired(cell.get("paired")),
    }


def _mean_sd(entry: Mapping[str, float | None], share: bool) -> dict[str, str]:
    """Mean and spread as text."""
    mean, sd = entry["mean"], entry["sd"]
    said = percent(mean) if share else number(mean)
    if sd is None:
        return {"value": said, "spread": "one training"}
    return {"value": said, "spread": f"sd {100 * sd:.1f} points" if share else f"sd {number(sd)}"}


def _camera(found: Mapping[str, Any] | None) -> list[str]:
    """What is left where the camera gives nothing away: matched pairs, and the worst group."""
    if not found:
        return []
    said = [
        f"matched pairs: {figure('accuracy', one['accuracy'])} ({of(one['accuracy'])}),"
        f" {interval('accuracy', one['accuracy'])}"
        for one in found["groups"]
        if one["kind"] == "matched"
    ]
    worst = found["worst_group"]
    if worst:
        said.append(f"worst group: {figure('accuracy', worst)} ({of(worst)}; {worst['name']})")
    return said


def _interval(key: str, pooled: Mapping[str, Any] | None) -> str:
    if pooled is None:
        return ""
    entry = pooled[key]
    counts = f" ({of(entry)})" if of(entry) else ""
    return f"{figure(key, entry)}{counts}, {interval(key, entry)}"


def _paired(entry: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Differences from the reference with interval and corrected p."""
    if not entry:
        return None
    gap = entry["difference"]
    return {
        "accuracy": _points(gap["accuracy"]),
        "mcnemar": f"McNemar {_p(entry['mcnemar']['p_holm'])}"
        f" ({entry['mcnemar']['only_first']} against {entry['mcnemar']['only_second']} images)",
        "auroc": _gap(gap["auroc"]),
        "delong": f"DeLong {_p(entry['delong']['p_holm'])}",
    }


def _points(entry: Mapping[str, float]) -> str:
    said = f"{_signed(100 * entry['value'], 1)} points"
    if entry.get("low") is None:
        return said
    return f"{said} ({_signed(100 * entry['low'], 1)} to {_signed(100 * entry['high'], 1)})"


def _gap(entry: Mapping[str, float]) -> str:
    said = _signed(entry["value"], 3)
    return (
        said
        if entry.get("low") is None
        else f"{said} ({_signed(entry['low'], 3)} to {_signed(entry['high'], 3)})"
    )


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _p(value: float) -> str:
    return f"p{SPACE}<{SPACE}0.001" if value < 0.001 else f"p{SPACE}={SPACE}{value:.3f}"


def _measured(result: Mapping[str, Any]) -> str:
    """On what, in a sentence."""
    folds, seeds = result["folds"], result["seeds"]
    taken = (
        "each held out once"
        if len(folds["held_out"]) == folds["of"]
        else f"of which {len(folds['held_out'])} held out"
    )
    cases = next((cell["pooled"] for cell in result["cells"] if "pooled" in cell), None)
    images = (
        f"{plural(cases['n_cases'], 'image')} of {plural(cases['n_patients'], 'patient')} held out"
        if cases
        else "no recipe is complete"
    )
    return (
        f"{images}; {folds['of']} {FOLDS[folds.get('scheme', 'patient')]}, {taken}, the same for every recipe;"
        f" {plural(len(seeds), 'seed')}; epoch and threshold chosen on other patients of the training part"
    )


def _command(result: Mapping[str, Any], folder: ComparisonFolder) -> str:
    words = ["hilum", "compare", result["data"]["given"], "--grid", result["grid_file"]]
    return shlex.join([*words, "--out", folder.path.as_posix()])


def _drawing(
    folder: ComparisonFolder, cells: list[dict[str, Any]], result: Mapping[str, Any]
) -> Markup | None:
    shown = [cell for cell in cells if "spread" in cell]
    if not shown:
        return None
    rows = pd.read_csv(folder.table_file, dtype={"cell": str}, keep_default_na=False, na_values=[""])
    return trainings_plot([cell["name"] for cell in shown], rows, result["against"], "compare-trainings")


@in_style
def trainings_plot(names: list[str], rows: pd.DataFrame, against: str | None, name: str) -> Markup:
    """Accuracy of every training, a line per recipe, best on top; the mean is a bar."""
    drawn = new_figure(7.2, 0.9 + 0.3 * len(names))
    axes = drawn.subplots()
    for place, cell in enumerate(reversed(names)):
        values = 100 * rows["accuracy"][rows["cell"] == cell].to_numpy(np.float64)
        axes.plot(values, np.full(len(values), place), "o", color="#0072B2", markersize=4.5, alpha=0.65)
        axes.plot([values.mean()] * 2, [place - 0.3, place + 0.3], "-", color=INK, linewidth=1.8)
        if cell == against:
            axes.axvline(values.mean(), color=FAINT, linewidth=0.9, linestyle=":")
    axes.set_yticks(range(len(names)), [cell[:48] for cell in reversed(names)])
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("held-out images named correctly, %")
    axes.set_title("Every training")
    best = names[0]
    return svg(drawn, name, f"Accuracy of {len(rows)} trainings of {len(names)} recipes; best mean: {best}")
