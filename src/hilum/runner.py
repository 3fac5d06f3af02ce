"""The main job: from a folder of radiographs to a run folder with models, figures and one report."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hilum import __version__
from hilum.artifacts.run import DataFacts, Machine, RunFacts, StageRecord
from hilum.config import Config
from hilum.data.cases import Cases
from hilum.data.listing import fitting
from hilum.data.reading_options import ReadingOptions, as_changes
from hilum.data.tasks import TASKS
from hilum.driver import Driver, check_settings
from hilum.errors import HilumError, RecipeError, RunError, StageError, nearest
from hilum.progress import say
from hilum.recipe import Recipe, checked, load_recipe, override
from hilum.run import Run
from hilum.stages import STAGES, Stage
from hilum.stages import stage as stage_of
from hilum.threads import choose_threads


def study(
    data: str | Path = "phantom",
    preset: str | Path = "quick",
    out: str | Path | None = None,
    *,
    tasks: Sequence[str] = (),
    changes: Sequence[str] = (),
    source: str | None = None,
    resume: bool = False,
    only: Sequence[str] = (),
    report: bool = True,
) -> Run:
    """Runs all stages of a recipe on radiographs, draws the report, and gives the run folder back.

    `data`: folder, .csv, .npz or "phantom"; `preset`: a preset's name or a recipe file; `out`: the run folder,
    by default runs/DATA-PRESET; `tasks`: those of the recipe to do, all by default; `changes`: settings as
    "multiclass.training.epochs=3"; `source`: the reader of the data; `resume`: go on with what is in `out`;
    `only`: stages to run, with what they need; `report`: whether to draw the report at the end. Stages whose
    inputs have not changed are not done again. RecipeError, DataError and RunError say what can't be done.

    >>> study("phantom", preset="fast")
    Traceback (most recent call last):
    hilum.errors.RecipeError: preset 'fast' is not known; did you mean 'best'? (or name a .yaml file)
    """
    changes = [*changes, *as_changes(source=source)]
    recipe = choose_tasks(load_recipe(preset, changes), tasks)
    folder = Path(out) if out else default_out(str(data), recipe.name)
    going_on = resume and (folder / "run.json").exists()
    if not going_on:
        Run.refuse_taken(folder)  # before minutes are spent on reading data
        check_settings(recipe)  # before anything is written
    cases = _open(str(data), _reading_options(folder, changes) if going_on else recipe.data)
    if going_on:
        run, recipe = _go_on(folder, recipe, cases, changes)
    else:
        run = Run.create(folder, _facts(str(data), recipe, cases, folder), recipe.to_yaml())
    wanted = [stage_of(name) for name in only] or list(STAGES)
    return _work(Driver(run, recipe, cases), wanted, tasks=tuple(recipe.tasks), report=report)


def run_stage(
    path: str | Path,
    name: str,
    *,
    tasks: Sequence[str] = (),
    changes: Sequence[str] = (),
    force: bool = False,
) -> Run:
    """Runs one stage of a run, and what it needs, with the run's recipe or with changed settings, which the
    recipe then keeps, unless the stage refuses them.

    `changes`: settings of this stage, as "k=15". When the tasks are done, a stage that refused one raises
    RunError with its reason, and StageError where it failed because of a defect.

    >>> run_stage("gone", "embed", changes=["k=15"])
    Traceback (most recent call last):
    hilum.errors.RunError: run folder gone does not exist; make one with: hilum study DATA --out PATH
    """
    run, stage = Run(path), stage_of(name)
    _check_tasks(run, tasks)
    recipe = _with_changes(run, stage, changes)
    check_settings(recipe)
    before = _Before.of(run, stage)
    cases = None if run.split_tasks else _open(run.facts().data.given, recipe.data)
    driver = Driver(run, recipe, cases, silent=[name])
    run.write_recipe(recipe.to_yaml())
    try:
        driver.execute([stage], force=[name] if force else [], only=tasks)
    except HilumError:
        run.write_recipe(before.recipe)
        raise
    labels = [label for label in driver.worked if label.split()[0] == name]
    records = {label: run.stage_records()[label] for label in labels}
    if records and not any(record.finished for record in records.values()):
        before.restore(labels)
    _refuse(run, {label: record for label, record in records.items() if record.reason})
    return run


def _refuse(run: Run, records: dict[str, StageRecord]) -> None:
    """Raises for what was not done, a defect before a stage that was skipped, and prints what else was not done:
    each sentence comes once, however many tasks it stops."""
    errors: dict[str, HilumError] = {}
    for label, record in records.items():
        error: HilumError = RunError(record.reason or "it has not run")
        if record.status == "failed":
            error = StageError(
                f"{label} failed ({record.reason})", f"the traceback is in {run.path / 'errors'}"
            )
        errors.setdefault(str(error), error)
    ordered = sorted(errors.values(), key=lambda error: not isinstance(error, StageError))
    for other in ordered[1:]:
        say(f"  {other}")
    if ordered:
        raise ordered[0]


@dataclass(frozen=True)
class _Before:
    """A run before one of its stages is done with changed settings. `made`: when the files of each finished
    record were written, in nanoseconds."""

    run: Run
    stage: Stage
    recipe: dict[str, Any]
    records: dict[str, StageRecord]
    made: dict[str, list[int]]

    @classmethod
    def of(cls, run: Run, stage: Stage) -> "_Before":
        records = {
            label: record
            for label, record in run.stage_records().items()
            if label.split()[0] == stage.name and record.finished
        }
        made = {label: _times(run, stage, label) for label in records}
        return cls(run, stage, run.recipe(), records, made)

    def restore(self, labels: Sequence[str]) -> None:
        """Puts the recipe back, and the records of these labels whose files the refused attempt left alone."""
        self.run.write_recipe(self.recipe)
        for label in labels:
            refused = self.run.stage_records()[label].status == "skipped"
            if refused and label in self.records and _times(self.run, self.stage, label) == self.made[label]:
                self.run.record_stage(label, self.records[label])


def _times(run: Run, stage: Stage, label: str) -> list[int]:
    """When the files of a record were written, in nanoseconds; 0 for a missing one."""
    place = run.path / label.partition(" ")[2]
    files = [place / name for name in stage.artifacts]
    return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]


def settings_of(run: Run, name: str, changes: Sequence[str] = ()) -> Config:
    """The settings of one stage: those of the run's recipe, with changes as in `run_stage`, which are not kept.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), load_recipe("quick").to_yaml())
    ...     settings_of(run, "reliability", ["images=20"]).images
    20
    """
    recipe = _with_changes(run, stage_of(name), changes)
    settings = recipe.config_of(stage_of(name))
    assert settings is not None  # a stage that is left out has its defaults
    return settings


def _work(driver: Driver, wanted: Sequence[Stage], tasks: Sequence[str], report: bool) -> Run:
    """Everything that has changed, then the report where anything has."""
    run = driver.run
    if _anything_to_do(driver, wanted):
        check_settings(driver.recipe)
    driver.execute(wanted, only=tasks)
    if driver.worked:
        run.stop_the_clock()
    if report and (driver.worked or not run.report_file.exists()):
        from hilum.report.build import build_report

        build_report(run)
    if report and run.facts().status != "finished":
        run.finish()
    return run


def _anything_to_do(driver: Driver, wanted: Sequence[Stage]) -> bool:
    """A run that was never finished, or one with a stage that has not been done: then settings are checked,
    which loads the methods."""
    records = driver.run.stage_records()
    return driver.run.facts().status != "finished" or len(records) < len(wanted)


def _open(data: str, options: ReadingOptions) -> Cases:
    from hilum.data.show import say_reading
    from hilum.data.sources import open_source

    cases = open_source(data, options=options)
    say_reading(cases)
    return cases


def _reading_options(folder: Path, changes: Sequence[str]) -> ReadingOptions:
    """How the run in `folder` read its data, with changes: the same command goes on with the same data."""
    values = Run(folder).recipe()
    for change in changes:
        if change.startswith("data."):
            override(values, change)
    return checked(values, str(Run(folder).recipe_file)).data


def _go_on(folder: Path, recipe: Recipe, cases: Cases, changes: Sequence[str]) -> tuple[Run, Recipe]:
    """The run and its recipe, with further tasks and changed settings. RunError for other data or another recipe
    of a task that is there: a mixture would mean nothing."""
    run = Run(folder)
    made_from = run.facts().data.digest
    if made_from != cases.digest:
        raise RunError(
            f"{run.path} was made from other data (digest {made_from[:8]}, now {cases.digest[:8]})",
            "choose another --out",
        )
    before, now = checked(run.recipe(), str(run.recipe_file)).to_yaml(), recipe.to_yaml()
    for name, settings in now["tasks"].items():
        if before["tasks"].get(name, settings) != settings:
            raise RunError(f"{run.path} was made with another recipe for {name!r}", "choose another --out")
    for change in changes:
        if change.split("=")[0].split(".")[0] not in ("tasks", *TASKS):  # those are in `now`
            override(before, change)
    merged = checked({**before, "tasks": {**before["tasks"], **now["tasks"]}}, str(run.recipe_file))
    run.write_recipe(merged.to_yaml())
    return run, choose_tasks(merged, list(now["tasks"]))


def _with_changes(run: Run, stage: Stage, changes: Sequence[str]) -> Recipe:
    """The run's recipe; a stage that it leaves out is done with its default settings."""
    values = run.recipe()
    if stage.in_recipe:
        values[stage.name] = values.get(stage.name) or {}
    for item in changes:
        override(values, f"{stage.name}.{item}")
    return checked(values, str(run.recipe_file))


