"""The main job: the stages in order, each resumable. All it knows lies in the run folder afterwards."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hilum import __version__
from hilum.anomaly.config import AnomalyConfig
from hilum.comparison.config import LeakageConfig
from hilum.data.acquisition import clusters
from hilum.data.audit import audit
from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.facts import facts_table
from hilum.data.sources import open_source
from hilum.data.split import Split, split_cases, used_cases
from hilum.data.tasks import Task, possible_tasks, task
from hilum.embedding.config import EmbeddingConfig
from hilum.errors import DataError, ModelError, RunError
from hilum.evaluation.config import ReliabilityConfig
from hilum.files import write_json
from hilum.progress import advancing, say
from hilum.recipe import StudyRecipe, checked, override
from hilum.robustness.config import MissingConfig
from hilum.run import Run, TaskFolder
from hilum.stages.explain import ExplainConfig
from hilum.training.config import TaskRecipe

INTENDED_USE = "Research and teaching only. Not a medical device; not for diagnosis or treatment of people."


@dataclass(frozen=True)
class Wish:
    """What the user asked for: `data`, the resolved recipe, where to write, and how careful to be."""

    data: str
    recipe: StudyRecipe
    out: Path
    source: str | None = None
    resume: bool = False
    report: bool = True


def study(wish: Wish) -> Run:
    """Audit, split, train and evaluate every task of the recipe, then draw the report.

    Stages that are finished are not done again. RunError when --out holds another study.
    """
    if not (wish.resume and (wish.out / "run.json").exists()):
        Run.refuse_taken(wish.out)  # before minutes are spent on reading data
    cases = open_source(wish.data, wish.source)
    say(f"{len(cases)} radiographs from {cases.root} ({cases.source}), labels: {', '.join(cases.labels)}")
    for note in cases.notes:
        say(f"  {note}")
    _check_methods(wish.recipe)
    run = _open_run(wish, cases)
    with _stage(run, "audit"):
        cases = _readable(cases, wish.recipe.skip_unreadable, run)
        names = _tasks_that_fit(wish.recipe, cases)
        tasks = {name: task(name, cases.labels) for name in names}
        splits = {name: _split(cases, wish.recipe.tasks[name]) for name in tasks}
        cases.write(run.cases_file)
        run.write_split({name: one.of for name, one in splits.items()})
        known = run.facts().get("split", {})
        run.add_facts(split={**known, **{name: one.facts() for name, one in splits.items()}})
        _audit(run, cases, splits)
    for name, one in tasks.items():
        with _stage(run, f"train {name}"):
            train_task(run.task(name), cases, splits[name], one, wish.recipe.tasks[name], wish.recipe.name)
        with _stage(run, f"evaluate {name}"):
            evaluate_stage(run.task(name), cases, splits[name].of, one, wish.recipe, force=False)
        if wish.recipe.missing:
            with _stage(run, f"missing {name}"):
                missing_stage(run, name, cases, one, wish.recipe.missing)
        if wish.recipe.embedding:
            with _stage(run, f"embed {name}"):
                try:
                    embed_stage(run, name, cases, splits[name].of, one, wish.recipe, force=False)
                except DataError as error:  # too few cases for a map must not cost the report
                    say(f"  the space of cases of {name} is left out: {error}")
        if wish.recipe.explain:
            with _stage(run, f"explain {name}"):
                try:
                    explain_stage(run, name, cases, splits[name].of, one, wish.recipe, force=False)
                except ModelError as error:  # a layer that the network lacks must not cost the report
                    say(f"  explanations of {name} are left out: {error}")
    if wish.recipe.anomaly:
        with _stage(run, "anomaly"):
            try:
                anomaly_stage(run, cases, wish.recipe.anomaly, wish.recipe.replicates)
            except DataError as error:  # too few healthy images must not cost the report
                say(f"  anomaly detection is left out: {error}")
    if wish.recipe.leakage:
        with _stage(run, "leakage"):
            try:
                leakage_stage(run, cases, tasks, wish.recipe.leakage, wish.recipe.replicates)
            except DataError as error:  # a source without patients must not cost the report
                say(f"  the leakage is left out: {error}")
    if wish.recipe.reliability:
        for name in tasks:  # after anomaly, whose scores are one way to know when not to answer
            with _stage(run, f"reliability {name}"):
                reliability_stage(run, name, cases, wish.recipe, force=False)
    run.stop_the_clock()
    if wish.report:
        from hilum.report.build import build_report

        build_report(run)
    run.finish()
    return run


# -- stages --------------------------------------------------------------------------------------------------


def train_task(
    folder: TaskFolder,
    cases: Cases,
    split: Split,
    one: Task,
    recipe: TaskRecipe,
    recipe_name: str,
    cache: ImageCache | None = None,
) -> None:
    """Trains one task unless its model is already there. `cache`: images that are decoded already."""
    if folder.card_file.exists():
        return
    from hilum.evaluation.evaluate import evaluate
    from hilum.training.fit import fit_task
    from hilum.training.loader import ImageSet

    used = used_cases(cases, split.of)  # test images too: one cache serves training and evaluation
    decoded = used if cache is None else cases
    if cache is None:
        with advancing(f"{one.name}: decoding") as advance:
            cache = ImageCache.of(used, recipe.pixels.contract(0.5, 0.25), advance)
    rows = {name: used.table[used.table["case_id"].map(split.of) == name] for name in ("train", "val")}
    whole = cache
    if recipe.pixels.frame_fraction != 1:  # training sees images at their full size, augmentation scales them
        whole = ImageCache.of(decoded, replace(recipe.pixels.contract(0.5, 0.25), frame_fraction=1.0))
    mean, sd = whole.mean_sd(rows["train"]["case_id"].tolist())
    pixels = recipe.pixels.contract(mean, sd)
    sets = {
        name: ImageSet(
            whole if name == "train" else cache,
            part["case_id"].tolist(),
            part["label"].map(one.index).to_numpy(np.int64),
            pixels,
        )
        for name, part in rows.items()
    }
    _every_class(sets, one)
    if recipe.training.balance == "shortcuts" or recipe.training.group_dro:
        kept = used.where(used.table["case_id"].isin(rows["train"]["case_id"]))
        sets["train"] = replace(sets["train"], alike=clusters(facts_table(kept)))
    val = rows["val"].reset_index(drop=True)

    def score(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
        table = val.iloc[positions][["case_id", "patient"]].reset_index(drop=True)
        table["target"] = val["label"].iloc[positions].map(dict(one.class_of)).to_numpy()
        for column, name in enumerate(one.classes):
            table[f"prob_{name}"] = probabilities[:, column]
        return _values(evaluate(table, one.classes, replicates=0))

    card = {
        "recipe": recipe_name,
        "data": {
            "source": cases.source,
            "digest": cases.digest,
            "notes": list(cases.notes),
            "patients": {name: int(part["patient"].nunique()) for name, part in rows.items()},
        },
        "split": split.facts(),
        "intended_use": INTENDED_USE,
        "threshold": None,
    }
    fit_task(folder, recipe, one, sets["train"], sets["val"], score, card)


def evaluate_stage(
    folder: TaskFolder, cases: Cases, split: pd.Series, one: Task, recipe: StudyRecipe, force: bool
) -> dict[str, Any]:
    """Predictions and metrics of one task, unless those at hand belong to the present weights."""
    from hilum.evaluation.stage import check_same_weights, evaluate_task

    if not force and folder.metrics_file.exists() and folder.predictions_file.exists():
        try:
            check_same_weights(folder)
            return folder.metrics()
        except RunError:
            pass  # other weights: the stage is done again
    rule = recipe.tasks[folder.name].threshold
    logits = None
    if recipe.embedding:  # one pass gives the logits and the vectors
        from hilum.embedding.stage import extract_task

        logits = extract_task(folder, cases, split, recipe.embedding)[0]
    return evaluate_task(folder, cases, split, one, rule, recipe.replicates, seed=0, logits=logits)


def missing_stage(
    run: Run, name: str, cases: Cases, one: Task, config: MissingConfig, force: bool = False
) -> dict[str, Any]:
    """What one task's model says of held-out images with pixels missing."""
    from hilum.evaluation.missing_pixels import missing_pixels

    return missing_pixels(run.task(name), cases, run.split(name), one, config, force)


