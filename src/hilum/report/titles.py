"""The headings of the tasks' sections, from the classes that the task has."""

from collections.abc import Sequence

from hilum.data.public_set import CLASSES
from hilum.data.tasks import task
from hilum.errors import HilumError
from hilum.run import Run

LONGEST = 48
"""Characters of a heading that lists its classes."""


def title_of(name: str, classes: Sequence[str]) -> str:
    """The heading of a task with these classes; with many of them, or long names, their number.

    >>> title_of("binary", ["normal", "pneumonia"]), title_of("multiclass", ["normal", "bacteria", "virus"])
    ('Normal vs pneumonia', 'Bacterial vs viral')
    >>> title_of("multiclass", ["bacteria", "virus"])
    'Bacterial vs viral'
    >>> title_of("multiclass", ["0", "1"]), title_of("multiclass", ["normal", "covid", "tuberculosis"])
    ('0 vs 1', 'Normal, covid and tuberculosis')
    >>> title_of("multiclass", [f"class {number}" for number in range(14)])
    '14 classes'
    """
    if name == "findings":
        return "Findings"
    if set(classes) == set(CLASSES):
        return "Bacterial vs viral"
    if set(classes) == {"bacteria", "virus"}:
        return "Bacterial vs viral"
    if len(classes) < 2:
        return name
    joint = " vs " if len(classes) == 2 else " and "
    listed = f"{', '.join(classes[:-1])}{joint}{classes[-1]}"
    if len(listed) > LONGEST:
        return (
            f"{name.capitalize()}: {len(classes)} classes" if len(classes) == 2 else f"{len(classes)} classes"
        )
    return listed[:1].upper() + listed[1:]


def title_in(run: Run, name: str) -> str:
    """The heading of a task of a run: from its model's classes, before the training from the labels of the cases.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     title_in(Run.create(place, RunFacts(), {"tasks": {}}), "binary")
    'binary'
    """
    if run.task(name).card_file.exists():
        return title_of(name, run.task(name).card().classes)
    try:
        cases = run.cases()
        return title_of(name, task(name, cases.labels, cases.findings).classes)
    except HilumError:
        return name
