"""Train: one network per task; goes on after its last epoch when it was stopped."""

from dataclasses import dataclass
from pathlib import Path

from hilum.config import Config as Base
from hilum.stages.contract import Context, Stage


class Config(Base):
    """Nothing of its own: the recipe's `tasks` has the network and the training."""


def run(context: Context, config: Config) -> None:
    """Writes model/ and history.csv of the task. DataError when a split lacks a class; TrainingError when the
    loss is no number any more."""
    import shutil

    from hilum.training.processes import current

    if context.folder.card_file.exists() and not context.force:
        return
    if context.force:
        shutil.rmtree(context.folder.model_folder, ignore_errors=True)
        shutil.rmtree(context.folder.checkpoints, ignore_errors=True)
    current().tell(Job(context.run.path, context.this_task.name))
    train_job(context)


def train_job(context: Context) -> None:
    """This process's part of the training of the context's task; where the model is there, nothing.

    TypeError for a context without a task:

    >>> from hilum.stages.contract import Recipe
    >>> train_job(Context(None, None, Recipe.model_construct(tasks={}), ()))
    Traceback (most recent call last):
    TypeError: this stage runs once a study and has no task
    """
    from hilum.data.split import Split
    from hilum.evaluation import findings, scores
    from hilum.training.task import train_task

    recipe = context.recipe.tasks[context.this_task.name]
    split = Split.known(context.split, context.run.facts().split[context.this_task.name])
    name = context.recipe.name
    several = context.this_task.kind == "multi"
    score = findings.validation_figures if several else scores.validation_figures
    train_task(context.folder, context.cases, split, context.this_task, recipe, name, score)


@dataclass(frozen=True)
class Job:
    """What the first process tells the others to train: a task of a run."""

    run: Path
    task: str


STAGE = Stage(
    name="train",
    about="Train each task's network.",
    config=Config,
    run=run,
    needs=("prepare",),
    artifacts=("model/model.json", "model/weights.safetensors", "history.csv"),
    of_findings=("model/model.json", "model/weights.safetensors", "history.csv"),
    core=True,
)
