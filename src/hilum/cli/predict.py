"""hilum predict, hilum neighbors: single radiographs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import RunPath, ViewsRead, app, example


class Form(StrEnum):
    """How `hilum predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


class Engine(StrEnum):
    """What computes the answers."""

    torch = "torch"
    onnx = "onnx"
    openvino = "openvino"


@app.command(epilog=example("hilum predict image1.jpeg folder_of_images --format csv"))
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Radiographs, or folders of them.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="A task folder of a run, or a model folder. Default: the packaged models."
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="table, json or csv.")] = Form.table,
    attribution: Annotated[
        Path | None,
        typer.Option("--attribution", help="A folder to write an attribution map of each image to."),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    runtime: Annotated[
        Engine,
        typer.Option("--runtime", help="torch; or onnx or openvino, with --model an exported folder."),
    ] = Engine.torch,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with exit code 2 if any image could not be read.")
    ] = False,
    views: ViewsRead = None,
) -> None:
    """Class probabilities and a prediction for each radiograph; without --model with the packaged models.

    An image that cannot be read gets a row with its error; the others are predicted.
    """
    from hilum.data.dicom.options import reading_with
    from hilum.data.reading_options import from_command
    from hilum.serving.command import predict_command

    with reading_with(from_command(views=views).of_dicom):
        done = predict_command(images, model, form.value, attribution, device, strict, runtime.value)
    if not done:
        raise typer.Exit(2)


@app.command(epilog=example("hilum neighbors runs/real image.jpeg --task multiclass"))
def neighbors(
    run: RunPath,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A radiograph that is in no split.")],
    task: Annotated[
        str | None, typer.Option("--task", help="binary or multiclass. Default: the last.")
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many training images to show.", min=1)] = 7,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="The .png file to write. Default: neighbors-IMAGE.png."),
    ] = None,
) -> None:
    """The training images most similar to a radiograph: a table and a contact sheet."""
    from hilum.data.listing import fitting
    from hilum.embedding.query import contact_sheet, neighbors_of_file
    from hilum.embedding.show import neighbors_tables, print_all
    from hilum.run import Run

    similar = neighbors_of_file(Run(run), image, task, k)
    print_all(neighbors_tables(similar))
    print(contact_sheet(similar, sheet or Path(f"neighbors-{fitting(image.stem)}.png")))
