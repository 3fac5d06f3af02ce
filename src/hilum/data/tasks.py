"""Tasks: what a model classifies, as a map from a case's label to a class of the model."""

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

    `binary`: normal against everything else. `multiclass`: every label its own class; needs three or more.

    >>> task("binary", ["normal", "bacteria", "virus"]).class_of["virus"]
    'pneumonia'
    >>> task("multiclass", ["virus", "normal", "bacteria"]).classes
    ('normal', 'bacteria', 'virus')
    """
    known = tuple(sorted(set(labels), key=lambda label: (label != HEALTHY, label)))
    if len(known) < 2:
        only = known[0] if known else "nothing"
        raise DataError(f"all cases have the label {only!r}", "a classifier needs at least two classes")
    if name == "binary":
        if HEALTHY not in known:
            raise DataError(
                f"task 'binary' needs the label {HEALTHY!r}, the labels are {', '.join(known)}",
                "rename the folder or label of images without findings to 'normal'",
            )
        abnormal = _name_of_abnormal(known)
        return Task(
            name, (HEALTHY, abnormal), {label: HEALTHY if label == HEALTHY else abnormal for label in known}
        )
    if name == "multiclass":
        if len(known) < 3:
            raise DataError(
                f"task 'multiclass' needs three labels or more, the labels are {', '.join(known)}",
                "use task 'binary'",
            )
        return Task(name, known, {label: label for label in known})
    raise DataError(f"task {name!r} is not known", f"known are {', '.join(TASKS)}")


def possible_tasks(labels: Sequence[str]) -> tuple[str, ...]:
    """The tasks that data with these labels allow.

    >>> possible_tasks(["normal", "pneumonia"])
    ('binary',)
    """
    known = set(labels)
    return tuple(
        name
        for name, allowed in (
            ("binary", HEALTHY in known and len(known) >= 2),
            ("multiclass", len(known) >= 3),
        )
        if allowed
    )


def _name_of_abnormal(labels: Sequence[str]) -> str:
    abnormal = [label for label in labels if label != HEALTHY]
    if set(abnormal) <= _KINDS_OF_PNEUMONIA:
        return "pneumonia"
    return abnormal[0] if len(abnormal) == 1 else "abnormal"
