"""The command line: one short command per stage. Heavy imports stay inside the commands."""

import errno
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.errors import HilumError

if TYPE_CHECKING:
    from hilum.recipe import StudyRecipe
    from hilum.run import Run

app = typer.Typer(
    name="hilum",
    help="From a folder of chest radiographs to trained, tested, explained models and one report.",
    epilog="Example:  hilum study path/to/chest_xray --preset quick --out runs/real",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
data_app = typer.Typer(
    help="Look at, fetch or draw data.",
    epilog="Example:  hilum data audit path/to/chest_xray",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


class Form(StrEnum):
    """How `hilum predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


Data = Annotated[
    str,
    typer.Argument(help="Folder, .csv or .npz with radiographs, or the word 'phantom'.", show_default=False),
]
RunPath = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Preset = Annotated[str, typer.Option("--preset", help="quick, seed, best, or a recipe file (.yaml).")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one choice, e.g. multiclass.training.epochs=3. Repeatable."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Run folder to write; default runs/DATA-PRESET.")]
Source = Annotated[
    str | None, typer.Option("--source", help="Reader of the data; default: the first that fits.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is already in --out.")]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave damaged files out instead of stopping.")]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", help="binary or multiclass; default: all. Repeatable.")
]


def _example(text: str) -> str:
    return f"Example:  {text}"


@app.command(epilog=_example("hilum study path/to/chest_xray --preset quick --out runs/real"))
def study(
    data: Data = "phantom",
    preset: Preset = "quick",
    out: Out = None,
    task: Tasks = None,
    change: Set = None,
    source: Source = None,
    skip_unreadable: Skip = False,
    resume: Resume = False,
) -> None:
    """The main job: audit, split, train, evaluate, report."""
    _study(data, preset, out, task, change, source, skip_unreadable, resume, report=True)


@app.command(
    epilog=_example("hilum train path/to/chest_xray --task multiclass --preset seed --out runs/seed")
)
def train(
    data: Data = "phantom",
    preset: Preset = "quick",
    out: Out = None,
    task: Tasks = None,
    change: Set = None,
    source: Source = None,
    skip_unreadable: Skip = False,
    resume: Resume = False,
) -> None:
    """Like study, without the report: audit, split, train, evaluate."""
    _study(data, preset, out, task, change, source, skip_unreadable, resume, report=False)


def _study(
    data: str,
    preset: str,
    out: Path | None,
    tasks: list[str] | None,
    changes: list[str] | None,
    source: str | None,
    skip_unreadable: bool,
    resume: bool,
    report: bool,
) -> None:
    from hilum.recipe import load_recipe

    if skip_unreadable:
        changes = [*(changes or []), "skip_unreadable=true"]
    recipe = load_recipe(preset, changes or [])  # a fault in the recipe is found before torch is loaded
    from hilum.study import Wish, choose_tasks, default_out
    from hilum.study import study as run_study

    recipe = choose_tasks(recipe, tasks or [])
    folder = out or default_out(data, recipe.name)
    try:
        run = run_study(Wish(data, recipe, folder, source, resume, report))
    except KeyboardInterrupt:
        raise HilumInterrupt(
            f"stopped; go on with the same command and --resume (run folder {folder})"
        ) from None
    print(run.report_file if report else run.path)


@app.command(epilog=_example("hilum evaluate runs/real"))
def evaluate(run: RunPath) -> None:
    """Predicts every split again with the weights in the run; writes predictions, metrics and reliability.json."""
    from hilum.evaluation.show import metrics_table, reliability_table
    from hilum.run import Run
    from hilum.study import evaluate_run

    opened = Run(run)
    evaluate_run(opened)
    print("\n\n".join(part for part in (metrics_table(opened), reliability_table(opened)) if part))


@app.command(epilog=_example("hilum embed runs/real --set maps=[tsne,umap] --set select=true"))
def embed(
    run: RunPath,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one choice, e.g. layer=embedding, k=15, maps=[umap]. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also when nothing has changed.")] = False,
) -> None:
    """Vectors of every case: neighbours, kNN beside the head, maps, retrieval, suspect labels."""
    from hilum.embedding.show import embedding_table
    from hilum.run import Run
    from hilum.study import embed_run

    opened = Run(run)
    embed_run(opened, change or [], force)
    print(embedding_table(opened))


@app.command(epilog=_example("hilum neighbors runs/real image.jpeg --task multiclass"))
def neighbors(
    run: RunPath,
    image: Annotated[Path, typer.Argument(help="A radiograph, in no split.", show_default=False)],
    task: Annotated[
        str | None, typer.Option("--task", help="binary or multiclass; default: the last.")
    ] = None,
    k: Annotated[int, typer.Option(help="How many.")] = 7,
    sheet: Annotated[Path | None, typer.Option(help="Where to write the pictures (.png).")] = None,
) -> None:
    """Which cases of train look like this one: a table and a contact sheet."""
    from hilum.embedding.query import contact_sheet, neighbors_of_file
    from hilum.embedding.show import neighbors_text
    from hilum.run import Run

    answer = neighbors_of_file(Run(run), image, task, k)
    print(neighbors_text(answer))
    print(contact_sheet(answer, sheet or Path(f"neighbors-{image.stem}.png")))


@app.command(epilog=_example("hilum anomaly runs/real --detector patch_memory --set ood_images=50"))
def anomaly(
    run: RunPath,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector", help="One more row of the leaderboard; default: those at hand. Repeatable."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one choice, e.g. detectors.patch_memory.memory=999. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Fit and score also when nothing changed.")] = False,
) -> None:
    """Detectors that have seen healthy images alone: how strange is each image, and where."""
    from hilum.anomaly.show import leaderboard_text
    from hilum.run import Run
    from hilum.study import anomaly_run

    opened = Run(run)
    anomaly_run(opened, detector or [], change or [], force)
    print(leaderboard_text(opened))


@app.command(epilog=_example("hilum explain runs/real --task binary --image image.jpeg --method grad_cam"))
def explain(
    run: RunPath,
    task: Annotated[
        str | None,
        typer.Option("--task", help="binary or multiclass; default: all, or the last for one image."),
    ] = None,
    case: Annotated[str | None, typer.Option("--case", help="One case of the run, by its case_id.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="One radiograph, in no split.")] = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="e.g. grad_cam, occlusion; default: the recipe's. Repeatable."),
    ] = None,
    target_class: Annotated[
        str | None, typer.Option("--class", help="Evidence for this class; default: the most probable.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one setting, e.g. occlusion.mask=60. Repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Do it even when it is done.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for one image; default: explain-NAME.")
    ] = None,
) -> None:
    """Explanations of the models: the stage, or the maps of one image as pictures and numbers."""
    from hilum.errors import RecipeError
    from hilum.explain.single import choose_task
    from hilum.run import Run
    from hilum.study import explain_run

    opened = Run(run)
    chosen = choose_task(opened, task)
    changes = change or []
    try:
        if case is not None or image is not None:
            _explain_image(opened, chosen, case, image, method or [], target_class, changes, force, out)
            return
        for name, value in (("--class", target_class), ("--out", out)):
            if value is not None:
                raise RecipeError(f"{name} {value} needs one image", "name it with --case or --image")
        if method:
            changes = [*changes, f"methods=[{', '.join(method)}]"]
        tasks = [chosen] if task else opened.tasks
        explain_run(opened, tasks, changes, force)
    except KeyboardInterrupt:
        raise HilumInterrupt("stopped; the same command goes on with what is there") from None
    from hilum.explain.show import stage_text

    print(stage_text([opened.task(name).attributions.figures() for name in tasks]))


def _explain_image(
    run: "Run",
    task: str,
    case: str | None,
    image: Path | None,
    methods: list[str],
    target_class: str | None,
    changes: list[str],
    force: bool,
    out: Path | None,
) -> None:
    from hilum.explain.attribution import load_method
    from hilum.explain.show import image_text
    from hilum.explain.single import explain_image, find_image
    from hilum.report.explanations.png import write_pictures
    from hilum.stages.explain import ExplainConfig
    from hilum.study import changed_recipe

    config = changed_recipe(run, "explain", changes).explain or ExplainConfig()
    source = find_image(run, case, image)
    explanation = explain_image(
        run.task(task).load_model(),
        source,
        {name: config.methods.get(name, {}) for name in methods or config.methods},
        out or Path(f"explain-{source[0]}"),
        target_class=target_class,
        occlusion=config.occlusion,
        layer=config.layer,
        faithfulness=config.faithfulness,
        seed=config.seed,
        force=force,
    )
    print(image_text(explanation))
    pictures = write_pictures(
        explanation.case_id,
        explanation.grey,
        explanation.model.pixels,
        explanation.target_class,
        {name: (load_method(name).TITLE, values) for name, values in explanation.maps.items()},
        explanation.occlusion,
        explanation.folder.path,
    )
    print(pictures[0])


@app.command(epilog=_example("hilum missing runs/real --set corruptions=[block,blur] --set images=300"))
def missing(
    run: RunPath,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one choice, e.g. severities=[1,5], images=300. Repeatable."),
    ] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Instead: accuracy by the number of labelled patients.")
    ] = False,
    classes: Annotated[
        bool, typer.Option("--classes", help="Instead: a network that never saw the last class.")
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Instead: a network trained with and without corrupted images.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what is there already.")] = False,
) -> None:
    """Held-out images with pixels missing or corrupted; or labels, or a whole class, missing in training."""
    from hilum.evaluation.show import missing_table
    from hilum.run import Run
    from hilum.study import missing_run

    asked = {"labels": labels, "classes": classes, "training": training}
    kinds = [name for name, wanted in asked.items() if wanted] or ["pixels"]
    opened = Run(run)
    try:
        missing_run(opened, change or [], force, kinds)
    except KeyboardInterrupt:
        raise HilumInterrupt("stopped; the same command goes on with what is there") from None
    print(missing_table(opened, kinds))


@app.command(epilog=_example("hilum compare path/to/chest_xray --grid alternatives --out runs/alternatives"))
def compare(
    data: Data = "phantom",
    grid: Annotated[
        str, typer.Option("--grid", help="A grid file (.yaml), or the name of one that hilum brings.")
    ] = "alternatives",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write or to go on with; default runs/DATA-GRID.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change one choice of every cell, e.g. training.epochs=3. Repeatable."),
    ] = None,
    search: Annotated[
        int, typer.Option("--search", help="Draw and judge so many trials from the grid's ranges.", min=0)
    ] = 0,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Train this cell now, not the others. Repeatable.")
    ] = None,
    leakage: Annotated[
        bool, typer.Option("--leakage", help="Instead of a grid: what a split by image would have bought.")
    ] = False,
    preset: Annotated[str, typer.Option("--preset", help="With --leakage: the recipe to train.")] = "quick",
    task: Annotated[
        str | None,
        typer.Option("--task", help="binary or multiclass; default the grid's own, with --leakage the last."),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", help="With --leakage: trainings per way.", min=2)] = 2,
    source: Source = None,
    skip_unreadable: Skip = False,
) -> None:
    """Many recipes on the same patient-disjoint folds: one table with spread and paired tests.

    What is finished in --out is not trained again; a training that was cut off goes on.
    """
    if leakage:
        _full_leakage(data, preset, task, folds, change or [], out, source, skip_unreadable)
        return
    from hilum.comparison.grid import chosen, command_changes, load_grid

    loaded, cells = load_grid(grid, change or [], task)  # a fault in it is found before torch is loaded
    names = chosen(cells, only or [])
    from hilum.comparison.run import Wish
    from hilum.comparison.run import compare as run_comparison
    from hilum.comparison.show import comparison_text
    from hilum.study import default_out

    folder = out or default_out(data, loaded.name)
    try:
        result = run_comparison(
            Wish(
                data,
                loaded,
                cells,
                folder,
                grid,
                source,
                skip_unreadable,
                names,
                search,
                command_changes(change or []),
            )
        )
    except KeyboardInterrupt:
        raise HilumInterrupt(f"stopped; the same command goes on (folder {folder})") from None
    print(comparison_text(result))
    print(folder / "index.html")


def _full_leakage(
    data: str,
    preset: str,
    task: str | None,
    folds: int,
    changes: list[str],
    out: Path | None,
    source: str | None,
    skip_unreadable: bool,
) -> None:
    from hilum.recipe import load_recipe

    recipe = load_recipe(preset)
    name = task or [*recipe.tasks][-1]
    recipe = load_recipe(preset, [f"{name}.{item}" for item in changes])
    from hilum.comparison.full_leakage import full_leakage, leakage_text
    from hilum.study import choose_tasks, default_out

    folder = out or default_out(data, f"{recipe.name}-leakage")
    try:
        chosen = choose_tasks(recipe, [name]).tasks[name]
        found = full_leakage(data, name, chosen, folds, folder, recipe.replicates, source, skip_unreadable)
    except KeyboardInterrupt:
        raise HilumInterrupt(f"stopped; the same command goes on (folder {folder})") from None
    print(leakage_text(found))
    print(folder / "index.html")


@app.command(epilog=_example("hilum report runs/real"))
def report(run: RunPath) -> None:
    """Draws the report again from what is in the run folder; needs no torch."""
    from hilum.report.build import build_report
    from hilum.run import Run

    print(build_report(Run(run)))


@app.command(epilog=_example("hilum predict image1.jpeg folder_of_images --format csv"))
def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Radiographs, or folders of them.", show_default=False)
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="A run's task folder or a model folder; default: the package's own."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to print.")] = Form.table,
    heat_map: Annotated[
        Path | None, typer.Option("--heat-map", help="Folder for a picture per image; without --model only.")
    ] = None,
) -> None:
    """Probabilities of each class for single radiographs, with nothing to train."""
    if model is None:
        from hilum.serving.predictor import packaged_text, predict_packaged

        print(packaged_text(predict_packaged(images, heat_map), form.value))
        return
    from hilum.errors import RecipeError
    from hilum.evaluation.predict import predict_files
    from hilum.evaluation.show import predictions_text

    if heat_map is not None:
        raise RecipeError("--heat-map goes with the package's own models", "use hilum explain for a run")
    print(predictions_text(predict_files(model, images), form.value))


@data_app.command("audit", epilog=_example("hilum data audit path/to/chest_xray"))
def data_audit(data: Data, source: Source = None) -> None:
    """Unreadable files, duplicates, patients across splits, and what predicts the label without a lung."""
    from rich.console import Console

    from hilum.data.audit import audit, terminal_table
    from hilum.data.sources import open_source
    from hilum.progress import advancing

    cases = open_source(data, source)
    with advancing("auditing") as advance:
        result = audit(cases, None, advance)
    Console().print(terminal_table(result))


@data_app.command("fetch", epilog=_example("hilum data fetch"))
def data_fetch() -> None:
    """Brings the public paediatric set (Kermany 2018, CC BY 4.0) through kagglehub and prints its folder."""
    from hilum.data.fetch import fetch

    print(fetch())


@data_app.command("phantom", epilog=_example("hilum data phantom my_phantom --patients 60 --seed 1"))
def data_phantom(
    folder: Annotated[Path, typer.Argument(help="Folder to write.", show_default=False)],
    patients: Annotated[
        int | None, typer.Option(help="How many patients; default: the built-in set's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other images.")] = 0,
    shortcut: Annotated[
        str | None, typer.Option(help="Plant a shortcut in abnormal images, e.g. marker.")
    ] = None,
) -> None:
    """Draws phantom radiographs with known lesions and writes them with their masks and cases.csv."""
    from hilum.data.sources.phantom import PhantomSettings, write

    settings = {"seed": seed, "shortcut": shortcut}
    if patients is not None:
        settings["patients"] = patients
    print(write(folder, PhantomSettings(**settings)))


@app.command(epilog=_example("hilum recipe best --set multiclass.training.epochs=30 > mine.yaml"))
def recipe(
    preset: Annotated[str, typer.Argument(help="quick, seed, best, or a recipe file.")] = "quick",
    change: Set = None,
) -> None:
    """Prints a recipe with every choice written out, to keep or to change."""
    import yaml

    from hilum.recipe import load_recipe

    loaded: StudyRecipe = load_recipe(preset, change or [])
    print(yaml.safe_dump(loaded.to_yaml(), sort_keys=False, allow_unicode=True), end="")


class HilumInterrupt(Exception):
    """Ctrl-C with a sentence about what to do next."""


def main() -> None:
    """Runs the command line; every error that a user can cause is one sentence and exit code 2."""
    try:
        app()
    except HilumError as error:
        _end(str(error), 2)
    except HilumInterrupt as stop:
        _end(str(stop), 130)
    except KeyboardInterrupt:
        _end("stopped", 130)
    except OSError as error:
        _end(_sentence(error), 2)


def _sentence(error: OSError) -> str:
    """The operating system's complaint with place and remedy."""
    place = error.filename or "the disk"
    if error.errno == errno.ENOSPC:
        return f"{place}: no space left; free some space and go on with --resume"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: no permission; choose another folder or change its rights"
    return f"{place}: {error.strerror or error}; check that the place exists and can be used"


def _end(sentence: str, code: int) -> None:
    print(f"hilum: {sentence}", file=sys.stderr)
    sys.exit(code)
