"""The commands of single stages of a run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hilum.cli.app import (
    Classes,
    ClassTasks,
    DicomKey,
    Exclude,
    Force,
    Healthy,
    PatientFrom,
    RunPath,
    ShowNames,
    Tasks,
    ViewsRead,
    app,
    example,
    going_on,
)
from hilum.data.reading_options import from_command
from hilum.stages import STAGES, Stage

if TYPE_CHECKING:
    from hilum.run import Run

Change = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Change one setting of the stage as KEY=VALUE; `hilum recipe` lists them. Repeatable."
    ),
]


def run_stage(
    run: Path, name: str, tasks: Sequence[str] | None, changes: Sequence[str] | None, force: bool
) -> "Run":
    """Runs one stage and what it needs; Ctrl-C says how to go on.

    >>> run_stage(Path("gone"), "embed", None, None, force=False)
    Traceback (most recent call last):
    hilum.errors.RunError: run folder gone does not exist; make one with: hilum study DATA --out PATH
    """
    from hilum.runner import run_stage

    with going_on():
        return run_stage(run, name, tasks=tasks or [], changes=changes or [], force=force)


@app.command(epilog=example("hilum evaluate runs/real"))
def evaluate(run: RunPath, task: Tasks = None, force: Force = False) -> None:
    """Predicts every split with the trained networks and prints the metrics and their reliability."""
    from hilum.evaluation.show import metrics_table, reliability_table

    print(metrics_table(run_stage(run, "evaluate", task, None, force)))
    figures = reliability_table(run_stage(run, "reliability", task, None, force))
    print(f"\n{figures}" if figures else "", end="\n" if figures else "")


@app.command(epilog=example("hilum embed runs/real --set maps=[tsne,umap] --set select=true"))
def embed(
    run: RunPath,
    task: ClassTasks = None,
    change: Change = None,
    force: Force = False,
) -> None:
    """Vectors of every image: neighbours, kNN beside the network's head, maps, retrieval, label suspects.

    A study runs this stage, too; settings that are changed here stay in the recipe of the run.
    """
    from hilum.artifacts.embedding import EmbeddingFigures
    from hilum.embedding.show import print_all, tables

    finished = run_stage(run, "embed", task, change, force)
    for name in task or finished.tasks:
        print_all(tables(EmbeddingFigures.load(finished.task(name).embeddings.figures_file)))


@app.command(epilog=example("hilum anomaly runs/real --detector patch_memory --set ood_images=50"))
def anomaly(
    run: RunPath,
    detector: Annotated[
        list[str] | None,
        typer.Option(
            "--detector", help="Add a detector to those of the recipe, for example patch_memory. Repeatable."
        ),
    ] = None,
    change: Change = None,
    force: Force = False,
) -> None:
    """Detectors fitted on healthy images alone: anomaly scores and maps of every image, and a leaderboard.

    A detector that is already fitted with the same settings is not fitted again, unless with --force.
    """
    from hilum.anomaly.show import leaderboard_text
    from hilum.run import Run
    from hilum.stages.anomaly import more_detectors

    opened = Run(run)
    added = more_detectors(opened.recipe().get("anomaly"), detector or [])
    run_stage(run, "anomaly", None, [*added, *(change or [])], force)
    print(leaderboard_text(opened.anomaly.figures()))


@app.command(epilog=example("hilum explain runs/real --task binary --image image.jpeg --method grad_cam"))
def explain(
    run: RunPath,
    task: Annotated[
        str | None,
        typer.Option("--task", help="binary or multiclass. Default: all; for one image, the last."),
    ] = None,
    case: Annotated[
        str | None, typer.Option("--case", help="Explain one case of the run, given by its case_id.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="Explain one radiograph that is in no split.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help="A method, for example grad_cam. Default: those of the recipe. Repeatable."
        ),
    ] = None,
    target_class: Annotated[
        str | None,
        typer.Option("--class", help="Explain this class. Default: the most probable. One image only."),
    ] = None,
    change: Change = None,
    force: Force = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="The folder to write. Default: explain-NAME. One image only.")
    ] = None,
) -> None:
    """Explanations of the networks: the whole stage, or with --case or --image the maps of one image.

    The maps of one image are written as .npz and .png; an image is resized to the input of the network.
    """
    from hilum.errors import RecipeError
    from hilum.explain.single import choose_task
    from hilum.run import Run

    opened = Run(run)
    chosen = choose_task(opened, task)
    if case is not None or image is not None:
        with going_on():
            _explain_image(opened, chosen, case, image, method or [], target_class, change or [], force, out)
        return
    for name, value in (("--class", target_class), ("--out", out)):
        if value is not None:
            raise RecipeError(f"{name} {value} needs one image", "name it with --case or --image")
    named = [f"methods=[{', '.join(method)}]"] if method else []
    tasks = [chosen] if task else [*opened.tasks]
    run_stage(run, "explain", tasks, [*(change or []), *named], force)
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
    from hilum.runner import settings_of

    config: Any = settings_of(run, "explain", changes)
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


@app.command(epilog=example("hilum robustness runs/real --set corruptions=[block,blur] --set images=300"))
def robustness(
    run: RunPath,
    change: Change = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Measure accuracy by number of labelled patients instead.")
    ] = False,
    classes: Annotated[
        bool,
        typer.Option("--classes", help="Test a network that was never trained on the last class instead."),
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="Compare training with and without corrupted images instead.")
    ] = False,
    force: Force = False,
) -> None:
    """Accuracy, AUROC and calibration on held-out images with missing or corrupted pixels.

    A study measures some corruptions, this command all of them. With --labels, --classes or --training it
    trains small networks of the last task instead; --set then changes the settings of that stage.
    """
    from hilum.robustness.show import robustness_text
    from hilum.run import Run
    from hilum.stages.robustness import EVERYTHING

    wanted = {"label_efficiency": labels, "unseen_class": classes, "corruption_training": training}
    stages = [name for name, on in wanted.items() if on] or ["robustness"]
    for stage in stages:
        all_of_it = EVERYTHING if stage == "robustness" else []
        tasks = None if stage == "robustness" else [*Run(run).tasks[-1:]]
        opened = run_stage(run, stage, tasks, [*all_of_it, *(change or [])], force)
        print(robustness_text(opened, stage))


@app.command(epilog=example("hilum counterfactual runs/real"))
def counterfactual(
    place: Annotated[Path, typer.Argument(metavar="RUN|DATA", help="A run folder, or radiographs.")],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="With DATA: a model folder. Default: the packaged models."),
    ] = None,
    task: ClassTasks = None,
    change: Change = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
    force: Force = False,
) -> None:
    """Held-out images in the look of the other label's devices: does a network read the disease or the device?

    With RUN the networks of a study, with DATA those of the package or of --model, on the validation part of the
    split that the model's card names; the options of reading are for DATA.
    """
    from hilum.evaluation.counterfactual.show import counterfactual_text

    if not (place / "run.json").exists():
        from hilum.serving.counterfactual import model_figures

        options = from_command(None, healthy, patient_from, classes, exclude, views, show_names, dicom_key)
        for name, figures in model_figures(str(place), model, change or [], options):
            print(f"{name}: {counterfactual_text(figures)}\n")
        return
    finished = run_stage(place, "counterfactual", task, change, force)
    for name in task or finished.tasks:
        print(f"{name}: {counterfactual_text(finished.task(name).counterfactual())}\n")


def _plain_command(stage: Stage) -> Callable[..., None]:
    """A command that runs one stage and prints what became of it."""

    def work(run: Path, task: list[str] | None, change: list[str] | None, force: bool) -> None:
        opened = run_stage(run, stage.name, task, change, force)
        for label, record in opened.stage_records().items():
            if label.split()[0] == stage.name:
                print(f"{label}: {record.status}")

    def for_tasks(run: RunPath, task: ClassTasks = None, change: Change = None, force: Force = False) -> None:
        work(run, task, change, force)

    def for_study(run: RunPath, change: Change = None, force: Force = False) -> None:
        work(run, None, change, force)

    return for_tasks if stage.per_task else for_study


# Stages that have no command above get one, those of plug-ins as well.
for _stage in STAGES:
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    if not _stage.core and not _stage.on_request and _stage.name not in known:
        app.command(_stage.name, help=_stage.about, epilog=example(f"hilum {_stage.name} runs/real"))(
            _plain_command(_stage)
        )
