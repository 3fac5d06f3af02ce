"""Votes of neighbours next to the network's head: the first sentence, the table, the confusion matrices."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hilum.artifacts.base import Figure
from hilum.artifacts.embedding import EmbeddingFigures, SplitFigures
from hilum.report.cells import Cell, number_cell, share_cell
from hilum.report.embedding.task import TaskEmbedding
from hilum.report.stated import interval_text, stated
from hilum.report.wording import NOTHING, SPACE, count, listing, number, percent, plural, split_name

TRANSFORMS = {
    "none": "vectors as they are",
    "standardize": "each dimension scaled to standard deviation 1",
    "pca": "whitened by PCA",
    "lda": "projected by LDA so that the classes lie apart",
}
WEIGHTS = {"uniform": "each neighbour has one vote", "distance": "nearer neighbours count more"}


@dataclass(frozen=True)
class ClassifierRow:
    """One classifier; `accuracy`: by held-out split."""

    title: str
    note: str
    strong: bool
    accuracy: list[Cell]
    balanced_accuracy: Cell
    auroc: Cell
    published: str


@dataclass(frozen=True)
class SplitColumn:
    """A held-out split and how many images it has."""

    name: str
    images: str


@dataclass(frozen=True)
class ClassifierTable:
    """All classifiers of a task; `first`: the split of the further figures."""

    title: str
    splits: list[SplitColumn]
    first: str
    rows: list[ClassifierRow]
    has_published: bool
    validation_chose: bool
    replicates: str


@dataclass(frozen=True)
class Count:
    """One cell of a confusion matrix; `shade`: its share of the row."""

    count: str
    share: str
    shade: float
    correct: bool


@dataclass(frozen=True)
class ConfusionRow:
    """The images of one label."""

    label: str
    cells: list[Count]


@dataclass(frozen=True)
class Confusion:
    """The matrix of one classifier."""

    title: str
    classes: Sequence[str]
    rows: list[ConfusionRow]
    correct: str


def lead(embedding: TaskEmbedding) -> str:
    """Accuracy of the neighbours' vote, next to that of the network's head and of the seed report's vote.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import Classifier, VectorSpace
    >>> measured = SplitFigures.model_construct(images=10, accuracy=Figure(value=0.9, k=9, n=10))
    >>> figures = EmbeddingFigures.model_construct(images={"test": 10}, space=VectorSpace.model_construct(k=5),
    ...     classifiers=[Classifier.model_construct(name=name, splits={"test": measured}) for name in ("knn", "head")],
    ...     published=[])
    >>> print(lead(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).replace("\\xa0", " "))
    A vote of the 5 most similar training images classifies 90.0 % (9/10) of the 10 test images correctly.
    The network’s own head classifies 90.0 % (9/10) correctly, as many as the vote.
    """
    figures, split = embedding.figures, embedding.split
    knn, head = _measured(figures, "knn", split), _measured(figures, "head", split)
    sentences = [
        f"A vote of the {embedding.k} most similar training images classifies {stated(knn.accuracy)} of the"
        f" {plural(knn.images, f'{split_name(split)} image')} correctly.",
        f"The network’s own head classifies {percent(head.accuracy.value)} ({head.accuracy.counts}) correctly,"
        f" {_difference(head.accuracy, knn.accuracy)}.",
    ]
    published = {row.row: row for row in figures.published}
    if published:
        vote, network = published["knn_seed"].accuracy, published["head"].accuracy
        sentences.append(
            f"In the seed report the vote reached {percent(vote.value, 2)} ({vote.counts}) on the official test"
            f" images, and its network {percent(network.value, 2)} ({network.counts})."
        )
    return " ".join(sentences)


def _measured(figures: EmbeddingFigures, name: str, split: str) -> SplitFigures:
    """The figures of a classifier that every table has."""
    return next(row.splits[split] for row in figures.classifiers if row.name == name)


def _difference(figure: Figure, other: Figure) -> str:
    """How far a share lies from another, in percentage points.

    >>> _difference(Figure(value=0.9), Figure(value=0.85)).replace(SPACE, " ")
    '5.0 points more than the vote'
    """
    points = 100 * ((figure.value or 0) - (other.value or 0))
    if abs(points) < 0.05:
        return "as many as the vote"
    return f"{abs(points):.1f}{SPACE}points {'more' if points > 0 else 'fewer'} than the vote"


def baseline_warning(embedding: TaskEmbedding) -> str:
    """Printed where a baseline without training classifies as many images correctly as the network's vectors do; counts
    alone, no test.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import Classifier
    >>> measured = SplitFigures.model_construct(accuracy=Figure(value=0.9, k=9, n=10))
    >>> figures = EmbeddingFigures.model_construct(images={"test": 10}, classifiers=[
    ...     Classifier(name="knn", title="kNN", note="", splits={"test": measured}),
    ...     Classifier(name="pixels", title="pixels", note="", is_baseline=True, splits={"test": measured})])
    >>> print(baseline_warning(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).partition(" (")[0].replace("\\xa0", " "))
    Without any training, a vote of neighbours on pixels classifies 90.0 %
    """
    split = embedding.split
    knn = _measured(embedding.figures, "knn", split).accuracy
    rivals = [row for row in embedding.figures.classifiers if row.is_baseline]
    best = max(rivals, key=lambda row: row.splits[split].accuracy.value or 0, default=None)
    if best is None or (best.splits[split].accuracy.value or 0) < (knn.value or 0):
        return ""
    theirs = best.splits[split].accuracy
    return (
        f"Without any training, a vote of neighbours on {best.title} classifies {percent(theirs.value)}"
        f" ({theirs.counts}) correctly, at least as many as the vote on the network’s vectors"
        f" ({percent(knn.value)}, {knn.counts}). An improvement of the neighbours by training is not shown here."
    )


def title_of(figures: EmbeddingFigures) -> str:
    """The task in the words of its classes.

    >>> title_of(EmbeddingFigures.model_construct(classes=["normal", "bacteria", "virus"]))
    'normal, bacteria or virus'
    """
    return listing(figures.classes, "or")


def table(embedding: TaskEmbedding) -> ClassifierTable:
    """A row per classifier: accuracy on each held-out split, two further figures on the first.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import Classifier
    >>> measured = SplitFigures.model_construct(replicates=50, accuracy=Figure(value=0.9, k=9, n=10),
    ...     balanced_accuracy=Figure(value=0.9), auroc=Figure(value=0.95))
    >>> knn = Classifier(name="knn", title="kNN", note="", splits={"test": measured})
    >>> figures = EmbeddingFigures.model_construct(
    ...     classes=["normal", "virus"], images={"test": 10}, classifiers=[knn], published=[])
    >>> table(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).rows[0].accuracy[0].counts
    '9/10'
    """
    figures, first = embedding.figures, embedding.split
    published = {
        row.row: f"{percent(row.accuracy.value, 2)} ({row.accuracy.counts})" for row in figures.published
    }
    rows = [
        ClassifierRow(
            title=_capital(row.title),
            note=row.note,
            strong=row.name in ("knn", "head"),
            accuracy=[_percent_cell(row.splits[split].accuracy) for split in figures.held_out],
            balanced_accuracy=_percent_cell(row.splits[first].balanced_accuracy),
            auroc=_number_cell(row.splits[first].auroc),
            published=published.get(row.name, NOTHING),
        )
        for row in figures.classifiers
    ]
    return ClassifierTable(
        title=title_of(figures),
        splits=[
            SplitColumn(split_name(split), plural(figures.images[split], "image"))
            for split in figures.held_out
        ],
        first=split_name(first),
        rows=rows,
        has_published=bool(published),
        validation_chose="val" in figures.held_out,
        replicates=count(figures.classifiers[0].splits[first].replicates),
    )


def _capital(words: str) -> str:
    """A capital first letter, but not for kNN.

    >>> _capital("linear probe"), _capital("kNN on pixels")
    ('Linear probe', 'kNN on pixels')
    """
    return words if words[1:2].isupper() else words[:1].upper() + words[1:]


def _percent_cell(figure: Figure) -> Cell:
    return Cell(percent(figure.value), figure.counts, interval_text(figure))


def _number_cell(figure: Figure) -> Cell:
    return Cell(number(figure.value), "", interval_text(figure, ""))


def confusions(embedding: TaskEmbedding, names: Collection[str] | None = None) -> list[Confusion]:
    """The confusion matrix of each classifier on the first held-out split, and the published ones. `names`: of the
    classifiers; None: all.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import Classifier
    >>> measured = SplitFigures.model_construct(confusion=[[4, 1], [0, 5]])
    >>> figures = EmbeddingFigures.model_construct(classes=["normal", "virus"], images={"test": 10}, published=[],
    ...     classifiers=[Classifier(name="knn", title="kNN", note="", splits={"test": measured})])
    >>> [(each.title, each.correct) for each in confusions(TaskEmbedding(figures, *[pd.DataFrame()] * 4))]
    [('kNN', '9/10')]
    """
    figures, split = embedding.figures, embedding.split
    matrices = [
        (_capital(row.title), row.splits[split].confusion)
        for row in figures.classifiers
        if names is None or row.name in names
    ]
    matrices += [(f"Seed report: {row.title}", row.confusion) for row in figures.published]
    return [_confusion(title, figures.classes, matrix) for title, matrix in matrices]


def _confusion(title: str, classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> Confusion:
    rows = []
    for label, counts in zip(classes, matrix, strict=True):
        shares = [n / max(sum(counts), 1) for n in counts]
        cells = [
            Count(count(n), percent(part, 0), round(part, 3), label == predicted)
            for n, part, predicted in zip(counts, shares, classes, strict=True)
        ]
        rows.append(ConfusionRow(label, cells))
    correct = sum(matrix[place][place] for place in range(len(classes)))
    return Confusion(title, classes, rows, f"{correct}/{sum(map(sum, matrix))}")


def space_words(embedding: TaskEmbedding) -> str:
    """In which space images are compared.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import VectorSpace
    >>> space = VectorSpace(layer="embedding", dimensions=512, precision="fp32", transform="none", distance="cosine",
    ...     weights="uniform", k=5, compared_dimensions=512, selected_by="recipe")
    >>> figures = EmbeddingFigures.model_construct(space=space)
    >>> print(space_words(TaskEmbedding(figures, *[pd.DataFrame()] * 4)).partition(" (")[0])
    Images are compared by cosine distance between the network’s vectors
    """
    space = embedding.figures.space
    how = (
        "These settings were chosen by cross-validation over the patients of the training images."
        if space.selected_by == "cross-validation"
        else "These settings are those of the recipe."
    )
    return (
        f"Images are compared by {space.distance} distance between the network’s vectors (layer “{space.layer}”,"
        f" {count(space.dimensions)} numbers per image; {TRANSFORMS[space.transform]}). {space.k} neighbours vote;"
        f" {WEIGHTS[space.weights]}. {how} The neighbours of an image are training images of other patients."
    )


def candidates(embedding: TaskEmbedding, most: int = 12) -> list[list[Cell]]:
    """The settings that cross-validation compared, best first.

    >>> import pandas as pd
    >>> from hilum.artifacts.embedding import Candidate
    >>> best = Candidate(transform="none", distance="cosine", weights="uniform", k=5, log_loss=Figure(value=0.4),
    ...     accuracy=Figure(value=0.9), balanced_accuracy=Figure(value=0.8))
    >>> figures = EmbeddingFigures.model_construct(candidates=[best])
    >>> [[cell.value for cell in row[:5]] for row in candidates(TaskEmbedding(figures, *[pd.DataFrame()] * 4))]
    [['vectors as they are', 'cosine', 'uniform', '5', '0.400']]
    """
    return [
        [
            *(Cell(words) for words in (TRANSFORMS[row.transform], row.distance, row.weights, str(row.k))),
            number_cell(row.log_loss),
            share_cell(row.accuracy),
            share_cell(row.balanced_accuracy),
        ]
        for row in embedding.figures.candidates[:most]
    ]
