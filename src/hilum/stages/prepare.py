"""Prepare: read what can be read, choose the tasks that the labels allow, split by patient, audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.artifacts.run import StageRecord
from hilum.config import Config as Base
from hilum.errors import DataError
from hilum.stages.contract import Context, Recipe, Stage

if TYPE_CHECKING:
    import pandas as pd

    from hilum.data.cases import Cases
    from hilum.data.split import Split
    from hilum.run import Run
    from hilum.training.config import TaskRecipe


class Config(Base):
    """Nothing of its own: the splits are the tasks'."""


def run(context: Context, config: Config) -> None:
    """Writes cases.csv, split.csv and audit.json. DataError for labels that allow no task of the recipe, and
    for files that can't be read unless the recipe says that they may be left out."""
    cases = readable(context.cases, context.recipe.skip_unreadable, context.run)
    fitting = fitting_tasks(context.recipe, cases)
    splits, undivided = _splits(context.recipe, cases, fitting)
    _say_unused(splits)
    _record_left_out(context, [name for name in _wanted(context.recipe, cases) if name not in fitting], cases)
    for name, reason in undivided.items():
        context.run.record_stage(f"train {name}", StageRecord(status="skipped", reason=reason))
    cases.write(context.run.cases_file)
    context.run.write_split({name: split.of for name, split in splits.items()})
    known = context.run.facts().split
    context.run.add_facts(split={**known, **{name: split.facts() for name, split in splits.items()}})
    _audit(context.run, cases, splits)


def _splits(recipe: Recipe, cases: Cases, fitting: list[str]) -> tuple[dict[str, Split], dict[str, str]]:
    """The split of each task; and why findings can't be divided, which does not stop the other tasks."""
    from hilum.data.multilabel import check_both_sides
    from hilum.progress import say

    splits, undivided = {}, {}
    for name in fitting:
        own = recipe.tasks[name]
        try:
            split = split_of(_stratified(cases, name, own), own)
            if name == "findings":
                check_both_sides(cases.table, split.of, cases.findings)
            splits[name] = split
        except DataError as error:
            if name != "findings" or len(fitting) == 1:
                raise
            undivided[name] = str(error)
            say(f"  task {name} is left out: {error}")
    return splits, undivided


def _say_unused(splits: dict[str, Split]) -> None:
    """Why images are in no part of a split, once for all tasks that are divided in the same way."""
    from hilum.progress import say

    notes = {split.note: name for name, split in reversed(splits.items()) if (split.of == "unused").any()}
    for note, name in notes.items():
        say(f"  split of {name}: {note}")


def _record_left_out(context: Context, names: list[str], cases: Cases) -> None:
    """Writes into run.json why a task of the recipe is not trained."""
    from hilum.data.tasks import why_not

    for name in names:
        reason = why_not(name, cases.labels, cases.findings)
        context.run.record_stage(f"train {name}", StageRecord(status="skipped", reason=reason))


def readable(cases: Cases, skip: bool, run: Run) -> Cases:
    """All cases, or with `skip` those that can be read; the others are named on standard error and in run.json.
    DataError names up to three files that can't be read, unless they may be skipped."""
    from hilum.data.facts import facts_table
    from hilum.progress import advancing, say

    with advancing("reading") as advance:
        facts = facts_table(cases, advance)
    bad = facts.loc[~facts["readable"], ["case_id", "reason"]]
    if bad.empty:
        return cases
    shown = _shown(bad, cases)
    if not skip:
        raise DataError(
            f"{len(bad)} of {len(cases)} files can't be read: {shown}",
            "replace them, or pass --skip-unreadable",
        )
    files = "1 unreadable file is" if len(bad) == 1 else f"{len(bad)} unreadable files are"
    say(f"  {files} left out: {shown}")
    run.add_facts(skipped_files=[f"{row.case_id} ({row.reason})" for row in bad.itertuples()])
    return cases.where(~cases.table["case_id"].isin(set(bad["case_id"])))


def _shown(bad: pd.DataFrame, cases: Cases) -> str:
    """Up to three files that can't be read, by the paths that their owner gave them, for the terminal alone: files of
    the run name DICOM by pseudonyms."""
    path = cases.by_original_paths().table.set_index("case_id")["path"]
    names = [f"{path[str(row.case_id)]} ({row.reason})" for row in bad.head(3).itertuples()]
    return ", ".join(names) + (" ..." if len(bad) > 3 else "")


def fitting_tasks(recipe: Recipe, cases: Cases) -> list[str]:
    """The recipe's tasks that these labels allow; DataError where there is none.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> from hilum.data.cases import Cases
    >>> from hilum.recipe import load_recipe
    >>> table = pd.DataFrame({"case_id": ["a", "b", "c"], "path": "x.png", "label": ["normal", "bacteria", "virus"],
    ...     "patient": ["p", "q", "r"], "split": "", "digest": ["0", "1", "2"]})
    >>> fitting_tasks(load_recipe("quick"), Cases.checked(table, "table", Path(".")))
    ['binary', 'multiclass']
    """
    from hilum.data.tasks import possible_tasks, task
    from hilum.progress import say

    possible = possible_tasks(cases.labels, cases.findings)
    if not possible:
        task("binary", cases.labels)  # raises the sentence that says why
    for name in _wanted(recipe, cases):
        if name not in possible:
            say(f"  task {name} is left out: the labels are {', '.join(cases.labels)}")
    fitting = [name for name in recipe.tasks if name in possible]
    if not fitting:
        task(next(iter(recipe.tasks)), cases.labels, cases.findings)
    return fitting


def _wanted(recipe: Recipe, cases: Cases) -> list[str]:
    """The recipe's tasks, without findings where the data has none and other tasks stand beside it: presets name it
    for the data that has."""
    return [name for name in recipe.tasks if name != "findings" or cases.findings or len(recipe.tasks) == 1]


def _stratified(cases: Cases, name: str, recipe: TaskRecipe) -> Cases:
    """The cases with the labels that a split is stratified by: for findings, the rarest one that is present."""
    from dataclasses import replace

    from hilum.data.groups import patient_groups
    from hilum.data.multilabel import strata

    if name != "findings":
        return cases
    official = recipe.split.scheme == "official"  # nothing is divided, so no label has to be on both sides
    label = "any" if official else strata(cases.table, patient_groups(cases.table))
    return replace(cases, table=cases.table.assign(label=label))


def split_of(cases: Cases, recipe: TaskRecipe) -> Split:
    """The split that a task's recipe asks for. DataError where it is not possible, as in `split_cases`."""
    from hilum.data.split import split_cases

    config = recipe.split
    return split_cases(
        cases,
        config.scheme,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
        fold=config.fold,
        folds=config.folds,
    )


def _audit(run: Run, cases: Cases, splits: dict[str, Split]) -> None:
    from hilum.data.audit import audit
    from hilum.progress import advancing, say

    with advancing("auditing") as advance:
        result = audit(cases, {name: split.of for name, split in splits.items()}, advance)
    result.save(run.audit_file)
    for sentence in result.findings:
        say(f"  {sentence}")


STAGE = Stage(
    name="prepare",
    about="Read and check the radiographs, split them by patient, audit them for leaks and shortcuts.",
    config=Config,
    run=run,
    needs=(),
    per_task=False,
    artifacts=("cases.csv", "split.csv", "audit.json"),
    core=True,
)
