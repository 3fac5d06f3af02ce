"""Corruption training: a small network of the last task, trained on clean and on partly corrupted images."""

from collections.abc import Sequence
from typing import Any

from hilum.robustness.config import CorruptionTrainingConfig as Config
from hilum.stages.contract import Context, Stage
from hilum.stages.label_efficiency import last_task_only


def run(context: Context, config: Config) -> None:
    """Writes corruption_training.json of the last task. DataError for another task, and when no image is held
    out."""
    from hilum.robustness.corruption_training import measure_corruption_training

    last_task_only(context)
    measure_corruption_training(context.folder, context.cases, context.split, context.this_task, config)


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
    name="corruption_training",
    about="A network trained on clean and on corrupted images, in place of the corruptions.",
    config=Config,
    run=run,
    needs=("prepare",),
    artifacts=("corruption_training.json",),
    check=check,
    on_request=True,
    version=3,
)
