"""`hilum compare`: trains what is missing of a grid, then writes the table. Stopping it loses one epoch.
`hilum compare --leakage`: the leakage with a whole recipe instead of the short one of a study."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.artifacts.base import Figure
from hilum.artifacts.comparison import (
    CellResult,
    CellRow,
    ComparedData,
    Comparison,
    Folds,
    MadeFrom,
    PairedDifference,
    TrainingResult,
)
from hilum.artifacts.leakage import Leakage
from hilum.comparison import train
from hilum.comparison.folds import held_out, held_out_acquisition, held_out_ordered
from hilum.comparison.grid import Cell, Grid, Plan
from hilum.comparison.leakage import measure_leakage
from hilum.comparison.search import judge_with, search
from hilum.comparison.spread import EngineName, engine_of, train_all
from hilum.comparison.table import cell_result, choose_against, paired_differences, pooled
from hilum.data.cache import UnreadableFiles
from hilum.data.cases import Cases
from hilum.data.facts import facts_table
from hilum.data.reading_options import ReadingOptions
from hilum.data.show import say_reading
from hilum.data.sources import open_source
from hilum.data.split import Split
from hilum.data.tasks import Task, class_task
from hilum.errors import RunError
from hilum.files import write_table
from hilum.folders import ComparisonFolder, LeakageFolder
from hilum.models import check_architecture
from hilum.progress import advancing, say
from hilum.training.config import TaskRecipe

DIVIDED = {"patient": held_out, "acquisition": held_out_acquisition, "ordered": held_out_ordered}
"""How the scheme of a grid makes a fold."""


@dataclass(frozen=True)
class Request:
    """What the user wants. `only`: names of the cells to train now; the table shows what is there. `trials`: how
    many draws of the grid's section `search`; `grid_file`: as on the command line, for the page; `options`: how the
    data is read; `engine` and `workers`: see `hilum.comparison.spread.engine_of`."""

    data: str
    plan: Plan
    out: Path
    grid_file: str = "alternatives"
    source: str | None = None
    skip_unreadable: bool = False
    only: Sequence[str] = ()
    trials: int = 0
    options: ReadingOptions | None = None
    engine: EngineName = "local"
    workers: int | None = None


@dataclass(frozen=True)
class Bench:
    """What all trainings of a comparison share."""

    plan: Plan
    folder: ComparisonFolder
    cases: Cases
    task: Task
    splits: Mapping[int, Split]

    def trainings(self, cell: Cell) -> list[tuple[int, int, train.Training]]:
        """Seed, fold and training, for each of a cell."""
        return [
            (
                seed,
                fold,
                train.training_of(cell, seed, fold, split, self.cases, self.task, self.folder.path, images),
            )
            for images in [self.plan.grid.counterfactual]
            for seed in self.plan.grid.seeds
            for fold, split in self.splits.items()
        ]


def compare(request: Request) -> Comparison:
    """Trains each cell with each seed on each fold, unless it is done, and writes compare.csv and compare.json.
    Gives compare.json back.

    A training that fails costs its cell a sentence in the table, and the others nothing. DataError when a
    label has too few patients for the folds, RecipeError for a model or option that does not exist, RunError
    when `out` belongs to other data or ray is not installed: all before anything is trained.
    """
    plan, engine = request.plan, engine_of(request.engine, request.workers)
    for cell in plan.cells:
        check_architecture(cell.recipe.model.name, cell.recipe.model.options)
    recipes = [cell.recipe for cell in plan.cells]
    cases = read_cases(request.data, request.source, request.skip_unreadable, recipes, request.options)
    splits = {fold: _split(plan.grid, cases, fold) for fold in plan.grid.held_out}
    bench = Bench(
        plan, ComparisonFolder(request.out), cases, class_task(plan.grid.task, cases.labels), splits
    )
    _check_data(bench)
    wanted = [cell for cell in plan.cells if not request.only or cell.name in request.only]
    errors = train_all({cell.name: _trainings(bench, cell) for cell in wanted}, engine)
    if request.trials:
        judge = judge_with(lambda cell: _trainings(bench, cell), engine)
        bench = replace(bench, plan=plan.with_cells(search(plan, request.trials, judge)))
    return write_results(bench, request, errors)


def full_leakage(
    data: str,
    name: str,
    recipe: TaskRecipe,
    folds: int,
    out: Path,
    replicates: int,
    source: str | None = None,
    skip_unreadable: bool = False,
    options: ReadingOptions | None = None,
) -> Leakage:
    """Trains a whole recipe with patients apart and by image, and writes figures.json. What is finished is not
    trained again. RunError when `out` holds something else.

    >>> import tempfile
    >>> from hilum.recipe import load_recipe
    >>> recipe = load_recipe("quick").tasks["binary"]
    >>> with tempfile.TemporaryDirectory() as place:
    ...     _ = (Path(place) / "notes.txt").write_text("mine")
    ...     full_leakage("phantom", "binary", recipe, 2, Path(place), replicates=0)
    Traceback (most recent call last):
    hilum.errors.RunError: ... already holds files; choose another --out
    """
    folder = LeakageFolder(out)
    if out.is_dir() and any(out.iterdir()) and not folder.way("patient").is_dir():
        raise RunError(f"{out} already holds files", "choose another --out")
    cases = read_cases(data, source, skip_unreadable, [recipe], options)
    return measure_leakage(folder, cases, class_task(name, cases.labels), recipe, folds, replicates)


def read_cases(
    data: str,
    source: str | None,
    skip: bool,
    recipes: Iterable[TaskRecipe],
    options: ReadingOptions | None = None,
) -> Cases:
    """The cases, each decoded once at every size that the recipes need. DataError for unreadable files, which
    are left out with `skip`."""
    cases = open_source(data, source, options)
    say_reading(cases)
    for recipe in recipes:
        try:
            train.cache_of(cases, recipe)
        except UnreadableFiles as error:
            if not skip:
                raise UnreadableFiles(cases.by_original_paths(), error.reasons) from None
            say(f"  {len(error.reasons)} unreadable files are left out")
            cases = cases.where(~cases.table["case_id"].isin(set(error.reasons)))
            train.cache_of(cases, recipe)
    return cases


def _split(grid: Grid, cases: Cases, fold: int) -> Split:
    return DIVIDED[grid.scheme](cases, 0, fold, grid.folds)


def _trainings(bench: Bench, cell: Cell) -> list[train.Training]:
    """The trainings of a cell alone."""
    return [training for *_, training in bench.trainings(cell)]


def _check_data(bench: Bench) -> None:
    """RunError when the folder was made from other data, or holds something else."""
    folder, digest = bench.folder, bench.cases.digest
    known = folder.made_from()
    if known is None and folder.path.is_dir() and any(folder.path.iterdir()):
        raise RunError(f"{folder.path} already holds files", "choose another --out")
    if known is not None and known.data_digest != digest:
        raise RunError(
            f"{folder.path} was made from other data (digest {known.data_digest[:8]}, now {digest[:8]})",
            "choose another --out",
        )
    before = known.grid.get("scheme", "patient") if known else bench.plan.grid.scheme
    if before != bench.plan.grid.scheme:
        raise RunError(
            f"{folder.path} holds trainings of the scheme {before!r}, not {bench.plan.grid.scheme!r}",
            "choose another --out",
        )
    folder.write_made_from(MadeFrom(data_digest=digest, grid=bench.plan.grid.model_dump(mode="json")))


def write_results(bench: Bench, request: Request, errors: Mapping[str, str]) -> Comparison:
    """Gathers what is finished into compare.csv and compare.json, and gives compare.json back. `errors`: cell ->
    why its training failed."""
    grid, cells = bench.plan.grid, bench.plan.cells
    with advancing("acquisition figures of each image") as advance:
        facts = facts_table(bench.cases, advance)
    rows: list[dict[str, Any]] = []
    results: dict[str, CellResult] = {}
    tables: dict[str, pd.DataFrame] = {}
    for cell in cells:
        own, table = _gather(bench, cell)
        rows += own
        if table is not None:
            tables[cell.name] = table
        if own:
            results[cell.name] = cell_result(pd.DataFrame(own), table, bench.task, facts, grid.replicates)
    against = choose_against(grid.against, [cell.name for cell in cells], results)
    paired = paired_differences(tables, against, bench.task, grid.replicates) if against else {}
    comparison = _comparison(bench, request, against)
    comparison.cells = [_cell_row(bench, cell, errors, results, paired) for cell in cells]
    write_table(
        bench.folder.table_file, pd.DataFrame(rows if rows else [], columns=None if rows else ["cell"])
    )
    comparison.save(bench.folder.figures_file)
    return comparison


def _gather(bench: Bench, cell: Cell) -> tuple[list[dict[str, Any]], pd.DataFrame | None]:
    """Rows of compare.csv of a cell's finished trainings; its pooled predictions where all are finished."""
    trainings = bench.trainings(cell)
    finished = [(seed, fold, train.finished(training)) for seed, fold, training in trainings]
    rows = [_row(cell, seed, fold, result) for seed, fold, result in finished if result]
    if len(rows) < len(trainings):
        return rows, None
    return rows, pooled(
        [train.predictions(training) for training in _trainings(bench, cell)], bench.task.classes
    )


