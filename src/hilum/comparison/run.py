"""`hilum compare`: trains what is missing of a grid, then writes the table. Stopping it loses one epoch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from hilum.comparison import table as t
from hilum.comparison import train
from hilum.comparison.folds import HELD, held_out, held_out_alike
from hilum.comparison.grid import Cell, Grid
from hilum.comparison.search import judge_with, search
from hilum.data.cache import UnreadableFiles
from hilum.data.cases import Cases
from hilum.data.facts import facts_table
from hilum.data.sources import open_source
from hilum.data.split import Split
from hilum.data.tasks import Task, task
from hilum.errors import RunError
from hilum.files import write_json, write_table
from hilum.progress import advancing, say
from hilum.report.compared import build_comparison_page
from hilum.run import ComparisonFolder


@dataclass(frozen=True)
class Wish:
    """What the user asked for. `only`: names of the cells to train now; the table shows what is there.
    `trials`: how many draws of the grid's section `search`; `changes`: those of --set, for the draws."""

    data: str
    grid: Grid
    cells: Sequence[Cell]
    out: Path
    grid_file: str = "alternatives"
    source: str | None = None
    skip_unreadable: bool = False
    only: Sequence[str] = ()
    trials: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)


def compare(wish: Wish) -> dict[str, Any]:
    """Trains each cell with each seed on each fold, unless it is done, and writes compare.csv, compare.json
    and index.html. Gives compare.json back.

    A training that fails costs its cell a sentence in the table, and the others nothing. DataError when a
    label has too few patients for the folds, RecipeError for a model or option that does not exist, RunError
    when `out` belongs to other data: all before anything is trained.
    """
    from hilum.models import check_architecture

    for cell in wish.cells:
        check_architecture(cell.recipe.model.name, cell.recipe.model.options)
    cases = read_cases(wish.data, wish.source, wish.skip_unreadable, [cell.recipe for cell in wish.cells])
    one = task(wish.grid.task, cases.labels)
    splits = {fold: _split(wish.grid, cases, fold) for fold in wish.grid.held_out}
    folder = ComparisonFolder(wish.out)
    _same_data(folder, cases, wish.grid)
    errors = _train_all(wish, folder, cases, one, splits)
    if wish.trials:
        found = search(
            wish.grid,
            wish.trials,
            judge_with(lambda cell: _trainings(wish, cell, folder, cases, one, splits)),
            dict(wish.changes),
        )
        wish = replace(wish, cells=[*wish.cells, *found])
    return write_results(wish, folder, cases, one, splits, errors)


def read_cases(data: str, source: str | None, skip: bool, recipes: Iterable[Any]) -> Cases:
    """The cases, each decoded once at every size that the recipes need."""
    cases = open_source(data, source)
    say(f"{len(cases)} radiographs from {cases.root} ({cases.source}), labels: {', '.join(cases.labels)}")
    for recipe in recipes:
        try:
            train.cache_of(cases, recipe)
        except UnreadableFiles as error:
            if not skip:
                raise
            say(f"  {len(error.reasons)} unreadable files are left out")
            cases = cases.where(~cases.table["case_id"].isin(set(error.reasons)))
            train.cache_of(cases, recipe)
    return cases


def _split(grid: Grid, cases: Cases, fold: int) -> Split:
    divide = held_out_alike if grid.scheme == "acquisition" else held_out
    return divide(cases, grid.split_seed, fold, grid.folds, grid.val_fraction)


def _same_data(folder: ComparisonFolder, cases: Cases, grid: Grid) -> None:
    """RunError when the folder was made from other data, or holds something else."""
    known = folder.facts()
    if known is None and folder.path.is_dir() and any(folder.path.iterdir()):
        raise RunError(f"{folder.path} already holds files", "choose another --out")
    if known is not None and known["data_digest"] != cases.digest:
        raise RunError(
            f"{folder.path} was made from other data (digest {known['data_digest'][:8]}, now "
            f"{cases.digest[:8]})",
            "choose another --out",
        )
    folder.write_facts({"data_digest": cases.digest, "grid": grid.model_dump(mode="json")})


