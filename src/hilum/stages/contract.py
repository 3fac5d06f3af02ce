"""The contract of a stage, and what a stage is given when it runs.

A stage is one file in this folder with a `STAGE`; STAGES in __init__.py puts them in order. The driver in
hilum.driver owns order, fingerprints, resume, force, timing and skip reasons: a stage only does its work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from hilum.config import Config
from hilum.data.reading_options import ReadingOptions
from hilum.data.tasks import TASKS
from hilum.errors import nearest
from hilum.training.config import TaskRecipe

if TYPE_CHECKING:
    import pandas as pd

    from hilum.data.cases import Cases
    from hilum.data.tasks import Task
    from hilum.folders import TaskFolder
    from hilum.run import Run


@dataclass(frozen=True)
class Stage:
    """One stage of a study.

    `name`: its command and its key in a recipe; `about`: one line of help; `config`: its settings; `run`: the
    work, given a Context and a config; `needs`: stages that must have finished; `uses`: stages whose results
    it reads where they are there; `artifacts`: the files that it leaves, relative to the task's folder (or the
    run's, for a stage that runs once); `check`: looks at the settings before anything is trained; `version`:
    raised when the same inputs would give other results. `of_findings`: the files that it leaves for a task of several
    findings per image; None where it does not apply to such a task. `core`: the study stops when it fails; any other
    stage is skipped with its reason, and the report is made all the same. `on_request`: a recipe leaves it out
    unless it has settings for it. `in_recipe`: whether the settings are a key of the recipe; those of a core
    stage are the task's.
    """

    name: str
    about: str
    config: type[Config]
    run: "Callable[[Context, Any], None]"
    needs: tuple[str, ...] = ("train",)
    uses: tuple[str, ...] = ()
    per_task: bool = True
    artifacts: tuple[str, ...] = ()
    check: Callable[[Any, Sequence[Any]], None] | None = None
    version: int = 1
    core: bool = False
    on_request: bool = False
    of_findings: tuple[str, ...] | None = None

    @property
    def in_recipe(self) -> bool:
        """Whether the recipe has a key of this name.

        >>> Stage("train", "Trains a network.", Config, print, core=True).in_recipe
        False
        >>> Stage("embed", "What lies near what.", Config, print).in_recipe
        True
        """
        return not self.core


FORMAT = 2
"""Raised when the meaning of a key changes; an older recipe is then refused, never misread."""


class Recipe(Config):
    """The whole study. `data`: how the data is read, where hilum would understand it otherwise; `replicates`:
    bootstrap replicates of the intervals that are drawn; 0: no intervals. Each further key is a stage with its
    settings; null leaves the stage out."""

    format: int = FORMAT
    name: str
    about: str = ""
    data: ReadingOptions = ReadingOptions()
    tasks: dict[str, TaskRecipe]
    replicates: int = Field(default=2000, ge=0)
    skip_unreadable: bool = False

    @model_validator(mode="after")
    def _tasks_are_known(self) -> "Recipe":
        for name in self.tasks:
            if name not in TASKS:
                raise ValueError(f"task {name!r} is not known; {nearest(name, TASKS)}")
        if not self.tasks:
            raise ValueError(f"no task given; known are: {', '.join(TASKS)}")
        return self

    def config_of(self, stage: Stage) -> Config | None:
        """The settings of a stage; None where the recipe leaves it out. A core stage has none of its own in the
        recipe: its defaults."""
        if not stage.in_recipe:
            return stage.config()
        return getattr(self, stage.name)

    def to_yaml(self) -> dict[str, Any]:
        """Plain values for recipe.yaml, defaults written out."""
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Context:
    """What a stage works on. `cases`: those that can be read; `task`: None for a stage that runs once a
    study; `force`: do it even where parts of it are done."""

    run: "Run"
    cases: "Cases"
    recipe: Recipe
    tasks: tuple["Task", ...]
    task: "Task | None" = None
    force: bool = False

    @property
    def this_task(self) -> "Task":
        """The task of a stage that runs per task."""
        if self.task is None:
            raise TypeError("this stage runs once a study and has no task")
        return self.task

    @property
    def class_tasks(self) -> tuple["Task", ...]:
        """The tasks of one class per image."""
        return tuple(task for task in self.tasks if task.kind == "single")

    @property
    def folder(self) -> "TaskFolder":
        """The run's folder of this task."""
        return self.run.task(self.this_task.name)

    @cached_property
    def split(self) -> "pd.Series":
        """case_id -> train, val, test or unused, of this task."""
        return self.run.split(self.this_task.name)