def _check_tasks(run: Run, tasks: Sequence[str]) -> None:
    known = run.split_tasks or run.recipe()["tasks"]
    for name in tasks:
        if name not in known:
            raise RunError(f"{run.path} has no task {name!r}", nearest(name, list(known)))


def choose_tasks(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these tasks only; all of them where none is named. RecipeError for an unknown one.

    >>> list(choose_tasks(load_recipe("quick"), ["binary"]).tasks)
    ['binary']
    """
    for name in names:
        if name not in recipe.tasks:
            raise RecipeError(f"recipe {recipe.name!r} has no task {name!r}", nearest(name, [*recipe.tasks]))
    return recipe.model_copy(update={"tasks": {name: recipe.tasks[name] for name in names or recipe.tasks}})


def default_out(data: str, preset: str) -> Path:
    """runs/<data>-<preset>.

    >>> default_out("path/to/chest_xray/", "quick").as_posix()
    'runs/chest_xray-quick'
    """
    return Path("runs") / f"{fitting(Path(data).stem)}-{preset}"


# -- what a run says about itself ----------------------------------------------------------------------------


def _facts(data: str, recipe: Recipe, cases: Cases, out: Path) -> RunFacts:
    return RunFacts(
        name=out.name,
        preset=recipe.name,
        hilum=__version__,
        argv=["hilum", *sys.argv[1:]],
        versions={name: version(name) for name in ("torch", "lightning", "numpy", "pandas", "scikit-learn")},
        python=platform.python_version(),
        commit=_commit(),
        machine=_machine(),
        data=DataFacts(
            given=data,
            root=str(cases.root),
            source=cases.source,
            digest=cases.digest,
            n_cases=len(cases),
            n_patients=int(cases.table["patient"].nunique()),
            notes=list(cases.notes),
            reading=cases.reading,
        ),
        stages={},
    )


def _commit() -> str:
    """The commit of hilum itself, with '+' when files were changed; empty outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "--short=12", "HEAD")
    return commit + "+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit


def _machine() -> Machine:
    """What the run ran on, without names of people or hosts."""
    threads = choose_threads()  # before torch is loaded, whose import would count as work
    import torch

    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu_name(),
        cores=os.cpu_count(),
        threads=threads,
        gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
