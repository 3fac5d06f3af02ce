"""embeddings/figures.json of a task: what the vectors of a trained model are worth."""

from typing import ClassVar, Literal

from pydantic import Field

from hilum.artifacts.base import Artifact, Figure, Part

Transform = Literal["none", "standardize", "pca", "lda"]
Distance = Literal["euclidean", "cosine"]
Weights = Literal["uniform", "distance"]


class VectorSpace(Part):
    """The space in which images are compared. `dimensions`: numbers per image before the transform,
    `compared_dimensions` after it; `selected_by`: "recipe" or "cross-validation"."""

    layer: str
    dimensions: int
    precision: str
    transform: Transform
    distance: Distance
    weights: Weights
    k: int
    compared_dimensions: int
    selected_by: Literal["recipe", "cross-validation"]


class Candidate(Part):
    """One way to classify by neighbours, with its cross-validated figures on train, which only rank the ways: the
    labels of train made the vectors. `log_loss`: nats."""

    transform: Transform
    distance: Distance
    weights: Weights
    k: int
    log_loss: Figure
    accuracy: Figure
    balanced_accuracy: Figure


class SplitFigures(Part):
    """How well one classifier does on one held-out split. `confusion`: counts, rows labels, columns
    predictions, in the order of the classes; `replicates`: bootstrap samples behind the intervals."""

    images: int
    patients: int
    accuracy: Figure
    balanced_accuracy: Figure
    auroc: Figure
    confusion: list[list[int]]
    replicates: int


class Classifier(Part):
    """One row of the table: the network's head, the linear probe, a kNN, or a baseline without training."""

    name: str
    title: str
    note: str
    is_baseline: bool = False
    splits: dict[str, SplitFigures]


class Projection(Part):
    """One map in two dimensions, fitted on train, with the figures that say how faithful it is.

    `trustworthiness`: 0 to 1 (Venna and Kaski 2001); `knn_map`, `knn_space`: accuracy of a plain vote of
    neighbours on the map and in the space, by split; `lines`: by pair of classes, "normal and virus", and split, the
    AUROC of a straight line on the map that training images chose, empty above four classes; `stability`: mean share of
    an image's nearest that stay when the map is fitted from another seed, None where none was asked for; `images`:
    fitted on so many.
    """

    title: str
    settings: dict[str, float]
    trustworthiness: Figure
    knn_map: dict[str, Figure]
    knn_space: dict[str, Figure]
    lines: dict[str, dict[str, Figure]] = Field(default_factory=dict)
    stability: Figure | None
    images: int
    seconds: float
    note: str


class Retrieval(Part):
    """How often the images found for an image are of its class; the same patient never counts.

    `precision_at_k`: k -> 0 to 1; `chance`: what any order of the list gives on average.
    """

    precision_at_k: dict[int, Figure]
    mean_average_precision: Figure
    chance: float
    queries: int


class ClassDensity(Part):
    """How close the training images of a class lie to their nearest of other patients, and the share of
    these that are of the same class (0 to 1)."""

    mean_knn_distance: Figure
    own_class_share: Figure
    images: int


class SuspectCounts(Part):
    """How many training labels look wrong: by confident learning, by the vote of neighbours, by both."""

    total: int
    confident_learning: int
    knn: int
    both: int
    training_images: int


class DuplicateCounts(Part):
    """The closest pairs of the space. `confirmed`: the registered pictures correlate at `threshold` or more;
    `new`: confirmed, and not found by the audit of pixels."""

    pairs: int
    confirmed: int
    new: int
    threshold: float


class Search(Part):
    """How neighbours were searched; `recall`: share of the true neighbours that were found, of the images that were
    searched for both ways."""

    engine: str
    recall: Figure


class PublishedFigures(Part):
    """What others printed of the official test set. `row`: the classifier that it belongs next to."""

    row: str
    title: str
    accuracy: Figure
    confusion: list[list[int]]


class EmbeddingFigures(Artifact):
    """embeddings/figures.json, written last.

    `images`: how many by split; `candidates`: ways that cross-validation compared, the best first;
    `published`: figures of others that these can be put next to;
    `left_out`: part -> the sentence that says why it could not be made; `suspects` and
    `duplicates`: None without them; `seconds`: time by part.
    """

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "embed"

    weights_digest: str
    task: str
    classes: list[str]
    images: dict[str, int]
    space: VectorSpace
    candidates: list[Candidate]
    classifiers: list[Classifier]
    published: list[PublishedFigures]
    projections: dict[str, Projection]
    left_out: dict[str, str]
    retrieval: dict[str, Retrieval]
    density: dict[str, ClassDensity]
    suspects: SuspectCounts | None
    duplicates: DuplicateCounts | None
    search: Search
    seconds: dict[str, float]

    @property
    def held_out(self) -> list[str]:
        """The held-out splits that were measured, the one to quote first.

        >>> EmbeddingFigures.model_construct(images={"train": 90, "val": 20, "test": 10}).held_out
        ['test', 'val']
        """
        return [split for split in ("test", "val") if self.images.get(split)]

    def classifier(self, name: str) -> Classifier | None:
        """The row of this name, None where the table lacks it.

        >>> figures = EmbeddingFigures.model_construct(
        ...     classifiers=[Classifier(name="knn", title="5 neighbours", note="", splits={})])
        >>> figures.classifier("knn").title, figures.classifier("forest")
        ('5 neighbours', None)
        """
        return next((row for row in self.classifiers if row.name == name), None)
