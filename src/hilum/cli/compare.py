"""hilum compare: grids of recipes, and leakage of one recipe."""

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.app import (
    Classes,
    Data,
    DicomKey,
    Engine,
    Exclude,
    Healthy,
    PatientFrom,
    ShowNames,
    Skip,
    Source,
    ViewsRead,
    app,
    example,
    going_on,
)
from hilum.data.reading_options import ReadingOptions, from_command
from hilum.errors import RecipeError

if TYPE_CHECKING:
    from hilum.comparison.grid import Plan

Trained = Annotated[
    Engine, typer.Option("--engine", help="Who trains. local: this machine; ray: a Ray cluster.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        help="Trainings at once, with one thread each. Default: local, one with all threads; ray, one per CPU or GPU.",
        min=1,
    ),
]


class Scheme(StrEnum):
    """What each held-out part of a grid has in common."""

    patient = "patient"
    acquisition = "acquisition"
    ordered = "ordered"


@app.command(epilog=example("hilum compare path/to/chest_xray --grid alternatives --out runs/alternatives"))
def compare(
    data: Data = "phantom",
    grid: Annotated[
        str, typer.Option("--grid", help="A grid file (.yaml), or the name of a packaged one.")
    ] = "alternatives",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The folder to write or to go on with. Default: runs/DATA-GRID."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Change one setting of every cell, for example training.epochs=3. Repeatable."
        ),
    ] = None,
    search: Annotated[
        int, typer.Option("--search", help="Number of trials to draw from the ranges of the grid.", min=0)
    ] = 0,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Train only this cell. Default: all cells. Repeatable.")
    ] = None,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="Measure what a split by image changes, instead of a grid.")
    ] = False,
    preset: Annotated[
        str, typer.Option("--preset", help="With --leakage: the recipe to train, as in `hilum study`.")
    ] = "quick",
    task: Annotated[
        str | None,
        typer.Option(
            "--task", help="binary or multiclass. Default: that of the grid; with --leakage, the last."
        ),
    ] = None,
    scheme: Annotated[
        Scheme | None,
        typer.Option(
            "--scheme",
            help="Held-out parts: patients, acquisition groups, or neighbours in case number, the lowest first.",
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(
            "--folds", help="With --leakage: the number of folds to train for each way of splitting.", min=2
        ),
    ] = 2,
    source: Source = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
    skip_unreadable: Skip = False,
    engine: Trained = Engine.local,
    workers: Workers = None,
) -> None:
    """Compares many recipes on the same patient-disjoint folds: one table with spread and paired tests.

    What is finished in --out is not trained again; a training that was stopped goes on. With --out RUN/compare
    the report of that run shows the table.
    """
    options = from_command(source, healthy, patient_from, classes, exclude, views, show_names, dicom_key)
    if leakage:
        if workers is not None or engine is not Engine.local:
            raise RecipeError("--leakage trains in this process", "leave --engine and --workers out")
        if scheme is not None:
            raise RecipeError("--leakage compares patients and images", "leave --scheme out")
        _full_leakage(data, preset, task, folds, change or [], out, options, skip_unreadable)
        return
    from hilum.comparison.grid import load_grid
    from hilum.recipe import load_recipe

    given = scheme.value if scheme else None
    plan = load_grid(grid, lambda name: load_recipe(name).tasks, change or [], task, given)
    _grid(data, grid, plan, out, search, only or [], options, skip_unreadable, engine, workers)


def _grid(
    data: str,
    grid: str,
    plan: "Plan",
    out: Path | None,
    search: int,
    only: list[str],
    options: ReadingOptions,
    skip_unreadable: bool,
    engine: Engine,
    workers: int | None,
) -> None:
    from hilum.comparison.grid import check_cells
    from hilum.runner import default_out

    check_cells(plan.cells, only)  # a fault is found before torch is loaded
    from hilum.comparison.run import Request
    from hilum.comparison.run import compare as run_comparison
    from hilum.comparison.show import comparison_text
    from hilum.report.comparison.section import build_comparison_page

    folder = out or default_out(data, plan.grid.name)
    request = Request(
        data, plan, folder, grid, None, skip_unreadable, only, search, options, engine.value, workers
    )
    with going_on(f"the same command goes on (folder {folder})"):
        result = run_comparison(request)
    print(comparison_text(result))
    print(build_comparison_page(folder))


def _full_leakage(
    data: str,
    preset: str,
    task: str | None,
    folds: int,
    changes: list[str],
    out: Path | None,
    options: ReadingOptions,
    skip_unreadable: bool,
) -> None:
    from hilum.recipe import load_recipe

    recipe = load_recipe(preset)
    name = task or [*recipe.tasks][-1]
    recipe = load_recipe(preset, [f"{name}.{item}" for item in changes])
    from hilum.comparison.run import full_leakage
    from hilum.comparison.show import leakage_text
    from hilum.report.leakage.section import build_leakage_page
    from hilum.runner import choose_tasks, default_out

    folder = out or default_out(data, f"{recipe.name}-leakage")
    trained = choose_tasks(recipe, [name]).tasks[name]
    with going_on(f"the same command goes on (folder {folder})"):
        figures = full_leakage(
            data, name, trained, folds, folder, recipe.replicates, None, skip_unreadable, options
        )
    print(leakage_text(figures))
    words = ["hilum", "compare", data, "--leakage", "--task", name, "--folds", str(folds)]
    print(build_leakage_page(folder, shlex.join([*words, "--out", str(folder)])))
