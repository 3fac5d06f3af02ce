"""Brightness: mean grey level by label, of each task."""

from hilum.files import read_json
from hilum.report.section import Section
from hilum.run import Run


def make(run: Run) -> Section | None:
    """None where the stage has left nothing."""
    files = {task: run.task(task).path / "brightness.json" for task in run.tasks}
    rows = [
        (task, label, f"{mean:.1f}")
        for task, file in files.items()
        if file.exists()
        for label, mean in read_json(file)["mean_of"].items()
    ]
    return Section("brightness", "Brightness", "brightness/template.html", {"rows": rows}) if rows else None
