"""Tables of subgroups and acquisition groups of a task."""

from collections.abc import Mapping
from dataclasses import dataclass

from hilum.artifacts.metrics import AcquisitionGroup, Gap, Subgroup, Subgroups
from hilum.report.cells import EMPTY, Cell, cell
from hilum.report.results import Results
from hilum.report.stated import stated
from hilum.report.wording import NOTHING, count, listing, plural, sentence

KINDS = {
    "size": "Size of the file's picture",
    "exposure": "Brightness",
    "label": "Label",
    "images": "Images of the patient",
    "sex": "Sex",
    "age": "Age",
    "site": "Site",
    "view": "View",
}
"""The kinds of groups and their names."""


ALPHA = 0.05
"""The p-value from which chance explains a gap."""


@dataclass(frozen=True)
class Row:
    """One group of images. `about`: its limits; `mark`: a remark of its own."""

    name: str
    images: str
    accuracy: Cell
    auroc: Cell
    about: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """Rows and what they show in one sentence; `note`: what is absent, and why."""

    sentence: str
    rows: list[Row]
    note: str = ""


def subgroup_table(task: Results) -> Table | None:
    """Subgroups of the held-out images; None where there are too few patients for any.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.metrics import Metrics, SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> dark = Subgroup(name="dark", about="mean below 90", n_cases=5, n_patients=4,
    ...     accuracy=Figure(value=0.8, k=4, n=5), auroc=Figure(value=0.9))
    >>> kinds = {"exposure": Subgroups(groups=[dark], gap=Gap(value=0.1, best="bright", worst="dark", p=0.5))}
    >>> block = SplitMetrics.model_construct(subgroups=kinds)
    >>> task = Results("binary", ModelCard.model_construct(), Metrics({"test": block}), *[pd.DataFrame()] * 2, None,
    ...     "test", TaskFolder(Path("binary")))
    >>> row = subgroup_table(task).rows[0]
    >>> row.name, row.accuracy.counts, row.mark
    ('Brightness: dark', '4/5', '10.0 points, bright against dark')
    """
    kinds = task.block.subgroups
    if not kinds:
        return None
    rows = [
        _subgroup(kind, group, entry.gap if place == 0 else None)
        for kind, entry in kinds.items()
        for place, group in enumerate(entry.groups)
    ]
    return Table(gap_sentence(kinds), rows)


def gap_sentence(kinds: Mapping[str, Subgroups]) -> str:
    """Which kinds of images show a gap that chance does not explain.

    >>> gap = Gap(value=0.1, low=0.05, high=0.2, best="dark", worst="bright", p=0.001, p_holm=0.002)
    >>> gap_sentence({"exposure": Subgroups(groups=[], gap=gap)})
    'Accuracy differs by brightness (dark higher than bright).'
    """
    different = [
        f"{KINDS[kind].lower()} ({entry.gap.best} higher than {entry.gap.worst})"
        for kind, entry in kinds.items()
        if entry.gap.p_holm is not None and entry.gap.p_holm < ALPHA
    ]
    if not different:
        return "No gap in accuracy between subgroups exceeds what chance explains."
    return f"Accuracy differs by {listing(different)}."


def _subgroup(kind: str, group: Subgroup, gap: Gap | None) -> Row:
    return Row(
        name=f"{KINDS[kind]}: {group.name}",
        about=group.about,
        images=f"{plural(group.n_cases, 'image')} of {plural(group.n_patients, 'patient')}",
        accuracy=cell("accuracy", group.accuracy),
        auroc=cell("auroc", group.auroc),
        mark=_gap(gap) if gap else "",
    )


def _gap(gap: Gap) -> str:
    """The gap in percentage points."""
    points = f"{100 * gap.value:.1f} points, {gap.best} against {gap.worst}"
    if gap.low is None or gap.high is None:
        return points if gap.value else NOTHING
    low, high = (f"{100 * end:.1f}".replace("-", "−") for end in (gap.low, gap.high))
    return f"{points} ({low} to {high})"


def acquisition_table(task: Results) -> Table | None:
    """Shortcut-matched pairs, shortcut-conflicting images and acquisition groups, and the worst of them.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.artifacts.metrics import Metrics, Shift, SplitMetrics
    >>> from hilum.folders import TaskFolder
    >>> from hilum.artifacts.card import ModelCard
    >>> shift = Shift(groups=[], worst_group=None, note="no image has a partner")
    >>> block = SplitMetrics.model_construct(shift=shift)
    >>> folder = TaskFolder(Path("binary"))
    >>> acquisition_table(Results("binary", ModelCard.model_construct(), Metrics({"test": block}),
    ...     *[pd.DataFrame()] * 2, None, "test", folder))
    Table(sentence='', rows=[], note='No image has a partner.')
    """
    shift = task.block.shift
    if shift is None:
        return None
    worst = shift.worst_group
    rows = [
        Row(
            name=group.name,
            images=f"{_images(group, task.has_normal)}, {plural(group.patients, 'patient')}",
            accuracy=cell("accuracy", group.accuracy),
            auroc=cell("auroc", group.auroc) if group.auroc else EMPTY,
            mark="the worst" if worst and worst.name == group.name else "",
        )
        for group in shift.groups
    ]
    words = f"Worst group: {worst.name}, accuracy {stated(worst)}." if worst else ""
    return Table(words, rows, sentence(shift.note))


def _images(group: AcquisitionGroup, has_normal: bool) -> str:
    """How many images there are, of each side where one class is healthy."""
    if not has_normal:
        return plural(group.healthy + group.abnormal, "image")
    return f"{count(group.healthy)} normal, {count(group.abnormal)} abnormal"
