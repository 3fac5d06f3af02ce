"""One section per task: performance, errors, calibration, comparison with the published baseline, training."""

from typing import Any

from hilum.data.tasks import possible_tasks
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.explanations.reading import mistake_maps_note, read_explanations
from hilum.report.figures import look
from hilum.report.performance import tables
from hilum.report.performance.errors import most_confident_correct, most_confident_errors
from hilum.report.performance.panels import calibration_panels, operating_panels, training_panels
from hilum.report.performance.subgroups import acquisition_table, subgroup_table
from hilum.report.published import comparison
from hilum.report.results import Results, headline, results
from hilum.report.section import Section
from hilum.report.titles import title_in
from hilum.report.wording import count, listing, plural, split_name
from hilum.run import Run


def make_binary(run: Run) -> Section | None:
    """Normal against everything else.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from hilum.data.cases import Cases
    >>> image = {"case_id": "a", "path": "a.png", "label": "normal", "patient": "p", "split": "", "digest": "0"}
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     Cases.checked(pd.DataFrame([image]), "table", Path()).write(run.cases_file)
    ...     make_binary(run) is None
    True
    """
    return task_section(run, "binary")


def make_multiclass(run: Run) -> Section | None:
    """Normal, bacteria, virus: the section as `task_section` makes it."""
    return task_section(run, "multiclass")


def task_section(run: Run, name: str) -> Section | None:
    """The section of one task; how to make it where the data allow it; None where they do not.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from hilum.data.cases import Cases
    >>> rows = [{"case_id": label, "path": "a.png", "label": label, "patient": label, "split": "", "digest": label}
    ...     for label in ("normal", "virus")]
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(argv=["hilum", "study", "phantom", "--out", "mine"]), {"tasks": {}})
    ...     Cases.checked(pd.DataFrame(rows), "table", Path()).write(run.cases_file)
    ...     task_section(run, "binary").values["command"]
    'hilum study phantom --out mine --task binary --resume'
    """
    task = results(run, name)
    if task is None:
        return _absent(run, name) if name in possible_tasks(run.cases().labels) else None
    paths = run.cases().table.set_index("case_id")["path"]
    maps = read_explanations(run, name)
    values = {
        "lead": headline(task),
        "warnings": _warnings(task),
        "confusion": tables.confusion(task),
        "operating": operating_panels(task),
        "calibration": calibration_panels(task),
        "acquisition": acquisition_table(task),
        "errors": most_confident_errors(task, paths, maps),
        "map_caption": mistake_maps_note(maps),
        "correct": most_confident_correct(task, paths),
        "legend": [{"name": each, "colour": look(each, task.classes).colour} for each in task.classes],
        "training": training_panels(task),
        "card": tables.card(task),
        "figures": tables.all_figures(task),
        "per_class": tables.per_class(task),
        "subgroups": subgroup_table(task),
        "baseline": comparison(task),
        "has_normal": task.has_normal,
        "size": task.size,
        "split": split_name(task.split),
        "replicates": count(task.block.replicates),
        "commands": [commands.evaluate(run), commands.report(run)],
    }
    return Section(name, task.title, "performance/template.html", values)


def _absent(run: Run, name: str) -> Section:
    if run.task(name).card_file.exists():
        return absent(run, stage="evaluate", anchor=name, title=title_in(run, name))
    values: dict[str, Any] = {
        "sentence": "This task is not trained yet.",
        "command": commands.train_task(run, name),
    }
    return Section(name, title_in(run, name), "absent.html", values)


def _warnings(task: Results) -> list[str]:
    """What makes the figures optimistic."""
    warnings = []
    if task.split == "val":
        warnings.append(
            f"These are validation figures: the same images chose {listing(task.chosen_on_val)}, so they are"
            " slightly optimistic. Test images take part in no choice; a figure on them is the one to quote."
        )
    if task.division and task.division.leaky:
        shared = task.division.shared_patients
        what = (
            f"{plural(shared, 'patient')} {'has' if shared == 1 else 'have'} images in training and held-out splits"
            if shared
            else "the same images are in training and held-out splits"
        )
        warnings.append(f"The split has leakage: {what}, so the figures are better than on new patients.")
    return warnings
