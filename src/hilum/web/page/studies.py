"""The study browser: the runs that the service was given, with their figures, their report and their models."""

from dataclasses import dataclass
from pathlib import Path

from hilum.artifacts.run import RunFacts
from hilum.errors import HilumError
from hilum.report.results import Results, results
from hilum.report.stated import stated
from hilum.report.titles import title_of
from hilum.report.wording import listing, moment, plural
from hilum.run import Run

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


def study_of(name: str, run: Run) -> Study:
    """What the page shows of one run; a run that can't be read gives its `error` instead.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     study_of("real", Run.create(place, RunFacts(), {"tasks": {}})).facts[-1]
    ('State', 'not finished')
    """
    try:
        facts = run.facts()
        return Study(name, _facts(facts), _tasks(run, name), _report(run, name), " ".join(facts.data.notes))
    except HilumError as error:
        return Study(name, [], [], error=str(error))


def report_of(run: Run) -> bytes | None:
    """The report of a run; None where there is none.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     report_of(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    file = run.path / REPORT
    return file.read_bytes() if file.is_file() else None


def _facts(facts: RunFacts) -> list[tuple[str, str]]:
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
