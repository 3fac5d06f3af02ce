"""The driver: runs stages in order, each when its inputs have changed, and writes down what became of it.

It owns fingerprints, resume, force, timing and skip reasons; a stage only does its work. run.json keeps a record
per stage and task:

    "stages": {"embed binary": {"status": "finished", "seconds": 4.2, "fingerprint": "..."},
               "explain binary": {"status": "skipped", "seconds": 0.1, "fingerprint": "...", "reason": "..."}}
"""

import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hilum.artifacts.run import StageRecord
from hilum.config import Config
from hilum.data.cases import Cases
from hilum.data.tasks import kind_of, task
from hilum.errors import DataError, HilumError, RunError
from hilum.files import digest, write_text
from hilum.inference.memory import memory_in_words
from hilum.progress import say
from hilum.run import Run
from hilum.stages import STAGES, Context, Stage
from hilum.stages import stage as stage_of
from hilum.stages.contract import Recipe
from hilum.threads import use_threads

DONE = ("finished", "skipped")
"""What is not done again while its inputs stay the same; a stage that failed is tried again."""


@dataclass
class Driver:
    """Runs stages of one run. `cases`: what the source holds; None: what the run has kept of it. `silent`: names
    of stages whose caller says what became of them. `worked` and `failed` fill with "<stage> <task>"."""

    run: Run
    recipe: Recipe
    cases: Cases | None = None
    silent: Sequence[str] = ()
    worked: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def execute(self, wanted: Sequence[Stage], force: Sequence[str] = (), only: Sequence[str] = ()) -> None:
        """Runs the wanted stages and what they need, in the order of STAGES. `force`: names of stages to do
        again; `only`: tasks, empty for all. What a user has to mend in a core stage ends it; another stage is
        skipped with its sentence. A defect marks a stage as failed, and the rest goes on, other tasks too; only one in
        a core stage of the whole study ends it. ModelError for weights that were changed."""
        for name in self.run.tasks:
            self.run.task(name).check_weights()
        for stage in with_needs(wanted):
            for name in self._tasks(stage, only):
                self._step(stage, name, stage.name in force)

    def _tasks(self, stage: Stage, only: Sequence[str]) -> Iterator[str | None]:
        """The tasks that a stage runs for; None once for a stage that runs once a study."""
        if not stage.per_task:
            yield None
        else:
            yield from (name for name in self.run.split_tasks if not only or name in only)

    def _step(self, stage: Stage, name: str | None, force: bool) -> None:
        config = self.recipe.config_of(stage)
        if config is None:
            return
        label = f"{stage.name} {name}" if name else stage.name
        mark = self.fingerprint(stage, name, config)
        record = self.run.stage_records().get(label)
        if not force and record and record.fingerprint == mark and self._whole(stage, name, record):
            return
        self.worked.append(label)
        use_threads(self.run.facts().machine.threads)
        start = time.perf_counter()
        outcome = self._outcome(stage, name, config, force)
        before = (record and record.seconds) or 0.0
        seconds = round(time.perf_counter() - start + before * (not force), 1)
        mark = self.fingerprint(stage, name, config)  # prepare changes what it is made from
        self.run.record_stage(label, outcome.model_copy(update={"seconds": seconds, "fingerprint": mark}))

    def _outcome(self, stage: Stage, name: str | None, config: Config, force: bool) -> StageRecord:
        """Does the work. What a user must know of a stage that was not done becomes its reason."""
        label = f"{stage.name} {name}" if name else stage.name
        try:
            self._check_needs(stage, name)
            with memory_in_words(f"running the stage {label}"):
                stage.run(self.context(stage, name, force), config)
            return StageRecord(status="finished")
        except HilumError as error:
            if stage.core and not self._lacks_what_failed(stage, name):
                raise
            self._say(stage, f"{label} is skipped: {error}")
            return StageRecord(status="skipped", reason=str(error))
        except Exception as error:
            if _ends_all(stage, error):
                raise
            self.failed.append(label)
            place = self.run.path / "errors" / f"{label.replace(' ', '-')}.txt"
            write_text(place, traceback.format_exc())
            self._say(stage, f"{label} failed ({error}); the traceback is in {place}")
            return StageRecord(status="failed", reason=f"{type(error).__name__}: {error}")

    def _say(self, stage: Stage, sentence: str) -> None:
        if stage.name not in self.silent:
            say(f"  {sentence}")

    def context(self, stage: Stage, name: str | None, force: bool = False) -> Context:
        """What a stage is given: the run, the cases that can be read, the recipe, the tasks of the split, and the task
        `name` among them, None for a stage that runs once a study."""
        cases = self.cases if stage.name == "prepare" and self.cases is not None else self.run.cases()
        tasks = tuple(task(each, cases.labels, cases.findings) for each in self.run.split_tasks)
        this = next((each for each in tasks if each.name == name), None)
        return Context(self.run, cases, self.recipe, tasks, this, force)

    def _check_needs(self, stage: Stage, name: str | None) -> None:
        """RunError that carries on the reason why a needed stage was not done; DataError for a stage that does not
        apply to the kind of the task."""
        if name and kind_of(name) == "multi" and stage.of_findings is None:
            raise DataError(
                f"stage {stage.name!r} needs one class per image; task {name!r} states several findings"
            )
        records = self.run.stage_records()
        for need in map(stage_of, stage.needs):
            record = records.get(f"{need.name} {name}" if need.per_task and name else need.name)
            if record is None or not record.finished:
                why = (record and record.reason) or "it has not run"
                raise RunError(f"stage {stage.name!r} needs {need.name!r}, which left nothing ({why})")

    def _lacks_what_failed(self, stage: Stage, name: str | None) -> bool:
        """Whether a needed stage of this task has failed by a defect: then there is nothing to do."""
        return any(f"{need} {name}" in self.failed for need in stage.needs)

    def _whole(self, stage: Stage, name: str | None, record: StageRecord) -> bool:
        """A finished stage's files are there; a skipped one has none."""
        if not record.finished:
            return record.status in DONE
        place = self.run.path / name if name else self.run.path
        files = stage.of_findings if name and kind_of(name) == "multi" else stage.artifacts
        return all((place / file).exists() for file in files or ())

    def fingerprint(self, stage: Stage, name: str | None, config: Config) -> str:
        """Names everything that a stage's results hang on: its version, its settings, the data, the split, the
        weights, and the results of other stages that it reads; 32 hexadecimal digits."""
        parts = [stage.name, str(stage.version), config.model_dump_json()]
        parts += self._inputs(stage, name)
        records = self.run.stage_records()
        for other in map(stage_of, (*stage.needs, *stage.uses)):
            if other.name not in ("prepare", "train"):
                label = f"{other.name} {name}" if other.per_task and name else other.name
                parts.append(records[label].fingerprint if label in records else "")
        return digest(*parts)

    def _inputs(self, stage: Stage, name: str | None) -> Iterable[str]:
        """Of the stages of every study: the settings of their task. Of all: data, split, weights."""
        yield self.run.facts().data.digest
        tasks = self.recipe.tasks
        if stage.name == "prepare":
            yield str(self.recipe.skip_unreadable)
            yield from (f"{each} {recipe.split.model_dump_json()}" for each, recipe in tasks.items())
        elif name:
            own = tasks[name].model_dump(mode="json")
            threshold = own.pop("threshold")
            yield str(own) if stage.name == "train" else str(threshold)
            yield self.run.split_digest(name)
        if stage.name not in ("prepare", "train"):
            yield str(self.recipe.replicates)
            if stage.needs != ("prepare",):  # then it reads a trained network
                yield from (
                    self.run.task(each).weights_digest for each in ([name] if name else self.run.tasks)
                )


