"""Robustness: each task's network on held-out images that are corrupted in several ways."""

from collections.abc import Sequence
from typing import Any

from hilum.robustness.config import RobustnessConfig as Config
from hilum.stages.contract import Context, Stage

EVERYTHING = ("corruptions=null", "severities=[1, 2, 3, 4, 5]", "images=null")
"""The settings of `hilum robustness RUN` before its own --set: all of what a study does a part of."""


def run(context: Context, config: Config) -> None:
    """Writes robustness.json of the task. DataError when no image is held out."""
    from hilum.robustness.corruptions import measure_corruptions

    measure_corruptions(
        context.folder, context.cases, context.split, context.this_task, config, context.force
    )


def check(config: Config, tasks: Sequence[Any]) -> None:
    """RecipeError for a corruption that does not exist.

    >>> check(Config(corruptions=["blurr"]), [])
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: corruption 'blurr' is not known; did you mean 'blur'?
    """
    from hilum.robustness.corruptions import check_corruptions

    check_corruptions(config.corruptions)


STAGE = Stage(
    name="robustness",
    about="Held-out images with missing or corrupted pixels.",
    config=Config,
    run=run,
    needs=("evaluate",),
    artifacts=("robustness.json",),
    check=check,
    version=2,
)