def _row(cell: Cell, seed: int, fold: int, result: TrainingResult) -> dict[str, Any]:
    """A row of compare.csv."""
    test, moved = result.test, result.counterfactual_auroc
    held = {name: _plain(entry) for name, entry in result.held.set_fields().items()}
    return {
        "cell": cell.name,
        "seed": seed,
        "fold": fold,
        **held,
        **(
            {"test_n": test.n, "test_accuracy": test.accuracy.value, "test_auroc": test.auroc.value}
            if test
            else {}
        ),
        **({} if moved is None else {"counterfactual_auroc": moved.value}),
        "parameters": result.parameters,
        "seconds": result.seconds,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
    }


def _plain(entry: Figure | int) -> float | int | None:
    """The number alone: a row of compare.csv is one training, whose figures.json has the intervals."""
    return entry.value if isinstance(entry, Figure) else entry


def _comparison(bench: Bench, request: Request, against: str | None) -> Comparison:
    """compare.json without its cells."""
    grid, cases = bench.plan.grid, bench.cases
    return Comparison(
        name=grid.name,
        about=grid.about,
        grid_file=request.grid_file,
        task=bench.task.name,
        classes=list(bench.task.classes),
        data=ComparedData(given=request.data, source=cases.source, digest=cases.digest, n_cases=len(cases)),
        folds=Folds(of=grid.folds, held_out=list(bench.splits), scheme=grid.scheme),
        seeds=list(grid.seeds),
        replicates=grid.replicates,
        against=against,
    )


def _cell_row(
    bench: Bench,
    cell: Cell,
    errors: Mapping[str, str],
    results: Mapping[str, CellResult],
    paired: Mapping[str, PairedDifference],
) -> CellRow:
    result = results.get(cell.name)
    if result is not None:
        result.paired = paired.get(cell.name)
    return CellRow(
        name=cell.name,
        changes=cell.changes,
        recipe=cell.recipe.model_dump(mode="json"),
        error=errors.get(cell.name),
        expected=len(bench.plan.grid.seeds) * len(bench.splits),
        result=result,
    )
