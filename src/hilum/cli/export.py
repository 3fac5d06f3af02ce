"""hilum export: a trained model for engines without torch."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.cli.app import app, example


class To(StrEnum):
    """What `hilum export` writes."""

    onnx = "onnx"
    openvino = "openvino"
    torch_export = "torch-export"
    monai_bundle = "monai-bundle"
    browser = "browser"


class Precision(StrEnum):
    """Of weights and arithmetic."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


@app.command(epilog=example("hilum export packaged --to onnx --out exported"))
def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A task folder of a run, a model folder, or the word 'packaged'."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    to: Annotated[
        To, typer.Option("--to", help="onnx, openvino, torch-export, monai-bundle or browser (a page).")
    ] = To.onnx,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision", help="fp32, fp16 (weights in half the bytes) or int8 (ranges of training images)."
        ),
    ] = Precision.fp32,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Labelled radiographs for int8. Default: those of the run."),
    ] = None,
    ort: Annotated[
        Path | None,
        typer.Option("--ort", help="The npm package onnxruntime-web, for a page. Default: npm fetches it."),
    ] = None,
    with_pixels: Annotated[
        bool,
        typer.Option("--with-pixels", help="A second graph, from raw pixels of any size to the decision."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write over an earlier export, and accept a loss of accuracy in int8."),
    ] = False,
) -> None:
    """A trained model for engines without torch, compared with torch; `hilum predict --runtime onnx` runs it."""
    from hilum.progress import say
    from hilum.scale.export import Request, export_model

    export_model(Request(model, to.value, out, precision.value, data, force, with_pixels, ort, say))
    print(out)
