"""What `hilum neighbors SCORES` prints."""

import csv
import io
from collections.abc import Iterator

from rich.table import Table

from hilum.artifacts.base import Figure
from hilum.inference.show import NOTE
from hilum.scale.neighbors import ScoredImage, SimilarImages
from hilum.scale.neighbors_index import JUDGED_K, IndexManifest

COLUMNS = ("rank", "file", "distance", "prediction")


def similar_csv(similar: SimilarImages) -> str:
    """A row for each neighbour, nearest first; empty for null.

    >>> from hilum.scale.neighbors import EXACT, SimilarImage
    >>> image = ScoredImage(file="a.png", prediction="virus", abstained=False, findings=None)
    >>> near = [SimilarImage(rank=1, distance=0.25, image=image)]
    >>> print(similar_csv(SimilarImages(query=image, compared=9, distance="cosine", search="exact", recall=EXACT,
    ...     neighbors=near)))
    rank,file,distance,prediction,abstained,findings
    1,a.png,0.25,virus,False,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "abstained", "findings"])
    for each in similar.neighbors:
        image = each.image
        present = "" if image.findings is None else ", ".join(image.findings) or "none"
        writer.writerow(
            [each.rank, image.file, each.distance, image.prediction or "", image.abstained, present]
        )
    return text.getvalue().rstrip("\n")


def similar_tables(similar: SimilarImages) -> Iterator[Table | str]:
    """The neighbours, what the model says of the image itself, and how they were searched.

    >>> from hilum.scale.neighbors import EXACT
    >>> image = ScoredImage(file="a.png", prediction="virus", abstained=False, findings=None)
    >>> list(similar_tables(SimilarImages(query=image, compared=9000, distance="cosine", search="exact", recall=EXACT,
    ...     neighbors=[])))[1:3]
    ['Prediction of a.png: virus.', 'Compared by cosine distance with all of 9,000 images.']
    """
    table = Table(title=f"Scored images most similar to {similar.query.file}", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in ("rank", "distance") else "left", overflow="fold")
    for each in similar.neighbors:
        table.add_row(str(each.rank), each.image.file, f"{each.distance:.4g}", _prediction(each.image))
    yield table
    yield f"Prediction of {similar.query.file}: {_prediction(similar.query)}."
    if similar.search == "exact":
        yield f"Compared by {similar.distance} distance with all of {similar.compared:,} images."
    else:
        yield (
            f"Searched by {similar.distance} distance among {similar.compared:,} images with IVF-PQ;"
            f" recall@{JUDGED_K} {_interval(similar.recall)}."
        )
    yield NOTE


def _prediction(image: ScoredImage) -> str:
    if image.abstained:
        return "abstained"
    if image.findings is not None:
        return ", ".join(image.findings) or "none"
    return image.prediction or ""


def _interval(figure: Figure) -> str:
    if figure.low is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} (95 % CI {figure.low:.3f} to {figure.high:.3f})"


def index_text(manifest: IndexManifest, place: str) -> str:
    """How many vectors an index holds, its recall, its size and the most memory of this process so far.

    >>> from hilum.scale.neighbors import EXACT
    >>> manifest = IndexManifest.model_construct(kind="exact", vectors=1200, left_out=3, dimensions=256,
    ...     precision="float16", distance="cosine", files={"vectors.bin": 614_400}, recall=EXACT)
    >>> print(index_text(manifest, "scores/_neighbors"))
    1,200 vectors of 256 float16 numbers, cosine distance; 3 images left out, which have no vector or one of zeros.
    Search: exact, so few vectors need no codes.
    Files: vectors.bin 0.6 MB. Peak memory ...
    scores/_neighbors
    """
    shape = f"{manifest.dimensions} {manifest.precision} numbers, {manifest.distance} distance"
    left = f"; {manifest.left_out:,} images left out, which have no vector or one of zeros"
    search = (
        "exact, so few vectors need no codes"
        if manifest.kind == "exact"
        else f"IVF-PQ; recall@{JUDGED_K} against the exact search {_interval(manifest.recall)}"
    )
    files = ", ".join(f"{name} {size / 1e6:,.1f} MB" for name, size in manifest.files.items())
    return "\n".join(
        [
            f"{manifest.vectors:,} vectors of {shape}{left if manifest.left_out else ''}.",
            f"Search: {search}.",
            f"Files: {files}. Peak memory of this command {peak_gib():.2f} GiB.",
            place,
        ]
    )


def peak_gib() -> float:
    """The most memory that this process has held at a time, in GiB; 0 where the system does not tell.

    >>> peak_gib() >= 0
    True
    """
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