def missing_run(
    run: Run, changes: Sequence[str] = (), force: bool = False, kinds: Sequence[str] = ("pixels",)
) -> None:
    """`hilum missing`: `kinds` of what is missing. "pixels": every task with every corruption at every
    severity, unless changed; "labels", "classes", "training": the task with the most classes with labels or a
    class missing, or trained for corrupted images."""

    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    values = {**run.recipe(), "missing": {}}  # all of it: a recipe has a few points, for the study
    for item in changes:
        override(values, f"missing.{item}")
    config = checked(values, str(run.recipe_file)).missing or MissingConfig()
    cases = run.cases()
    if "pixels" in kinds:
        for name in run.tasks:
            with _stage(run, f"missing {name}"):
                missing_stage(run, name, cases, task(name, cases.labels), config, force)
    name = run.tasks[-1]
    one, folder, split = task(name, cases.labels), run.task(name), run.split(name)
    if "labels" in kinds:
        from hilum.evaluation.missing_labels import missing_labels

        with _stage(run, f"missing labels {name}"):
            missing_labels(folder, cases, split, one, config, force)
    if "classes" in kinds:
        from hilum.evaluation.missing_classes import missing_classes

        with _stage(run, f"missing classes {name}"):
            missing_classes(folder, run.anomaly, cases, split, one, config, force)
    if "training" in kinds:
        from hilum.evaluation.missing_training import missing_training

        with _stage(run, f"missing training {name}"):
            missing_training(folder, cases, split, one, config, force)


