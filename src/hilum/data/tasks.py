"""Tasks: what a model classifies. One class per image, as a map from a case's label to a class of the model; or
several findings per image, each present or not."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hilum.data.finding_options import NOT_STATED
from hilum.data.labels import HEALTHY
from hilum.errors import DataError

TASKS = ("binary", "multiclass", "findings")

Kind = Literal["single", "multi"]
"""One class per image (softmax), or several findings per image (a sigmoid each)."""

_KINDS_OF_PNEUMONIA = {"bacteria", "bacterial", "virus", "viral", "pneumonia"}


def kind_of(name: str) -> Kind:
    """The kind of the task of this name.

    >>> kind_of("multiclass"), kind_of("findings")
    ('single', 'multi')
    """
    return "multi" if name == "findings" else "single"


@dataclass(frozen=True)
class Task:
    """`name`, the ordered `classes` of the model, and the class of each label. Of the kind "multi" the classes are
    findings, and labels have no class."""

    name: str
    classes: tuple[str, ...]
    class_of: Mapping[str, str]

    @property
    def kind(self) -> Kind:
        """Of the task's name.

        >>> task("binary", ["normal", "virus"]).kind
        'single'
        """
        return kind_of(self.name)

    def index(self, label: str) -> int:
        """Position of a label's class in `classes`.

        >>> task("binary", ["normal", "virus"]).index("virus")
        1
        """
        return self.classes.index(self.class_of[label])


def task(name: str, labels: Sequence[str], findings: Sequence[str] = ()) -> Task:
    """The task `name` on data with these labels and findings.

    `binary`: normal against everything else; needs the label normal. `multiclass`: every label its own class; needs
    three labels, or two of which none is normal. `findings`: present or absent, each for itself. DataError where the
    data do not allow the task.

    >>> task("binary", ["normal", "bacteria", "virus"]).class_of["virus"]
    'pneumonia'
    >>> task("multiclass", ["virus", "normal", "bacteria"]).classes
    ('normal', 'bacteria', 'virus')
    >>> task("multiclass", ["1", "0", "0"]).classes
    ('0', '1')
    >>> task("findings", ["normal", "abnormal"], ["Edema", "Effusion"]).kind
    'multi'
    """
    if name == "findings":
        return _findings(findings)
    known = tuple(sorted(set(labels), key=lambda label: (label != HEALTHY, label)))
    if NOT_STATED in known:
        raise DataError(
            f"task {name!r} needs one label per image, and for some only findings are stated",
            "use --task findings",
        )
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


def _findings(names: Sequence[str]) -> Task:
    if not names:
        raise DataError(
            "task 'findings' needs a column per finding, and the data has none",
            "read a CSV with columns called finding:<name>, or use another task",
        )
    return Task("findings", tuple(names), {})


def possible_tasks(labels: Sequence[str], findings: Sequence[str] = ()) -> tuple[str, ...]:
    """The tasks that data with these labels and findings allow.

    >>> possible_tasks(["normal", "pneumonia"])
    ('binary',)
    >>> possible_tasks(["covid", "pneumonia"])
    ('multiclass',)
    >>> possible_tasks(["normal", "abnormal", "not stated"], ["Edema", "Effusion"])
    ('findings',)
    """
    known = set(labels)
    single = NOT_STATED not in known
    return tuple(
        name
        for name, allowed in (
            ("binary", single and HEALTHY in known and len(known) >= 2),
            ("multiclass", single and len(known - {HEALTHY}) >= 2),
            ("findings", bool(findings)),
        )
        if allowed
    )


def class_task(name: str, labels: Sequence[str]) -> Task:
    """The task `name`, for what works on one class per image alone. DataError for findings, and as in `task`.

    >>> class_task("findings", ["normal", "abnormal"])
    Traceback (most recent call last):
    hilum.errors.DataError: task 'findings' states several findings per image, one class is needed; use task ...
    """
    if kind_of(name) == "multi":
        raise DataError(
            f"task {name!r} states several findings per image, one class is needed",
            "use task binary or multiclass",
        )
    return task(name, labels)


def why_not(name: str, labels: Sequence[str], findings: Sequence[str] = ()) -> str:
    """The sentence that says why the data do not allow the task; "" where they do.

    >>> why_not("multiclass", ["normal", "pneumonia"]).partition(";")[0]
    "task 'multiclass' needs three labels, or two that are not normal"
    """
    try:
        task(name, labels, findings)
    except DataError as error:
        return str(error)
    return ""


def _name_of_abnormal(labels: Sequence[str]) -> str:
    abnormal = [label for label in labels if label != HEALTHY]
    if set(abnormal) <= _KINDS_OF_PNEUMONIA:
        return "pneumonia"
    return abnormal[0] if len(abnormal) == 1 else "abnormal"
