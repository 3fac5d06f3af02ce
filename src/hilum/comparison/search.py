"""Hyper-parameter search on the folds of a grid: `hilum compare --search N`. Needs the extra `search`.

The grid's section `search` names ranges; each trial draws from them, after the first ten guided by the
trials before (tree-structured Parzen estimator of optuna; Bergstra et al., NeurIPS 2011). It is judged by its
validation figure, the recipe's `training.monitor`, mean over folds and seeds. The held-out folds take no part
in the search, so their figures in the table are those of images that chose nothing.

The draws hang on a fixed seed and on the trials' figures alone. So a search that was stopped draws the same
trials again and finds them trained.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from statistics import fmean
from typing import Any

from hilum.artifacts.card import BestMetric
from hilum.comparison import train
from hilum.comparison.grid import Cell, Plan, Range
from hilum.comparison.spread import Engine, train_all
from hilum.errors import RecipeError, RunError
from hilum.progress import say
from hilum.training.fit import SMALLER_IS_BETTER

SEED = 0

Judge = Callable[[Cell], float | None]
"""The mean validation figure of a cell, higher is better; None when its training failed."""


def search(plan: Plan, trials: int, judge: Judge) -> list[Cell]:
    """Draws and judges `trials` cells, named "trial 1" and so on.

    RecipeError when the grid has no section `search`, RunError when optuna is missing or all trials failed.

    >>> from hilum.comparison.grid import Grid
    >>> from hilum.recipe import load_recipe
    >>> plan = Plan(Grid(cells={"as it is": {}}), load_recipe("quick").tasks["binary"], {}, ())
    >>> search(plan, 3, lambda cell: 0.5)
    Traceback (most recent call last):
    hilum.errors.RecipeError: grid 'compare' has no section 'search'; name ranges; see docs/compare.md
    """
    ranges = plan.grid.search
    if not ranges:
        raise RecipeError(
            f"grid {plan.grid.name!r} has no section 'search'", "name ranges; see docs/compare.md"
        )
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=SEED)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    cells: list[Cell] = []
    best: float | None = None
    for number in range(1, trials + 1):
        trial = study.ask()
        changes = {key: _draw(trial, key, values) for key, values in ranges.items()}
        cell = plan.cell(f"trial {number}", changes)
        value = judge(cell)
        if value is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, value)
            best = value if best is None else max(best, value)
        outcome = "failed" if value is None else f"{value:.4f} on validation (best {best:.4f})"
        say(f"  trial {number}/{trials}: {outcome}  {changes}")
        cells.append(cell)
    if trials and best is None:
        raise RunError("all trials of the search failed", "look at the sentences above")
    return cells


def validation_figure(figures: Sequence[BestMetric]) -> float:
    """Mean over trainings of the figure by which the epoch was chosen, turned so that higher is better.

    >>> validation_figure([BestMetric(name="val_loss", value=value) for value in (0.5, 0.3)])
    -0.4
    """
    mean = fmean(figure.value for figure in figures)
    return -mean if figures[0].name in SMALLER_IS_BETTER else mean


def judge_with(trainings_of: Callable[[Cell], list[train.Training]], engine: Engine) -> Judge:
    """A judge that trains what is missing of a cell. Its figure is None where a training fails.

    >>> from unittest.mock import Mock, patch
    >>> from hilum.recipe import load_recipe
    >>> cell = Cell("trial 1", {}, load_recipe("quick").tasks["binary"])
    >>> with patch("hilum.comparison.search.train_all", return_value={"trial 1": "no space left"}):
    ...     judge_with(lambda cell: [], Mock(spec=Engine))(cell) is None
    True
    """

    def judge(cell: Cell) -> float | None:
        trainings = trainings_of(cell)
        if train_all({cell.name: trainings}, engine):  # a draw that can't be trained must not end the search
            return None
        results = [train.finished(training) for training in trainings]
        return validation_figure([result.val for result in results if result is not None])

    return judge


def _draw(trial: Any, key: str, values: list[Any] | Range) -> Any:
    if isinstance(values, list):
        place = trial.suggest_categorical(key, list(range(len(values))))
        return values[place]
    if isinstance(values.low, int) and isinstance(values.high, int) and not values.log:
        return trial.suggest_int(key, values.low, values.high)
    return trial.suggest_float(key, values.low, values.high, log=values.log)


def _optuna() -> Any:
    try:
        return import_module("optuna")
    except ImportError:
        raise RunError(
            "--search needs the package optuna, which is not installed", "pip install 'hilum[search]'"
        ) from None