def reliability_stage(run: Run, name: str, cases: Cases, recipe: StudyRecipe, force: bool) -> None:
    """How far one task's answers can be trusted; too few validation images must not cost the report."""
    from hilum.evaluation.reliability import reliability_task

    config = recipe.reliability or ReliabilityConfig()
    used = used_cases(cases, run.split(name))
    try:
        reliability_task(run.task(name), run.anomaly, used, config, recipe.replicates, force)
    except RunError:  # figures of other weights: made again
        reliability_task(run.task(name), run.anomaly, used, config, recipe.replicates, force=True)
    except DataError as error:
        say(f"  how far {name} can be trusted is left out: {error}")


def embed_stage(
    run: Run, name: str, cases: Cases, split: pd.Series, one: Task, recipe: StudyRecipe, force: bool
) -> dict[str, Any]:
    """Vectors, neighbours, maps, retrieval and suspects of one task."""
    from hilum.embedding.stage import embed_task

    config = recipe.embedding or EmbeddingConfig()
    return embed_task(run.task(name), cases, split, one, config, recipe.replicates, run.audit(), force)


def embed_run(run: Run, changes: Sequence[str] = (), force: bool = False) -> None:
    """`hilum embed`: every task of a run, with the recipe's choices or changed ones."""
    recipe = changed_recipe(run, "embedding", changes)
    cases = run.cases()
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    for name in run.tasks:
        with _stage(run, f"embed {name}"):
            embed_stage(run, name, cases, run.split(name), task(name, cases.labels), recipe, force)


def anomaly_stage(
    run: Run, cases: Cases, config: AnomalyConfig, replicates: int, force: bool = False
) -> dict[str, Any]:
    """Detectors fitted on healthy images alone, and the leaderboard of their figures."""
    from hilum.anomaly.stage import detect

    return detect(run.anomaly, cases, config, replicates, force)


def anomaly_run(
    run: Run, detectors: Sequence[str] = (), changes: Sequence[str] = (), force: bool = False
) -> None:
    """`hilum anomaly`: the detectors of the leaderboard or the recipe, and those that are named."""
    from hilum.anomaly.stage import chosen

    values = run.recipe()
    values["anomaly"] = chosen(run.anomaly, values.get("anomaly"), detectors)
    for item in changes:
        override(values, f"anomaly.{item}")
    recipe = checked(values, str(run.recipe_file))
    with _stage(run, "anomaly"):
        anomaly_stage(run, run.cases(), recipe.anomaly or AnomalyConfig(), recipe.replicates, force)


