"""Hyper-parameter search on the folds of a grid: `hilum compare --search N`. Needs the extra `search`.

The grid's section `search` names ranges; each trial draws from them, after the first ten guided by the
trials before (tree-structured Parzen estimator of optuna; Bergstra et al., NeurIPS 2011). It is judged by its
validation figure, the recipe's `training.monitor`, mean over folds and seeds. The held-out folds take no part
in the search, so their figures in the table are those of images that chose nothing.

The draws hang on the split seed and on the trials' figures alone. So a search that was stopped draws the same
trials again and finds them trained.
"""

from collections.abc import Callable
from importlib import import_module
from statistics import fmean
from typing import Any

from hilum.comparison import train
from hilum.comparison.grid import Cell, Grid, Range, cell_of
from hilum.errors import RecipeError, RunError
from hilum.progress import say

Judge = Callable[[Cell], float | None]
"""The mean validation figure of a cell, higher is better; None when its training failed."""


def search(grid: Grid, trials: int, judge: Judge, changes: dict[str, Any] | None = None) -> list[Cell]:
    """Draws and judges `trials` cells, named "trial 1" and so on. `changes`: those of --set.

    RecipeError when the grid has no section `search`, RunError when optuna is missing or all trials failed.
    """
    if not grid.search:
        raise RecipeError(f"grid {grid.name!r} has no section 'search'", "name ranges; see docs/compare.md")
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=grid.split_seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    cells, best = [], None
    for number in range(1, trials + 1):
        trial = study.ask()
        drawn = {key: _draw(trial, key, config) for key, config in grid.search.items()}
        cell = cell_of(grid, f"trial {number}", drawn, changes or {})
        value = judge(cell)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
            best = value if best is None else max(best, value)
        said = "failed" if value is None else f"{value:.4f} on validation (best {best:.4f})"
        say(f"  trial {number}/{trials}: {said}  {drawn}")
        cells.append(cell)
    if trials and best is None:
        raise RunError("all trials of the search failed", "look at the sentences above")
    return cells


def validation_figure(figures: list[dict[str, Any]]) -> float:
    """Mean over trainings of the figure by which the epoch was chosen, turned so that higher is better.

    >>> validation_figure([{"val": {"name": "val_loss", "value": value}} for value in (0.5, 0.3)])
    -0.4
    """
    from hilum.training.fit import SMALLER_IS_BETTER

    name = figures[0]["val"]["name"]
    mean = fmean(one["val"]["value"] for one in figures)
    return -mean if name in SMALLER_IS_BETTER else mean


def judge_with(trainings_of: Callable[[Cell], list[train.Training]]) -> Judge:
    """A judge that trains what is missing of a cell."""

    def judge(cell: Cell) -> float | None:
        try:
            return validation_figure([train.run(one) for one in trainings_of(cell)])
        except Exception as error:  # a draw that can't be trained must not end the search
            say(f"  {cell.name} failed: {train.failure(error)}")
            return None

    return judge


def _draw(trial: Any, key: str, config: list[Any] | Range) -> Any:
    if isinstance(config, list):
        place = trial.suggest_categorical(key, list(range(len(config))))
        return config[place]
    if isinstance(config.low, int) and isinstance(config.high, int) and not config.log:
        return trial.suggest_int(key, config.low, config.high)
    return trial.suggest_float(key, config.low, config.high, log=config.log)


def _optuna() -> Any:
    try:
        return import_module("optuna")
    except ImportError:
        raise RunError(
            "--search needs the package optuna, which is not installed", "pip install 'hilum[search]'"
        ) from None
