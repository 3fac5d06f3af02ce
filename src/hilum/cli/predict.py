"""hilum predict, hilum neighbors: single radiographs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import RunPath, app, example


class Form(StrEnum):
    """How `hilum predict` prints."""

    table = "table"
    json = "json"
    csv = "csv"


@app.command(epilog=example("hilum predict image1.jpeg folder_of_images --format csv"))
def predict(
    images: Annotated[
        list[Path], typer.Argument(help="Radiographs, or folders of them.", show_default=False)
    ],
    model: Annotated[
        Path | None,
        typer.Option("--model", help="A run's task folder or a model folder; default: the package's own."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to print.")] = Form.table,
    attribution: Annotated[
        Path | None, typer.Option("--attribution", help="Folder for an attribution picture per image.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 2 if any image could not be read.")
    ] = False,
) -> None:
    """Class probabilities and a prediction for radiographs, with nothing to train."""
    from hilum.serving.command import predict_command

    if not predict_command(images, model, form.value, attribution, device, strict):
        raise typer.Exit(2)


@app.command(epilog=example("hilum neighbors runs/real image.jpeg --task multiclass"))
def neighbors(
    run: RunPath,
    image: Annotated[Path, typer.Argument(help="A radiograph, in no split.", show_default=False)],
    task: Annotated[
        str | None, typer.Option("--task", help="binary or multiclass; default: the last.")
    ] = None,
    k: Annotated[int, typer.Option(help="How many.")] = 7,
    sheet: Annotated[Path | None, typer.Option(help="Where to write the pictures (.png).")] = None,
) -> None:
    """The training images most similar to a radiograph: a table and a contact sheet."""
    from hilum.embedding.query import contact_sheet, neighbors_of_file
    from hilum.embedding.show import neighbors_tables, print_all
    from hilum.run import Run

    similar = neighbors_of_file(Run(run), image, task, k)
    print_all(neighbors_tables(similar))
    print(contact_sheet(similar, sheet or Path(f"neighbors-{image.stem}.png")))
