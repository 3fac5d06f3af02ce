"""hilum recalibrate, hilum adapt: a trained model meets the images of another place."""

from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import app, example

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A task folder of a run, or a model folder.")]


@app.command(epilog=example("hilum recalibrate runs/real/binary --healthy our-healthy-images"))
def recalibrate(
    model: Model,
    healthy: Annotated[
        Path, typer.Option("--healthy", help="A folder of your own healthy radiographs, one per patient.")
    ],
    specificity: Annotated[
        float,
        typer.Option("--specificity", help="The share of new healthy images to be classified as normal."),
    ] = 0.95,
    out: Annotated[
        Path | None, typer.Option("--out", help="The model folder to write. Default: NAME-recalibrated.")
    ] = None,
) -> None:
    """Set the threshold of a model with your own healthy images; writes a copy with a new card."""
    from hilum.serving.recalibrate import recalibrate
    from hilum.serving.show import recalibrated_text

    print(recalibrated_text(recalibrate(model, healthy, specificity, out)))


@app.command(epilog=example("hilum adapt runs/real/binary our-images --prior"))
def adapt(
    model: Model,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of your own radiographs.")],
    prior: Annotated[
        bool, typer.Option("--prior", help="Estimate how frequent the classes are, too.")
    ] = False,
    source_images: Annotated[
        int,
        typer.Option("--source-images", help="How many images the statistics of training count for.", min=0),
    ] = 16,
    out: Annotated[
        Path | None, typer.Option("--out", help="The model folder to write. Default: NAME-adapted.")
    ] = None,
) -> None:
    """Adapt a model to your own images without labels; writes a new model folder."""
    from hilum.serving.adapt import adapt
    from hilum.serving.show import adapted_text

    print(adapted_text(adapt(model, folder, out, source_images, prior)))
