"""hilum track: a run in MLflow or TensorBoard."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import RunPath, app, example
from hilum.errors import RecipeError


@app.command(epilog=example("hilum track runs/real --mlflow sqlite:///mlflow.db --tensorboard events"))
def track(
    run: RunPath,
    mlflow: Annotated[
        str | None,
        typer.Option("--mlflow", metavar="ADDRESS", help="A server (http://HOST:5000) or sqlite:///FILE."),
    ] = None,
    experiment: Annotated[str, typer.Option("--experiment", help="The experiment in MLflow.")] = "hilum",
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", help="A folder for event files.")
    ] = None,
) -> None:
    """Sends figures with intervals, history, recipe, cards, drawings, report and models of a run to trackers.

    It can be repeated: the same weights are the same MLflow run.
    """
    from hilum.run import Run
    from hilum.scale.track import to_mlflow, to_tensorboard

    if mlflow is None and tensorboard is None:
        raise RecipeError("no tracker is named", "use --mlflow ADDRESS or --tensorboard FOLDER")
    opened = Run(run)
    if mlflow is not None:
        for number in to_mlflow(opened, mlflow, experiment):
            print(f"MLflow run {number}")
    if tensorboard is not None:
        for place in to_tensorboard(opened, tensorboard):
            print(place)