def leakage_stage(
    run: Run, cases: Cases, tasks: Mapping[str, Task], config: LeakageConfig, replicates: int
) -> dict[str, Any]:
    """What a split by image would have bought, from short trainings."""
    from hilum.comparison.leakage import leakage

    name = config.task or list(tasks)[-1]
    if name not in tasks:
        raise DataError(f"leakage.task {name!r} is not in this study", f"it has {', '.join(tasks)}")
    return leakage(
        run.leakage,
        cases,
        tasks[name],
        config.recipe(),
        config.folds,
        replicates=replicates,
        seeds=[config.seed],
    )


def explain_stage(
    run: Run, name: str, cases: Cases, split: pd.Series, one: Task, recipe: StudyRecipe, force: bool
) -> None:
    """Explanations of one task's model, and their faithfulness."""
    from hilum.stages.contract import Context
    from hilum.stages.explain import run as explain

    context = Context(run, cases, recipe, (one,), one, force)
    explain(context, recipe.explain or ExplainConfig())


def explain_run(run: Run, names: Sequence[str], changes: Sequence[str] = (), force: bool = False) -> None:
    """`hilum explain`: tasks of a run, with the recipe's choices or changed ones."""
    recipe = changed_recipe(run, "explain", changes)
    cases = run.cases()
    for name in names:
        with _stage(run, f"explain {name}"):
            explain_stage(run, name, cases, run.split(name), task(name, cases.labels), recipe, force)


def changed_recipe(run: Run, part: str, changes: Sequence[str]) -> StudyRecipe:
    """The run's recipe with choices of one part changed: "occlusion.mask=40" of the part "explain"."""

    values = run.recipe()
    values[part] = values.get(part) or {}  # null in a recipe that leaves the stage out
    for item in changes:
        override(values, f"{part}.{item}")
    return checked(values, str(run.recipe_file))


def evaluate_run(run: Run) -> None:
    """`hilum evaluate`: every task of a run again, with the weights that lie in it."""

    recipe = checked(run.recipe(), str(run.recipe_file))
    cases = run.cases()
    if not run.tasks:
        raise RunError(f"{run.path} holds no trained model", "go on with: hilum study ... --resume")
    for name in run.tasks:
        one = task(name, cases.labels)
        evaluate_stage(run.task(name), cases, run.split(name), one, recipe, force=True)
        if recipe.reliability:
            with _stage(run, f"reliability {name}"):
                reliability_stage(run, name, cases, recipe, force=True)


def _check_methods(recipe: StudyRecipe) -> None:
    """A method that does not exist or a mask that does not fit is found before anything is trained."""
    if recipe.missing:
        from hilum.evaluation.missing_pixels import check_corruptions

        check_corruptions(recipe.missing)
    if recipe.explain:
        from hilum.stages.explain import check

        check(recipe.explain, list(recipe.tasks.values()))


def _audit(run: Run, cases: Cases, splits: dict[str, Split]) -> None:
    digest = cases.digest
    known = run.audit()
    if known is None or known.get("cases_digest") != digest:
        with advancing("auditing") as advance:
            known = audit(cases, {name: one.of for name, one in splits.items()}, advance)
        write_json(run.audit_file, {**known, "cases_digest": digest})
    for sentence in known["findings"]:
        say(f"  {sentence}")


def _readable(cases: Cases, skip: bool, run: Run) -> Cases:
    """All cases, or those that can be read when the user said that the others may be skipped."""
    with advancing("reading") as advance:
        facts = facts_table(cases, advance)
    bad = facts.loc[~facts["readable"], ["case_id", "reason"]]
    if bad.empty:
        return cases
    names = [f"{row.case_id} ({row.reason})" for row in bad.itertuples()]
    if not skip:
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        raise DataError(
            f"{len(names)} of {len(cases)} files can't be read: {shown}",
            "replace them, or pass --skip-unreadable",
        )
    say(f"  {len(names)} unreadable files are left out: {', '.join(names[:3])}")
    run.add_facts(skipped_files=names)
    return cases.where(~cases.table["case_id"].isin(set(bad["case_id"])))


def _tasks_that_fit(recipe: StudyRecipe, cases: Cases) -> list[str]:
    possible = possible_tasks(cases.labels)
    if not possible:
        task("binary", cases.labels)  # raises the sentence that says why
    fitting = [name for name in recipe.tasks if name in possible]
    for name in recipe.tasks:
        if name not in possible:
            say(f"  task {name} is left out: the labels are {', '.join(cases.labels)}")
    if not fitting:
        task(next(iter(recipe.tasks)), cases.labels)
    return fitting


