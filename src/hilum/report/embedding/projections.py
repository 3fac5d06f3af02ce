"""The maps: how faithful they are, and which could not be made."""

from dataclasses import dataclass

from hilum.artifacts.embedding import Projection
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.embedding.task import TaskEmbedding
from hilum.report.stated import stated
from hilum.report.wording import count, sentence, split_name


@dataclass(frozen=True)
class MapRow:
    """One map and how faithful it is."""

    title: str
    note: str
    cells: list[Cell]


@dataclass(frozen=True)
class FaithfulnessTable:
    """`splits`: those that votes on the map, and in the space, were measured on."""

    splits: list[str]
    rows: list[MapRow]


def map_names(embedding: TaskEmbedding) -> list[str]:
    """The maps that were made, in the order of the stage, t-SNE first.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import EmbeddingFigures
    >>> figures = EmbeddingFigures.model_construct(projections={"pca": None, "tsne": None})
    >>> map_names(TaskEmbedding(figures, *[pd.DataFrame()] * 4))
    ['tsne', 'pca']
    """
    return sorted(embedding.figures.projections, key=lambda name: name != "tsne")


def faithfulness_sentences(embedding: TaskEmbedding) -> str:
    """How faithful the first map is, on the first held-out split; empty without a map.

    >>> import pandas as pd
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.embedding import EmbeddingFigures
    >>> shown = Projection(title="t-SNE", settings={}, trustworthiness=Figure(value=0.95),
    ...     knn_map={"test": Figure(value=0.8)}, knn_space={"test": Figure(value=0.9)}, stability=None, images=90,
    ...     seconds=1.0, note="")
    >>> figures = EmbeddingFigures.model_construct(images={"test": 10}, projections={"tsne": shown})
    >>> embedding = TaskEmbedding(figures, *[pd.DataFrame()] * 4)
    >>> print(faithfulness_sentences(embedding).split(". ")[2].replace("\\xa0", " "))
    A vote of neighbours on the map classifies 80.0 % of the test images correctly, and 90.0 % in the full
    space
    """
    names = map_names(embedding)
    if not names:
        return ""
    shown, split = embedding.figures.projections[names[0]], embedding.split
    sentences = [
        "A flat map cannot show every distance.",
        f"Trustworthiness of the {shown.title} map is {stated(shown.trustworthiness, '')} on"
        f" {count(shown.images)} training images; 1 means that images that are close on the map are close in the"
        " space.",
        f"A vote of neighbours on the map classifies {stated(shown.knn_map[split])} of the {split_name(split)}"
        f" images correctly, and {stated(shown.knn_space[split])} in the full space.",
    ]
    pairs = [
        f"{pair} {stated(measured[split], '')}" for pair, measured in shown.lines.items() if split in measured
    ]
    if pairs:
        sentences.append(
            f"How well one straight line on it tells two classes apart (AUROC): {'; '.join(pairs)}."
        )
    if shown.stability is not None:
        kept = stated(shown.stability)
        sentences.append(f"Fitted from other seeds, the map keeps {kept} of each image’s ten nearest.")
    sentences.append("Which images lie next to each other means more than gaps and sizes of clusters.")
    return " ".join(sentences)


def faithfulness_table(embedding: TaskEmbedding) -> FaithfulnessTable:
    """The figures of every map.

    >>> import pandas as pd
    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.embedding import EmbeddingFigures
    >>> shown = Projection(title="t-SNE", settings={"perplexity": 30}, trustworthiness=Figure(value=0.95),
    ...     knn_map={"test": Figure(value=0.8)}, knn_space={"test": Figure(value=0.9)}, stability=None, images=90,
    ...     seconds=1.0, note="fitted on train")
    >>> figures = EmbeddingFigures.model_construct(images={"test": 10}, projections={"tsne": shown})
    >>> faithfulness_table(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).rows[0].note
    'perplexity 30; fitted on train'
    """
    figures = embedding.figures
    rows = [
        MapRow(
            title=row.title,
            note=_note(row),
            cells=[
                number_cell(row.trustworthiness),
                *(
                    share_cell(measured[split])
                    for split in figures.held_out
                    for measured in (row.knn_map, row.knn_space)
                ),
                share_cell(row.stability),
                Cell(count(row.images)),
            ],
        )
        for row in figures.projections.values()
    ]
    return FaithfulnessTable([split_name(split) for split in figures.held_out], rows)


def _note(projection: Projection) -> str:
    settings = [f"{key.replace('_', ' ')} {value:g}" for key, value in projection.settings.items()]
    return "; ".join([", ".join(settings), projection.note] if settings else [projection.note])


def left_out(embedding: TaskEmbedding) -> list[str]:
    """A sentence for each part of the stage that could not be made.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import EmbeddingFigures
    >>> figures = EmbeddingFigures.model_construct(left_out={"t-SNE": "30 images are too few; bring more"})
    >>> left_out(TaskEmbedding(figures, *[pd.DataFrame()] * 4))
    ['Left out: t-SNE. 30 images are too few; bring more.']
    """
    return [f"Left out: {part}. {sentence(reason)}" for part, reason in embedding.figures.left_out.items()]
