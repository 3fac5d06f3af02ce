"""The study browser: the runs that the service was given, with their figures, their report and their models."""

from dataclasses import dataclass
from pathlib import Path

from hilum.errors import HilumError
from hilum.report.results import Results, results
from hilum.report.stated import stated
from hilum.report.titles import title_of
from hilum.report.wording import listing, moment, plural
from hilum.run import Run
from hilum.web.settings import Settings

REPORT = Path("report", "index.html")


@dataclass(frozen=True)
class TaskRow:
    """One trained model as the table of a study shows it. `id`: its name in the REST service."""

    id: str
    name: str
    classes: str
    sample: str = ""
    accuracy: str = ""
    auroc: str = ""


@dataclass(frozen=True)
class Study:
    """One run as the page shows it. `report`: the address of its report, empty without one; `error`: why it can't be
    read."""

    name: str
    facts: list[tuple[str, str]]
    tasks: list[TaskRow]
    report: str = ""
    note: str = ""
    error: str = ""


def runs_of(settings: Settings) -> dict[str, Path]:
    """The run folders that may be shown, by name; a name that occurs twice gets a number.

    >>> runs_of(Settings(runs=(Path("runs/real"), Path("others/real"))))
    {'real': PosixPath('runs/real'), 'real-2': PosixPath('others/real')}
    """
    paths = list(settings.runs)
    if settings.runs_folder is not None:
        inside = sorted(path.parent for path in settings.runs_folder.glob("*/run.json"))
        given = {path.resolve() for path in paths}
        paths += [path for path in inside if path.resolve() not in given]
    named: dict[str, Path] = {}
    for path in paths:
        base = path.resolve().name
        number = sum(name == base or name.rpartition("-")[0] == base for name in named)
        named[base if base not in named else f"{base}-{number + 1}"] = path
    return named


def study_of(name: str, path: Path) -> Study:
    """What the page shows of one run; a run that can't be read gives its `error` instead.

    >>> study_of("gone", Path("gone")).error.startswith("gone ")
    True
    """
    try:
        run = Run(path)
        return Study(
            name, _facts(run), _tasks(run, name), _report(run, name), " ".join(run.facts().data.notes)
        )
    except HilumError as error:
        return Study(name, [], [], error=str(error))


def report_of(settings: Settings, name: str) -> bytes | None:
    """The report of a run by its name; None where there is no such run or no report.

    >>> report_of(Settings(), "../../etc/passwd") is None
    True
    """
    path = runs_of(settings).get(name)
    file = None if path is None else path / REPORT
    return file.read_bytes() if file is not None and file.is_file() else None


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = run.facts()
    data = facts.data
    parts = [data.place]
    if data.n_cases is not None:
        parts.append(plural(data.n_cases, "image"))
    rows = [
        ("Data", ", ".join(part for part in parts if part)),
        ("Recipe", facts.preset),
        ("Started", moment(facts.started) if facts.started else ""),
        ("State", "" if facts.status == "finished" else "not finished"),
    ]
    return [(label, value) for label, value in rows if value]


def _report(run: Run, name: str) -> str:
    return f"/studies/{name}/report/" if (run.path / REPORT).is_file() else ""


def _tasks(run: Run, name: str) -> list[TaskRow]:
    return [_task(run, name, task) for task in run.tasks]


def _task(run: Run, name: str, task: str) -> TaskRow:
    identity, classes = f"{name}/{task}", run.task(task).card().classes
    title = title_of(task, tuple(classes))
    try:
        evaluated = results(run, task)
    except HilumError as error:
        return TaskRow(identity, title, listing(classes), str(error))
    if evaluated is None:
        return TaskRow(identity, title, listing(classes), "not evaluated")
    return _evaluated(identity, title, evaluated)


def _evaluated(identity: str, title: str, task: Results) -> TaskRow:
    block = task.block
    return TaskRow(
        identity, title, listing(task.classes), task.sample, stated(block.accuracy), stated(block.auroc, "")
    )
