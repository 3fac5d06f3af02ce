"""hilum neighbors: the images of a run, or of a scored archive, that are most similar to a radiograph."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hilum.cli.app import app, example, going_on
from hilum.cli.predict import Form
from hilum.errors import DataError

if TYPE_CHECKING:
    from hilum.artifacts.embedding import Distance


class DistanceOption(StrEnum):
    """How embeddings are compared."""

    cosine = "cosine"
    euclidean = "euclidean"


@app.command(epilog=example("hilum neighbors runs/real image.jpeg --task multiclass"))
def neighbors(
    place: Annotated[
        Path, typer.Argument(metavar="RUN|SCORES", help="A run folder, or the folder that hilum score wrote.")
    ],
    image: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGE", help="A radiograph; with SCORES also the name of a scored image (column file)."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="With RUN: binary or multiclass. Default: the last.")
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many images to show.", min=1)] = 7,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="With RUN: the .png file to write. Default: neighbors-IMAGE.png."),
    ] = None,
    index: Annotated[
        bool,
        typer.Option("--index", help="With SCORES: make the index by which large archives are searched."),
    ] = False,
    distance: Annotated[
        DistanceOption | None,
        typer.Option(
            "--distance", help="With SCORES: cosine or euclidean. Default: that of the index, or cosine."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="With SCORES: the model that scored them, for a radiograph. Default: the packaged models.",
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="With SCORES: auto, cpu, cuda or cuda:N.")] = "auto",
    form: Annotated[Form, typer.Option("--format", help="With SCORES: table, json or csv.")] = Form.table,
) -> None:
    """The training images most similar to a radiograph, as a table and a contact sheet; or the most similar images of
    a scored archive.

    Above 100,000 images --index, once, makes SCORES fast to search; it prints how often the true neighbours are given.
    """
    if (place / "run.json").exists() or not _holds_scores(place):
        _refuse(
            place,
            "a folder of hilum score",
            {
                "--index": index,
                "--distance": distance,
                "--model": model,
                "--device": device != "auto",
                "--format": form is not Form.table,
            },
        )
        _of_run(place, _given(image), task, k, sheet)
        return
    _refuse(place, "a run folder", {"--task": task, "--sheet": sheet})
    chosen: Distance | None = distance.value if distance else None
    if index:
        _make_index(place, chosen or "cosine")
    if image is not None or not index:
        _of_scores(place, _given(image), k, model, device, chosen, form)


def _holds_scores(place: Path) -> bool:
    """A folder of `hilum score`, finished or not."""
    return (place / "_manifest.json").exists() or any(place.glob("part-*.parquet"))


def _refuse(place: Path, other: str, given: dict[str, object]) -> None:
    """DataError for an option that is for the other kind of folder."""
    for name, value in given.items():
        if value:
            raise DataError(f"{name} is for {other}, which {place} is not", f"leave {name} out")


def _given(image: str | None) -> str:
    if image is None:
        raise DataError("no image is named", "name one after the folder: hilum neighbors FOLDER IMAGE")
    return image


def _of_run(run: Path, image: str, task: str | None, k: int, sheet: Path | None) -> None:
    from hilum.data.listing import fitting
    from hilum.embedding.query import contact_sheet, neighbors_of_file
    from hilum.embedding.show import neighbors_tables, print_all
    from hilum.run import Run

    similar = neighbors_of_file(Run(run), Path(image), task, k)
    print_all(neighbors_tables(similar))
    print(contact_sheet(similar, sheet or Path(f"neighbors-{fitting(Path(image).stem)}.png")))


def _make_index(scores: Path, distance: "Distance") -> None:
    from hilum.scale.neighbors_index import FOLDER, build_index
    from hilum.scale.neighbors_show import index_text
    from hilum.scale.scored import Scores

    with going_on("the same command makes the index from the start"):
        manifest = build_index(Scores.open(scores), distance)
    print(index_text(manifest, str(scores / FOLDER)))


def _of_scores(
    scores: Path,
    image: str,
    k: int,
    model: Path | None,
    device: str,
    distance: "Distance | None",
    form: Form,
) -> None:
    from hilum.embedding.show import print_all
    from hilum.scale.neighbors import similar_images
    from hilum.scale.neighbors_show import similar_csv, similar_tables

    similar = similar_images(scores, image, k, model, device, distance)
    if form is Form.json:
        print(similar.model_dump_json(indent=2))
    elif form is Form.csv:
        print(similar_csv(similar))
    else:
        print_all(similar_tables(similar))
