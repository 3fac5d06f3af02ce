"""Tasks: what a model classifies, as a map from a case's label to a class of the model."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hilum.data.labels import HEALTHY
from hilum.errors import DataError

TASKS = ("binary", "multiclass")
_KINDS_OF_PNEUMONIA = {"bacteria", "bacterial", "virus", "viral", "pneumonia"}


@dataclass(frozen=True)
class Task:
    """`name`, the ordered `classes` of the model, and the class of each label."""

    name: str
    classes: tuple[str, ...]
    class_of: Mapping[str, str]

    def index(self, label: str) -> int:
        """Position of a label's class in `classes`.

        >>> task("binary", ["normal", "virus"]).index("virus")
        1
        """
        return self.classes.index(self.class_of[label])


def task(name: str, labels: Sequence[str]) -> Task:
    """The task `name` on data with these labels.

    `binary`: normal against everything else; needs the label normal. `multiclass`: every label its own class; needs
    three labels, or two of which none is normal. DataError where the labels do not allow the task.

    >>> task("binary", ["normal", "bacteria", "virus"]).class_of["virus"]
    'pneumonia'
    >>> task("multiclass", ["virus", "normal", "bacteria"]).classes
    ('normal', 'bacteria', 'virus')
    >>> task("multiclass", ["1", "0", "0"]).classes
    ('0', '1')
    """
    known = tuple(sorted(set(labels), key=lambda label: (label != HEALTHY, label)))
    if len(known) < 2:
        only = known[0] if known else "nothing"
        raise DataError(f"all cases have the label {only!r}", "a classifier needs at least two classes")
    if name == "binary":
        if HEALTHY not in known:
            raise DataError(
                f"task 'binary' needs healthy images, and none of the labels {', '.join(known)} is known to mean"
                " healthy",
                f"name it with --healthy, for example --healthy {shlex.quote(known[0])}, or use --task multiclass",
            )
        abnormal = _name_of_abnormal(known)
        return Task(
            name, (HEALTHY, abnormal), {label: HEALTHY if label == HEALTHY else abnormal for label in known}
        )
    if name == "multiclass":
        if len(known) == 2 and HEALTHY in known:
            raise DataError(
                f"task 'multiclass' needs three labels, or two that are not {HEALTHY}; the labels are"
                f" {', '.join(known)}",
                "use task 'binary'",
            )
        return Task(name, known, {label: label for label in known})
    raise DataError(f"task {name!r} is not known", f"known are {', '.join(TASKS)}")


def possible_tasks(labels: Sequence[str]) -> tuple[str, ...]:
    """The tasks that data with these labels allow.

    >>> possible_tasks(["normal", "pneumonia"])
    ('binary',)
    >>> possible_tasks(["covid", "pneumonia"])
    ('multiclass',)
    """
    known = set(labels)
    return tuple(
        name
        for name, allowed in (
            ("binary", HEALTHY in known and len(known) >= 2),
            ("multiclass", len(known - {HEALTHY}) >= 2),
        )
        if allowed
    )


def why_not(name: str, labels: Sequence[str]) -> str:
    """The sentence that says why these labels do not allow the task; "" where they do.

    >>> why_not("multiclass", ["normal", "pneumonia"]).partition(";")[0]
    "task 'multiclass' needs three labels, or two that are not normal"
    """
    try:
        task(name, labels)
    except DataError as error:
        return str(error)
    return ""


def _name_of_abnormal(labels: Sequence[str]) -> str:
    abnormal = [label for label in labels if label != HEALTHY]
    if set(abnormal) <= _KINDS_OF_PNEUMONIA:
        return "pneumonia"
    return abnormal[0] if len(abnormal) == 1 else "abnormal"
