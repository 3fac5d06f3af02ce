"""Every figure of a finished run has an interval that is no point, or a stated reason; every share its k of n."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hilum.report.results import chosen_note, results
from hilum.report.robustness.section import _task as robustness_task
from hilum.run import Run

NO_FIGURE = ("threshold", "best_metric")
"""Keys with a value that is a setting, or steers a training, and no result."""

SHARES = (
    "accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "accuracy_at_half",
    "false_alarms",
    "error",
)
MEANS = re.compile(
    r"^leakage/|/at_prevalence/|/concepts/|^multiclass/metrics.json/\w+/(sensitivity|specificity)$"
)
"""Means over networks, classes or draws, and values at another prevalence: no counts."""


def figures(values: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The dictionaries with a number called value, and where they are."""
    if isinstance(values, list):
        for each in values:
            yield from figures(each, f"{place}/*")
    if not isinstance(values, dict):
        return
    if "value" in values and isinstance(values["value"], float | int | None):
        yield place, values
    for name, each in values.items():
        if name not in NO_FIGURE:
            yield from figures(each, f"{place}/{name}")


@pytest.fixture(scope="module")
def all_figures(small_run: Run) -> list[tuple[str, dict[str, Any]]]:
    files = [file for file in sorted(small_run.path.rglob("*.json")) if file.name != "model.json"]
    found = [pair for file in files for pair in figures(json.loads(file.read_text()), _name(small_run, file))]
    assert len(found) > 300
    return found


def _name(run: Run, file: Any) -> str:
    return str(file.relative_to(run.path))


def test_every_figure_has_an_interval_or_a_reason(all_figures: list[tuple[str, dict[str, Any]]]) -> None:
    bare = {
        place
        for place, figure in all_figures
        if not figure.get("reason") and (figure["value"] is None or figure.get("low") is None)
    }
    assert bare == set()


def test_no_interval_is_a_point_and_each_holds_its_value(
    all_figures: list[tuple[str, dict[str, Any]]],
) -> None:
    known = [(place, figure) for place, figure in all_figures if figure.get("low") is not None]
    points = [(place, figure) for place, figure in known if not figure["low"] < figure["high"]]
    outside = [
        (place, figure)
        for place, figure in known
        if not figure["low"] - 1e-9 <= figure["value"] <= figure["high"] + 1e-9
    ]
    assert (points, outside) == ([], [])


def test_every_share_is_k_of_n(all_figures: list[tuple[str, dict[str, Any]]]) -> None:
    shares = [
        (place, figure)
        for place, figure in all_figures
        if place.rsplit("/")[-1] in SHARES and not MEANS.search(place) and figure["value"] is not None
    ]
    assert len(shares) > 100
    assert [
        place
        for place, figure in shares
        if figure.get("k") is None or figure["value"] != figure["k"] / figure["n"]
    ] == []


def test_no_table_of_the_report_shows_a_point(small_run: Run) -> None:
    page = (small_run.path / "report" / "index.html").read_text().replace("&nbsp;", " ")
    cells = " ".join(re.findall(r"<td.*?</td>", page, re.DOTALL)).replace("\u00a0", " ")
    intervals = re.findall(r"(−?\d+\.\d+) to (−?\d+\.\d+)", cells)
    assert len(intervals) > 100
    assert [pair for pair in intervals if pair[0] == pair[1]] == []


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_captions_say_what_the_validation_images_chose(small_run: Run, task: str) -> None:
    folder = small_run.task(task)
    note = chosen_note(folder, "val")
    assert "The same images chose the epoch that was kept" in note
    assert ("the threshold" in note) == (task == "binary")
    assert chosen_note(folder, "test") == ""
    robustness = folder.robustness()
    captions = {
        split: robustness_task(folder, robustness.model_copy(update={"split": split})).caption
        for split in ("val", "test")
    }
    assert note in captions["val"] and "chose the epoch" not in captions["test"]


def test_the_summary_says_on_which_images_and_what_they_chose(small_run: Run) -> None:
    page = (small_run.path / "report" / "index.html").read_text()
    known = [results(small_run, task) for task in ("binary", "multiclass")]
    words = {"test": "used for no choice", "val": "used to choose the epoch that was kept"}
    assert [words[task.split] in page for task in known if task] == [True, True]
