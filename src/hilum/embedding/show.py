"""The embedding stage's figures as tables for the terminal."""

import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import EmbeddingFigures, Projection
from hilum.embedding.query import ImageNeighbors

NEIGHBOR_COLUMNS = ("rank", "case", "label", "patient", "distance")

PIPED = 1000
"""Columns of a line where no terminal limits them, so that what is piped is never cut."""


def print_all(parts: Iterable[Table | str]) -> None:
    """Prints tables and sentences on standard output.

    >>> print_all(["No map was made."])
    No map was made.
    """
    width = None if sys.stdout.isatty() else PIPED
    console = Console(highlight=False, markup=False, width=width)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, str))


def tables(figures: EmbeddingFigures) -> Iterator[Table | str]:
    """Classifiers, maps and retrieval of one task, and a sentence for each part that was left out."""
    held_out = [split for split in ("val", "test") if figures.images.get(split)]
    yield _classifiers(figures, held_out)
    if figures.projections:
        yield _projections(figures.projections.values(), held_out)
    if figures.retrieval:
        yield _retrieval(figures)
    for part, reason in figures.left_out.items():
        yield f"{part} left out: {reason}"


def _table(title: str, columns: Sequence[str], left: int = 1) -> Table:
    """An empty table; the first `left` columns hold text, the others numbers."""
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", overflow="fold")
    return table


def _classifiers(figures: EmbeddingFigures, held_out: Sequence[str]) -> Table:
    columns = [f"accuracy, {split} (n={figures.images[split]})" for split in held_out]
    table = _table(f"{figures.task}: classifiers", ["classifier", *columns])
    for row in figures.classifiers:
        table.add_row(row.title, *(_figure(row.splits[split].accuracy) for split in held_out))
    return table


def _figure(figure: Figure) -> str:
    """A share with its interval and counts.

    >>> _figure(Figure(value=0.9, low=0.8, high=0.95, k=9, n=10))
    '0.900 [0.800, 0.950] 9/10'
    """
    if figure.value is None:
        return "not defined"
    interval = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{interval} {figure.counts}".rstrip()


def _projections(projections: Iterable[Projection], held_out: Sequence[str]) -> Table:
    columns = [f"kNN on map / in space, {split}" for split in held_out]
    table = _table("Maps", ["map", "trustworthiness", *columns, "stability"])
    for row in projections:
        cells = [f"{_figure(row.knn_map[split])} / {_figure(row.knn_space[split])}" for split in held_out]
        stability = "" if row.stability is None else _figure(row.stability)
        table.add_row(row.title, _figure(row.trustworthiness), *cells, stability)
    return table


def _retrieval(figures: EmbeddingFigures) -> Table:
    ks = sorted({k for row in figures.retrieval.values() for k in row.precision_at_k})
    table = _table("Retrieval", ["queries", *(f"precision at {k}" for k in ks), "mAP", "chance"])
    for split, row in figures.retrieval.items():
        precision = [_figure(row.precision_at_k[k]) if k in row.precision_at_k else "" for k in ks]
        table.add_row(split, *precision, _figure(row.mean_average_precision), f"{row.chance:.3f}")
    return table


def neighbors_tables(neighbors: ImageNeighbors) -> Iterator[Table | str]:
    """The neighbours of one image, and the probabilities of the network's own head.

    >>> import numpy as np
    >>> import pandas as pd
    >>> from pathlib import Path
    >>> image, none = np.zeros((96, 80), np.uint8), pd.DataFrame()
    >>> neighbors = ImageNeighbors(Path("child.png"), image, {"normal": 0.1, "virus": 0.9}, none, 0.1)
    >>> list(neighbors_tables(neighbors))[1]
    'Network: normal 0.100, virus 0.900.'
    """
    table = _table(f"Training images most similar to {neighbors.path.name}", NEIGHBOR_COLUMNS, left=4)
    for row in neighbors.table.itertuples():
        cells = (row.rank, row.case_id, row.label, row.patient, f"{row.distance:.4g}")
        table.add_row(*map(str, cells))
    yield table
    probabilities = ", ".join(f"{name} {value:.3f}" for name, value in neighbors.probabilities.items())
    yield f"Network: {probabilities}."
    yield (
        "For comparison: the farthest listed neighbour of a training image lies at "
        f"{neighbors.typical_distance:.4g} (median)."
    )
    yield "Research use only; not a medical device."
