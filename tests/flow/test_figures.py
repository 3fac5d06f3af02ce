"""Every figure of a finished run has an interval that is no point, or a stated reason; every share its k of n."""

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

import hilum
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


BARE = {
    "settings, and numbers that steer a training or a decision: known, not estimated": (
        r"recipe\w*/.+|settings/\w+|pixels/.+|options/.+|threshold|threshold/value|fixed|alpha|lr|caliper|quantiles/\w+"
        r"|fitted/.+|false_alarm_rate|rate|prevalence|prevalences|model.json/calibration/\w+|best_metric/value|curve/coverage"
        r"|risk_at/\*/coverage|at"
    ),
    "what one image got, not a share or a mean of images": (
        r"probabilities/\w+|lowest|highest|occlusion/[^/]+/probability|result/probability|rows/\*/images/.+"
        r"|cases/\*/abnormal_\w+|training_images/images/.+"
    ),
    "p-values: they have no interval": r"p|p_\w+",
    "what chance, the best order or a simple rule gives on these very images; to read the figure beside it": (
        r"chance|by_chance|by_chance/[\w ]+|ece_of_chance/\w+|lowest_aurc|probability_risk|treat_all|share_abnormal"
        r"|classes/\*/share"
    ),
    "points of a curve whose band stands beside them, and ends of bands and intervals": (
        r"(roc|precision_recall|bins|diagrams|risk_coverage|curve|decision_curve)/.+|binomial|best_f1/\w+"
    ),
    "a spread over trainings or divisions, itself a measure of uncertainty": r"\w+_sd",
    "the largest rounding error of fixed images, a check of a file": r"largest_difference_\w+",
    "quantiles of these very files, and the mean distance of these very pairs": (
        r"sizes/.+|aspect_by_label/.+|matching/\w+/distance"
    ),
    "seconds on this machine": r"seconds|seconds/\w+|\w+_seconds|run\.json/.+",
}
"""Why a number of a JSON file has no interval: the reason, and how its place ends."""

NO_ESTIMATE = re.compile("|".join(f"(^|/)({keys})(/\\*)*$" for keys in BARE.values()))


def numbers(values: Any, place: str) -> Iterator[str]:
    """The place of every number that no interval, and no reason for having none, stands beside."""
    if isinstance(values, list):
        for each in values:
            yield from numbers(each, f"{place}/*")
    elif isinstance(values, dict):
        own = values.get("value") is not None and (values.get("low") is not None or values.get("reason"))
        for name, each in values.items():
            if not (own and name in ("value", "low", "high")):
                yield from numbers(each, f"{place}/{name}")
    elif isinstance(values, float):
        yield place


def test_every_number_of_every_file_has_an_interval_or_is_no_estimate(small_run: Run) -> None:
    files = sorted(small_run.path.rglob("*.json"))
    assert {"model.json", "detector.json", "parts.json", "audit.json", "run.json"} <= {
        file.name for file in files
    }
    places = [
        each for file in files for each in numbers(json.loads(file.read_text()), _name(small_run, file))
    ]
    assert len(places) > 300
    assert sorted({place for place in places if not NO_ESTIMATE.search(place)}) == []


@pytest.mark.parametrize("weights", ["binary/model.json", "multiclass/model.json", "anomaly/detector.json"])
def test_every_number_of_a_packaged_card_has_an_interval_or_is_no_estimate(weights: str) -> None:
    card = json.loads((Path(hilum.__file__).parent / "weights" / weights).read_text())
    found = list(figures(card, weights))
    assert len(found) > 10
    assert [
        place for place, each in found if each.get("low") is not None and each["low"] >= each["high"]
    ] == []
    assert sorted({place for place in numbers(card, weights) if not NO_ESTIMATE.search(place)}) == []


NO_FIGURE_IN_A_TABLE = {
    "a row of counts, and each as a share of the row": r"Confusion matrix",
    "a setting": r"\| (Threshold|Aim|Severity|Image|Classifier|Figure)$|\| [PN]PV at|\| Errors at|nominal",
    "what chance gives, to read the column beside it": r"\| By chance$",
    "the correlation of a map with itself is 1": r"Agreement of the methods",
    "sizes of files, versions, times and what a figure means": (
        r"^(overview|data|reproducibility) /|\| (Meaning|Time|Seconds)|/ Training |^summary /"
    ),
}
"""Cells without an interval: why, and their place, "section / heading | column"."""


def bare_cells(page: str) -> Iterator[tuple[str, str]]:
    """Cells of tables with a number like 0.98 or 98 % and neither an interval nor a reason: place and text."""
    for table in re.finditer(r"<table.*?</table>", page, re.DOTALL):
        before = page[: table.start()]
        section = re.findall(r'<section id="([^"]*)"', before)[-1:] or [""]
        heading = re.findall(r"<(?:h[234]|summary)[^>]*>(.*?)</", before, re.DOTALL)[-1:] or [""]
        columns = [_text(each) for each in re.findall(r'<th scope="col">(.*?)</th>', table[0], re.DOTALL)]
        for row in re.findall(r"<tr.*?</tr>", table[0], re.DOTALL):
            for number, cell in enumerate(
                re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL), start="<th" in row
            ):
                column, text = columns[number] if number < len(columns) else str(number), _text(cell)
                if re.search(r"\d\.\d|\d %", text) and not re.search(r" to | interval|only|chosen", text):
                    yield f"{section[0]} / {_text(heading[0])} | {column}", text


def _text(cell: str) -> str:
    return " ".join(unescape(re.sub(r"<.*?>", " ", cell)).replace("\u00a0", " ").split())


def test_every_cell_of_the_report_has_an_interval_or_is_no_estimate(small_run: Run) -> None:
    page = (small_run.path / "report" / "index.html").read_text()
    known = re.compile("|".join(NO_FIGURE_IN_A_TABLE.values()))
    cells = list(bare_cells(page))
    assert len(cells) > 20
    assert [cell for cell in cells if not known.search(cell[0])] == []


def test_no_object_of_python_stands_in_the_report(small_run: Run) -> None:
    """A template that prints a whole row instead of its text shows a constructor."""
    page = unescape((small_run.path / "report" / "index.html").read_text(encoding="utf-8"))
    shown = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"\b[A-Z]\w+\(\w+='[^)]*\)|<built-in|object at 0x", shown)


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