def _ends_all(stage: Stage, error: Exception) -> bool:
    """Whether a defect leaves nothing to go on with: in a core stage, where it is of the whole study, where the disk
    is full, and where other processes wait in the middle of a training."""
    if not stage.core:
        return False
    from hilum.training.processes import current

    return not stage.per_task or isinstance(error, OSError) or not current().alone


def with_needs(wanted: Sequence[Stage]) -> list[Stage]:
    """The wanted stages and all that they need, in the order of STAGES.

    >>> [stage.name for stage in with_needs([stage_of("evaluate")])]
    ['prepare', 'train', 'evaluate']
    """
    names = {stage.name for stage in wanted}
    for stage in reversed(STAGES):
        if stage.name in names:
            names |= set(stage.needs)
    return [stage for stage in STAGES if stage.name in names]


def check_settings(recipe: Recipe) -> None:
    """Every stage looks at its settings before anything is trained: RecipeError for a method that does not
    exist or a mask that does not fit.

    >>> from hilum.recipe import load_recipe
    >>> check_settings(load_recipe("quick", ["explain.methods=[grad_kam]"]))
    Traceback (most recent call last):
    hilum.errors.RecipeError: attribution method 'grad_kam' is not known; did you mean 'grad_cam'?
    """
    for stage in STAGES:
        config = recipe.config_of(stage)
        if stage.check and config is not None:
            stage.check(config, list(recipe.tasks.values()))


def with_settings(recipe: Recipe, stage: Stage, values: dict[str, Any]) -> Recipe:
    """The recipe with other settings of one stage.

    >>> from hilum.recipe import load_recipe
    >>> with_settings(load_recipe("quick"), stage_of("embed"), {"k": 3}).embed.k
    3
    """
    return recipe.model_copy(update={stage.name: stage.config.model_validate(values)})
