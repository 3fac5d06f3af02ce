"""hilum score: an archive of radiographs."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import Engine, app, example, going_on
from hilum.cli.predict import Runtime


class Embedding(StrEnum):
    """The type of an embedding's numbers."""

    float16 = "float16"
    float32 = "float32"


@app.command(epilog=example("hilum score archive --out scores --model runs/real/binary --workers 8"))
def score(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a list (.txt, .csv), a .tar, .zip or .parquet, or a pattern of these; a path or a URL.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder of the table of predictions.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="A task folder of a run, or a model folder. Default: the packaged models."
        ),
    ] = None,
    engine: Annotated[
        Engine, typer.Option("--engine", help="local: processes of this machine; ray: a Ray cluster.")
    ] = Engine.local,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that predict. Default: one per core.", min=1)
    ] = None,
    part_size: Annotated[
        int, typer.Option("--part-size", help="Rows of each file of the table.", min=1)
    ] = 5000,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    runtime: Annotated[
        Runtime,
        typer.Option("--runtime", help="torch; or onnx or openvino, with --model an exported folder."),
    ] = Runtime.torch,
    embedding: Annotated[
        Embedding, typer.Option("--embedding", help="Numbers of the embeddings: float16 or float32.")
    ] = Embedding.float16,
    no_embedding: Annotated[bool, typer.Option("--no-embedding", help="Leave the embeddings out.")] = False,
    column: Annotated[
        str | None,
        typer.Option("--column", help="The column of a .csv or .parquet that holds paths or images."),
    ] = None,
) -> None:
    """Predictions for every image of an archive, as Parquet files: one row per image, whatever happens.

    The same command again goes on where it stopped. An image that cannot be read gets a row with its error.
    """
    from hilum.scale.score import ScoreConfig, score
    from hilum.scale.score_show import scored_text

    config = ScoreConfig(
        model=model,
        engine=engine.value,
        workers=workers,
        part_size=part_size,
        device=device,
        embedding=None if no_embedding else embedding.value,
        column=column,
        runtime=runtime.value,
    )
    with going_on():
        print(scored_text(score(source, out, config)))
