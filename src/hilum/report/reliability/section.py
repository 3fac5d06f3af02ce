"""Reliability: calibration, operating points, prediction sets, selective prediction, and the guard of each task."""

from hilum.artifacts.reliability import Reliability
from hilum.data.tasks import TASKS
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.reliability import calibration, intake, ood, operating, selective, sets
from hilum.report.results import Results, results
from hilum.report.section import Section
from hilum.report.wording import count, percent, plural, sentence, split_name
from hilum.run import Run

TITLE = "Reliability"


def make(run: Run) -> Section | None:
    """None before anything was trained; how to make it where the stage has left nothing.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make(Run.create(place, RunFacts(), {"tasks": {}})) is None
    True
    """
    tasks = [task for name in TASKS if (task := results(run, name)) is not None]
    if not tasks:
        return None
    parts = [
        _part(task, task.folder.reliability()) for task in tasks if task.folder.reliability_file.exists()
    ]
    if not parts:
        return absent(run, stage="reliability", anchor="reliability", title=TITLE)
    values = {
        "lead": " ".join(f"{part['title']}: {part['short']}" for part in parts),
        "absent": [sentence(reason) for reason in run.skip_reasons("reliability")],
        "parts": parts,
        "commands": [commands.stage(run, "reliability"), commands.report(run)],
    }
    return Section("reliability", TITLE, "reliability/template.html", values)


def _part(task: Results, figures: Reliability) -> dict[str, object]:
    """All of one task."""
    return {
        "title": task.title,
        "short": _short(figures),
        "judged": _judged(figures),
        "calibration": calibration.panel(task, figures),
        "operating": operating.table(figures),
        "decision": operating.decision_panel(task, figures),
        "conformal": sets.panel(task, figures),
        "selective": selective.panel(task, figures),
        "ood": ood.table(figures),
        "intake": intake.table(figures),
        "classes": figures.classes,
        "replicates": count(figures.replicates),
    }


def _short(figures: Reliability) -> str:
    before, after = figures.calibration.before.ece.value, figures.calibration.after.ece.value
    sets_in_use = figures.conformal.in_use.figures
    return (
        f"calibration error {percent(before)} as trained, {percent(after)} after calibration. Prediction sets hold"
        f" the true class in {percent(sets_in_use.coverage.value)} of images (nominal coverage"
        f" {percent(figures.conformal.nominal, 0)}). The model abstains on {percent(sets_in_use.abstained.value)}"
        " of images."
    )


def _judged(figures: Reliability) -> str:
    images = plural(figures.n_cases, "image")
    where = f"{split_name(figures.judged_on)} split, {images} of {plural(figures.n_patients, 'patient')}"
    if not figures.cross_fitted:
        return f"Fitted on {plural(figures.n_fitted, 'validation image')}, judged on the {where}."
    return (
        f"Judged on the {where}. There are no test images, so the patients are divided into {figures.folds} parts,"
        " and each part is judged by what was fitted on the others. These images chose the epoch as well, so the"
        " figures are slightly optimistic."
    )
