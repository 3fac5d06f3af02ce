"""When data is missing: what becomes of accuracy and calibration, with one curve and one sentence each."""

from collections.abc import Callable, Mapping
from typing import Any

from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.robustness import CORRUPTIONS, corrupt
from hilum.errors import DataError
from hilum.files import read_json
from hilum.report import commands
from hilum.report.lacking import classes_values, labels_values, training_values
from hilum.report.pictures import Image, data_uri
from hilum.report.results import Results, results, with_interval
from hilum.report.sections import Section
from hilum.report.severities import Point, panel
from hilum.report.titles import TITLES
from hilum.report.wording import figure, interval, of, percent, plural, split_name
from hilum.run import Run

TITLE = "When data is missing"


def missing(run: Run) -> Section | None:
    """The section; how to make it where it was not measured; None where nothing is trained."""
    if not run.tasks:
        return None
    known = [
        (one, run.task(one.task).missing())
        for name in run.tasks
        if run.task(name).missing_file.exists() and (one := results(run, name)) is not None
    ]
    if not known:
        words = "Nobody has looked yet at what the models say of images with pixels missing."
        values = {"sentence": words, "command": commands.missing(run)}
        return Section("missing", TITLE, "missing.html", values)
    return Section("missing", TITLE, "missing_data.html", _values(run, known))


def _values(run: Run, known: list[tuple[Results, dict[str, Any]]]) -> dict[str, Any]:
    return {
        "lead": " ".join(_lead(one, facts) for one, facts in known),
        "tasks": [_task(one, facts) for one, facts in known],
        "images": _images(run, *known[0]),
        "labels": _lacking(run, "labels_file", labels_values),
        "classes": _lacking(run, "classes_file", classes_values),
        "training": _lacking(run, "training_file", training_values),
        "make": {one: commands.missing(run, f"--{one}") for one in ("labels", "classes", "training")},
        "commands": [commands.missing(run), commands.report(run)],
    }


def _lacking(
    run: Run, name: str, values: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """What the task with the most classes says; None where it was not asked."""
    file = getattr(run.task(run.tasks[-1]), name)
    return values(read_json(file)) if file.exists() else None


# -- words -------------------------------------------------------------------------------------------------


def _lead(one: Results, facts: dict[str, Any]) -> str:
    """What costs most, and what costs least, at the highest severity that was measured."""
    right = figure("accuracy", facts["plain"]["accuracy"])
    plain = f"{TITLES[one.task]}: {right} of {_size(facts)} are named correctly"
    ends = {name: _points(facts, name)[-1] for name in facts["corruptions"]}
    ends = {name: end for name, end in ends.items() if end.accuracy.get("value") is not None}
    if not ends:
        return f"{plain}."
    worst = min(ends, key=lambda name: ends[name].accuracy["value"])
    best = max(ends, key=lambda name: ends[name].accuracy["value"])
    return (
        f"{plain}; with {_strength(worst, ends[worst])} it is {figure('accuracy', ends[worst].accuracy)},"
        f" with {_strength(best, ends[best])} {figure('accuracy', ends[best].accuracy)}."
    )


def _sentence(facts: dict[str, Any], name: str) -> str:
    """One corruption in one sentence: from where to where, and what becomes of the calibration."""
    start, end = facts["plain"], _points(facts, name)[-1]
    return (
        f"With {_strength(name, end)}, accuracy {_verdict(end.change)} from"
        f" {figure('accuracy', start['accuracy'])} to {with_interval('accuracy', end.accuracy)}; the calibration"
        f" error goes from {percent(start['ece']['value'])} to {percent(end.error['value'])}."
    )


def _verdict(change: Mapping[str, Any]) -> str:
    """What a change is called: only one whose paired interval leaves out 0 is a fall or a rise."""
    if change.get("low") is None:
        return "goes"
    if change["high"] < 0:
        return "falls"
    return "rises" if change["low"] > 0 else "does not change measurably:"


def _strength(name: str, point: Point) -> str:
    return CORRUPTIONS[name].strength(point.severity)


def _size(facts: dict[str, Any]) -> str:
    images = f"{plural(facts['images'], split_name(facts['split']) + ' image')}"
    return (
        images
        if facts["patients"] == facts["images"]
        else f"{images} of {plural(facts['patients'], 'patient')}"
    )


# -- figures and tables ------------------------------------------------------------------------------------


def _points(facts: dict[str, Any], name: str) -> list[Point]:
    """Severity 0 and those measured, in order."""
    plain = facts["plain"]
    rows = sorted((int(severity), point) for severity, point in facts["corruptions"][name].items())
    return [
        Point(0, plain["accuracy"], plain["ece"], {}),
        *(Point(severity, point["accuracy"], point["ece"], point["change"]) for severity, point in rows),
    ]


def _task(one: Results, facts: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in CORRUPTIONS if facts["corruptions"].get(name)]
    targets = one.rows["target"].value_counts()
    guessing = float(targets.max() / targets.sum())
    return {
        "title": TITLES[one.task],
        "panels": [
            (
                panel(_points(facts, name), CORRUPTIONS[name].title, guessing, f"{one.task}-missing-{name}"),
                _sentence(facts, name),
            )
            for name in names
        ],
        "caption": (
            f"{_size(facts)}, of {facts['of_images']} held back. Blue with circles: accuracy, at the threshold"
            " chosen on whole images. Orange, dashed, with squares: calibration error of the likeliest class"
            f" (10 bins of equal mass). Bands: 95 % intervals, from {facts['replicates']} bootstrap samples"
            " over patients; a change is called a fall or a rise where the interval of the paired difference"
            " leaves out 0. Dotted: what naming the commonest class earns."
        ),
        "rows": [
            _row("as it is", "", facts["plain"]),
            *(row for name in names for row in _rows(facts, name)),
        ],
    }


def _rows(facts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    points = sorted((int(severity), point) for severity, point in facts["corruptions"][name].items())
    corruption = CORRUPTIONS[name]
    return [
        _row(f"{severity}: {corruption.strength(severity)}", corruption.source, point)
        for severity, point in points
    ]


def _row(name: str, source: str, point: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "source": source,
        "accuracy": figure("accuracy", point["accuracy"]),
        "of": of(point["accuracy"]),
        "accuracy_interval": interval("accuracy", point["accuracy"]),
        "auroc": figure("auroc", point["auroc"]),
        "auroc_interval": interval("auroc", point["auroc"]),
        "error": percent(point["ece"]["value"]),
        "error_interval": interval("accuracy", point["ece"]),
    }


def _images(run: Run, one: Results, facts: dict[str, Any]) -> list[tuple[Image, str]]:
    """The first held-out image in the model's size: as it is, and corrupted as hard as was measured."""
    case = str(one.rows["case_id"].iloc[0])
    path = run.cases().table.set_index("case_id")["path"][case]
    try:
        image = Pixels.from_json(one.card["pixels"]).prepare(read_grey(path))
    except (DataError, OSError):
        return []
    shown = [(image, "as it is")]
    for name, points in facts["corruptions"].items():
        severity = max(map(int, points))
        corrupted = corrupt(image, name, severity, facts["seed"], case)
        shown.append((corrupted, f"{severity}: {CORRUPTIONS[name].strength(severity)}"))
    return [(Image(case, data_uri(picture), *picture.shape), said) for picture, said in shown]
