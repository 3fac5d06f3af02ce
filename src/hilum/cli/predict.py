"""hilum predict: single radiographs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import ViewsRead, app, example


class Form(StrEnum):
    """How `hilum predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


class Runtime(StrEnum):
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
        Runtime,
        typer.Option("--runtime", help="torch; or onnx or openvino, with --model an exported folder."),
    ] = Runtime.torch,
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
