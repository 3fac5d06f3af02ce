"""hilum study, train, report, recipe: a whole study and what belongs to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.app import (
    Classes,
    Data,
    Devices,
    DicomKey,
    Exclude,
    Healthy,
    Nodes,
    Out,
    PatientFrom,
    Preset,
    Resume,
    RunPath,
    Set,
    ShowNames,
    Skip,
    Source,
    Strategy,
    Tasks,
    ViewsRead,
    app,
    example,
    going_on,
)
from hilum.data.reading_options import as_changes
from hilum.errors import RecipeError

if TYPE_CHECKING:
    from hilum.run import Run


@app.command(epilog=example("hilum study path/to/chest_xray --preset quick --out runs/real"))
def study(
    data: Data = "phantom",
    preset: Preset = "quick",
    out: Out = None,
    task: Tasks = None,
    change: Set = None,
    source: Source = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
    skip_unreadable: Skip = False,
    resume: Resume = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    strategy: Strategy = "ddp",
) -> None:
    """The main job: runs every stage of the recipe, makes the report and prints its path."""
    change = [
        *(change or []),
        *as_changes(source, healthy, patient_from, classes, exclude, views, show_names, dicom_key),
    ]
    with _first_of(devices, num_nodes, strategy) as first:
        if first:
            run = _work(data, preset, out, task, change, skip_unreadable, resume)
            print(run.report_file)
            _end(run)


@app.command(epilog=example("hilum train path/to/chest_xray --task multiclass --preset seed --out runs/seed"))
def train(
    data: Data = "phantom",
    preset: Preset = "quick",
    out: Out = None,
    task: Tasks = None,
    change: Set = None,
    source: Source = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
    skip_unreadable: Skip = False,
    resume: Resume = False,
    devices: Devices = 1,
    num_nodes: Nodes = 1,
    strategy: Strategy = "ddp",
) -> None:
    """Trains and evaluates the network of each task: the stages prepare, train and evaluate of a study.

    Takes the same options as `hilum study` and prints the run folder; it makes no report.
    """
    change = [
        *(change or []),
        *as_changes(source, healthy, patient_from, classes, exclude, views, show_names, dicom_key),
    ]
    with _first_of(devices, num_nodes, strategy) as first:
        if first:
            run = _work(data, preset, out, task, change, skip_unreadable, resume, only=["evaluate"])
            print(run.path)
            _end(run)


@contextmanager
def _first_of(devices: int, machines: int, strategy: str) -> Iterator[bool]:
    """Whether this process does the work of the command; another one takes its part in the trainings."""
    if strategy not in ("ddp", "fsdp"):
        raise RecipeError(f"strategy {strategy!r} is not known", "use ddp or fsdp")
    if devices * machines == 1:
        yield True
        return
    from hilum.threads import wait_passively
    from hilum.training.processes import together

    wait_passively()
    with together(devices, machines, strategy) as processes:
        if not processes.first:
            from hilum.follower import follow

            follow(processes)
        yield processes.first


def _work(
    data: str,
    preset: str,
    out: Path | None,
    tasks: list[str] | None,
    changes: list[str],
    skip_unreadable: bool,
    resume: bool,
    only: list[str] | None = None,
) -> "Run":
    from hilum import runner

    changes = [*changes, *(["skip_unreadable=true"] if skip_unreadable else [])]
    folder = out or runner.default_out(data, runner.load_recipe(preset).name)
    with going_on(f"go on with the same command and --resume (run folder {folder})"):
        return runner.study(
            data,
            preset,
            folder,
            tasks=tasks or [],
            changes=changes,
            resume=resume,
            only=only or [],
            report=only is None,
        )


def _end(run: "Run") -> None:
    """Exit code 1 when a stage failed because of a defect: the other stages and the report are there."""
    if run.failed_stages:
        typer.echo(
            f"hilum: failed: {', '.join(run.failed_stages)}; tracebacks in {run.path / 'errors'}", err=True
        )
        raise typer.Exit(1)


@app.command(epilog=example("hilum report runs/real"))
def report(run: RunPath) -> None:
    """Makes the report again from what is in the run folder and prints its path; needs no torch."""
    from hilum.report.build import build_report
    from hilum.run import Run

    print(build_report(Run(run)))


@app.command(epilog=example("hilum recipe best --set multiclass.training.epochs=30 > mine.yaml"))
def recipe(
    preset: Annotated[
        str, typer.Argument(metavar="PRESET", help="quick, seed, best, or a recipe file (.yaml).")
    ] = "quick",
    change: Set = None,
) -> None:
    """Prints a recipe with every setting written out, to keep or to change."""
    import yaml

    from hilum.recipe import load_recipe

    print(
        yaml.safe_dump(load_recipe(preset, change or []).to_yaml(), sort_keys=False, allow_unicode=True),
        end="",
    )