def _split(cases: Cases, recipe: TaskRecipe) -> Split:
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


def _every_class(sets: dict[str, Any], one: Task) -> None:
    for part, images in sets.items():
        for index, name in enumerate(one.classes):
            if not (images.targets == index).any():
                raise DataError(
                    f"split {part} of task {one.name!r} has no case of class {name!r}", "choose another split"
                )


def _values(block: dict[str, Any]) -> dict[str, float]:
    """The bare numbers of a metrics block, for the history."""
    return {
        name: entry["value"]
        for name, entry in block.items()
        if isinstance(entry, dict) and isinstance(entry.get("value"), float | int) and "class" not in entry
    }


# -- the run folder ------------------------------------------------------------------------------------------


def _open_run(wish: Wish, cases: Cases) -> Run:
    if wish.resume and (wish.out / "run.json").exists():
        run = Run(wish.out)
        _same_study(run, wish, cases)
        return run
    facts = {
        "name": wish.out.name,
        "preset": wish.recipe.name,
        "hilum": __version__,
        "argv": ["hilum", *sys.argv[1:]],
        "versions": {
            name: version(name) for name in ("torch", "lightning", "numpy", "pandas", "scikit-learn")
        },
        "python": platform.python_version(),
        "commit": _commit(),
        "machine": _machine(),
        "data": {
            "given": wish.data,
            "root": str(cases.root),
            "source": cases.source,
            "digest": cases.digest,
            "n_cases": len(cases),
            "n_patients": int(cases.table["patient"].nunique()),
            "notes": list(cases.notes),
        },
        "stages": {},
    }
    return Run.create(wish.out, facts, wish.recipe.to_yaml())


def _same_study(run: Run, wish: Wish, cases: Cases) -> None:
    """Going on is only allowed with the same data and the same recipe: a mixture would mean nothing. A choice
    that an older hilum did not know counts as its default, which leaves things as they were."""
    made_from = run.facts()["data"]["digest"]
    if made_from != cases.digest:
        raise RunError(
            f"{run.path} was made from other data (digest {made_from[:8]}, now {cases.digest[:8]})",
            "choose another --out",
        )
    before = checked(run.recipe(), str(run.recipe_file)).to_yaml()
    now = wish.recipe.to_yaml()
    for name, choices in now["tasks"].items():
        if name in before["tasks"] and before["tasks"][name] != choices:
            raise RunError(f"{run.path} was made with another recipe for {name!r}", "choose another --out")
    run.write_recipe({**before, "tasks": {**before["tasks"], **now["tasks"]}})


@contextmanager
def _stage(run: Run, name: str) -> Iterator[None]:
    """Writes down how long a stage took; a stage that was there already adds nothing worth writing."""
    start = time.perf_counter()
    yield
    seconds = round(time.perf_counter() - start, 1)
    stages = run.facts().get("stages", {})
    if name not in stages or seconds > 1:
        run.add_facts(stages={**stages, name: {"seconds": seconds + stages.get(name, {}).get("seconds", 0)}})


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


def _machine() -> dict[str, Any]:
    """What the run ran on, without names of people or hosts."""
    import torch

    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }
    return facts


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def default_out(data: str, preset: str) -> Path:
    """runs/<data>-<preset>.

    >>> default_out("path/to/chest_xray/", "quick").as_posix()
    'runs/chest_xray-quick'
    """
    return Path("runs") / f"{Path(data).stem}-{preset}"


def choose_tasks(recipe: StudyRecipe, names: Sequence[str]) -> StudyRecipe:
    """The recipe with these tasks only."""
    unknown = [name for name in names if name not in recipe.tasks]
    if unknown:
        from hilum.errors import RecipeError, nearest

        raise RecipeError(
            f"recipe {recipe.name!r} has no task {unknown[0]!r}", nearest(unknown[0], [*recipe.tasks])
        )
    return (
        recipe.model_copy(update={"tasks": {name: recipe.tasks[name] for name in names}}) if names else recipe
    )