def _train_all(
    wish: Wish, folder: ComparisonFolder, cases: Cases, one: Task, splits: dict[int, Split]
) -> dict[str, str]:
    """Cell -> why its training failed. Seed by seed, so that a comparison that was stopped has all cells."""
    errors: dict[str, str] = {}
    wanted = [cell for cell in wish.cells if not wish.only or cell.name in wish.only]
    total = len(wanted) * len(wish.grid.seeds) * len(splits)
    done = 0
    for seed in wish.grid.seeds:
        for fold, split in splits.items():
            for cell in wanted:
                done += 1
                if cell.name in errors:
                    continue
                one_training = train.training_of(
                    cell, seed, fold, split, cases, one, folder.path, wish.grid.keep_models
                )
                if train.finished(one_training) is None:
                    say(f"{done}/{total}  {one_training.name}")
                try:
                    train.run(one_training)
                except Exception as error:  # whatever it is, the other cells go on
                    errors[cell.name] = train.failure(error)
                    say(f"  {cell.name} failed: {errors[cell.name]}")
    return errors


def _trainings(
    wish: Wish,
    cell: Cell,
    folder: ComparisonFolder,
    cases: Cases,
    one: Task,
    splits: dict[int, Split],
) -> list[train.Training]:
    return [
        train.training_of(cell, seed, fold, split, cases, one, folder.path, wish.grid.keep_models)
        for seed in wish.grid.seeds
        for fold, split in splits.items()
    ]


def write_results(
    wish: Wish,
    folder: ComparisonFolder,
    cases: Cases,
    one: Task,
    splits: dict[int, Split],
    errors: dict[str, str],
) -> dict[str, Any]:
    """Gathers what is finished into compare.csv, compare.json and the page."""
    rows, figures, tables = [], {}, {}
    with advancing("what each image gives away without a lung") as advance:
        facts = facts_table(cases, advance)
    for cell in wish.cells:
        trainings = [
            (seed, fold, train.training_of(cell, seed, fold, split, cases, one, folder.path, False))
            for seed in wish.grid.seeds
            for fold, split in splits.items()
        ]
        known = [(*which, train.finished(which[2])) for which in trainings]
        mine = [_row(cell, seed, fold, found) for seed, fold, _, found in known if found]
        rows += mine
        if not mine:
            continue
        whole = len(mine) == len(trainings)
        if whole:
            tables[cell.name] = t.pooled([train.predictions(one_) for _, _, one_, _ in known], one.classes)
        figures[cell.name] = t.cell_figures(
            pd.DataFrame(mine), tables.get(cell.name), one, facts, wish.grid.replicates
        )
    against = t.choose_against(wish.grid.against, [cell.name for cell in wish.cells], figures)
    compared = t.tests(tables, against, one, wish.grid.replicates) if against else {}
    result = {
        "name": wish.grid.name,
        "about": wish.grid.about,
        "grid_file": wish.grid_file,
        "task": one.name,
        "classes": list(one.classes),
        "data": {"given": wish.data, "source": cases.source, "digest": cases.digest, "n_cases": len(cases)},
        "folds": {
            "of": wish.grid.folds,
            "held_out": list(splits),
            "seed": wish.grid.split_seed,
            "scheme": wish.grid.scheme,
        },
        "seeds": list(wish.grid.seeds),
        "replicates": wish.grid.replicates,
        "against": against,
        "cells": [
            {
                "name": cell.name,
                "changes": cell.changes,
                "recipe": cell.recipe.model_dump(mode="json"),
                "error": errors.get(cell.name),
                "expected": len(wish.grid.seeds) * len(splits),
                **figures.get(cell.name, {}),
                "paired": compared.get(cell.name),
            }
            for cell in wish.cells
        ],
    }
    write_table(folder.table_file, pd.DataFrame(rows if rows else [], columns=None if rows else ["cell"]))
    write_json(folder.figures_file, result)
    build_comparison_page(folder)
    return result


def _row(cell: Cell, seed: int, fold: int, figures: dict[str, Any]) -> dict[str, Any]:
    """A row of compare.csv."""
    held, test = figures[HELD], figures.get("test") or {}
    return {
        "cell": cell.name,
        "seed": seed,
        "fold": fold,
        **held,
        **({f"test_{name}": test.get(name) for name in ("n", "accuracy", "auroc")} if test else {}),
        "parameters": figures["parameters"],
        "seconds": figures["seconds"],
        "epochs": figures["epochs"],
        "best_epoch": figures["best_epoch"],
    }
