"""hilum data: inspect, audit, fetch or make data."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import (
    Classes,
    Data,
    DicomKey,
    Exclude,
    Healthy,
    PatientFrom,
    ShowNames,
    Source,
    ViewsRead,
    app,
    example,
)
from hilum.data.reading_options import from_command

data_app = typer.Typer(
    help="Inspect, audit, fetch or make data.",
    epilog=example("hilum data audit path/to/chest_xray"),
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


class Form(StrEnum):
    """How `hilum data inspect` prints."""

    table = "table"
    json = "json"


@data_app.command("inspect", epilog=example("hilum data inspect path/to/chest_xray"))
def data_inspect(
    data: Data,
    source: Source = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
    form: Annotated[Form, typer.Option("--format", help="table or json.")] = Form.table,
) -> None:
    """Prints how the data is read: layout, splits, classes, the healthy label, patients, and what is left out."""
    from hilum.data.show import reading_json, reading_text
    from hilum.data.sources import open_source

    cases = open_source(
        data,
        options=from_command(source, healthy, patient_from, classes, exclude, views, show_names, dicom_key),
    )
    print(reading_json(cases) if form is Form.json else reading_text(cases))


@data_app.command("audit", epilog=example("hilum data audit path/to/chest_xray"))
def data_audit(
    data: Data,
    source: Source = None,
    healthy: Healthy = None,
    patient_from: PatientFrom = None,
    classes: Classes = None,
    exclude: Exclude = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
) -> None:
    """Lists unreadable files, duplicates, patients in several splits, and what predicts the label without the lungs."""
    from rich.console import Console

    from hilum.data.audit import audit
    from hilum.data.show import audit_tables, unreadable_of
    from hilum.data.sources import open_source
    from hilum.progress import advancing, say

    cases = open_source(
        data,
        options=from_command(source, healthy, patient_from, classes, exclude, views, show_names, dicom_key),
    )
    with advancing("auditing") as advance:
        result = audit(cases, None, advance)
    for sentence in unreadable_of(result, cases):
        say(sentence)
    Console().print(audit_tables(result))


@data_app.command("fetch", epilog=example("hilum data fetch"))
def data_fetch() -> None:
    """Downloads the public paediatric set (Kermany 2018, CC BY 4.0) and prints its folder.

    Needs kagglehub: pip install 'hilum[fetch]'.
    """
    from hilum.data.fetch import fetch

    print(fetch())


@data_app.command("phantom", epilog=example("hilum data phantom my_phantom --patients 60 --seed 1"))
def data_phantom(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write.")],
    patients: Annotated[
        int | None, typer.Option("--patients", help="How many patients. Default: those of the built-in set.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other patients.")] = 0,
    shortcut: Annotated[
        str | None,
        typer.Option("--shortcut", help="Plant a shortcut in abnormal images, for example marker."),
    ] = None,
) -> None:
    """Writes synthetic radiographs with known lesions, their masks and cases.csv, and prints the folder."""
    from hilum.data.sources.phantom import PhantomSettings, write

    settings = {"seed": seed, "shortcut": shortcut}
    if patients is not None:
        settings["patients"] = patients
    print(write(folder, PhantomSettings(**settings)))


@data_app.command("to-png", epilog=example("hilum data to-png path/to/dicom --out path/to/png"))
def data_to_png(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A folder, a table, a DICOMDIR or one radiograph.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Cut and resize as for this model. Default: the whole image in its own size."
        ),
    ] = None,
    views: ViewsRead = None,
    show_names: ShowNames = False,
    dicom_key: DicomKey = None,
) -> None:
    """Writes radiographs as 8-bit PNG files with the grey levels that a network sees, and prints the folder.

    DICOM files get pseudonyms for names, unless with --show-names; with labels there is a folder per class.
    """
    from hilum.data.export import export_png
    from hilum.data.images import Pixels
    from hilum.progress import advancing, say

    pixels = None
    if model is not None:
        from hilum.artifacts.card import ModelCard
        from hilum.models import model_folder

        pixels = Pixels.of(ModelCard.load(model_folder(model) / "model.json").pixels)
    with advancing("writing") as advance:
        options = from_command(views=views, show_names=show_names, dicom_key=dicom_key)
        files, unreadable = export_png(data, out, pixels, advance, options)
    for sentence in unreadable:
        say(sentence)
    say(f"{len(files):,} written, {len(unreadable):,} could not be read")
    if not files:
        raise typer.Exit(2)
    print(out)
