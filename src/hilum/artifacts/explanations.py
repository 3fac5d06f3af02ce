"""TASK/attributions/figures.json: what the explanation stage of one task found. Maps lie beside it as .npz."""

from typing import ClassVar, Literal

from pydantic import Field

from hilum.artifacts.base import Artifact, Figure, Part

Kind = Literal["method", "baseline"]
"""An attribution method, or a map that knows nothing of the network, for comparison."""


class ExplainedImage(Part):
    """A held-out image that is explained. `role`: an example that is classified correctly, or a mistake;
    `target`, `predicted`: its true and its predicted class; `target_class`: the class whose evidence the maps
    show; `probabilities`: by class."""

    case_id: str
    patient: str
    split: str
    label: str
    target: str
    predicted: str
    role: Literal["example", "mistake"]
    target_class: str
    probabilities: dict[str, float]


class MapRange(Part):
    """The least and the largest value of a map."""

    lowest: float
    highest: float


class OcclusionMap(MapRange):
    """The probability of `target_class` with a mask at each of `positions` (rows, cols). `probability`: with
    nothing covered; `mask`, `stride`: pixels of the model's image."""

    mask: int
    stride: int
    fill: str
    precision: str
    probability: float
    target_class: str
    positions: tuple[int, int]


class MethodMaps(Part):
    """The maps of one method: its usual title, where it was published, whether its values have a sign, and the
    range of each map by case_id."""

    title: str
    source: str
    signed: bool
    images: dict[str, MapRange]


class MapFigures(Part):
    """Faithfulness of one map, or the mean over several.

    `deletion`, `insertion`: areas under the curves of probability, 0 to 1, lower and higher is better;
    `unexplained`: share of the changes of evidence that the map does not predict, 0 to 1, lower is better
    (infidelity, after the best scaling of the map); `randomised`: rank correlation with the map of a network
    with random weights, nearer to 0 is better; `noise`, `shift`: rank correlation with the map of the image
    with little noise or shifted a little, nearer to 1 is better; `noise_change`, `shift_change`: relative
    change of the map, lower is better.
    """

    deletion: float
    insertion: float
    unexplained: float
    randomised: float
    noise: float
    shift: float
    noise_change: float
    shift_change: float


class MethodFigures(Part):
    """Means of one method over the images, each with its interval over patients, and each image's own figures by
    case_id; see `MapFigures`. `p_deletion`, `p_insertion`: one-sided, of these areas being no better than those of
    the best map that knows nothing of the network; None for such maps."""

    name: str
    title: str
    kind: Kind
    deletion: Figure
    insertion: Figure
    unexplained: Figure
    randomised: Figure
    noise: Figure
    shift: Figure
    noise_change: Figure
    shift_change: Figure
    p_deletion: float | None = None
    p_insertion: float | None = None
    images: dict[str, MapFigures]


class Agreement(Part):
    """Rank correlation of the maps of each pair of methods, mean over the images, -1 to 1, with its interval over
    patients."""

    names: list[str]
    values: list[list[Figure]]


class Faithfulness(Part):
    """Every figure for every method and baseline on `images` held-out images."""

    images: int
    rows: list[MethodFigures]
    agreement: Agreement


class TruthFigure(Figure):
    """`chance`: what a map of random numbers is expected to score."""

    chance: float


class TruthRow(Part):
    """One method beside the lesions of phantoms: `pointing` and `pointing_near`, how often the strongest pixel
    lies in the lesion, or near it; `energy`, share of the evidence inside; `iou` with the strongest area of
    the lesion's size."""

    name: str
    title: str
    kind: Kind
    pointing: TruthFigure
    pointing_near: TruthFigure
    energy: TruthFigure
    iou: TruthFigure


class Truth(Part):
    """Methods beside the lesions of phantom images that the model classifies as abnormal, one per patient.

    `missed`: abnormal images that it classifies as normal; `lesion_area`: mean share of the image that the
    lesion fills; `tolerance`: pixels that count as near; `best`: the method of the best pointing game;
    `failures`: a sentence for each method that gave no map.
    """

    images: int
    missed: int
    lesion_area: Figure
    tolerance: int
    rows: list[TruthRow]
    best: str
    failures: list[str]


class LungRow(Part):
    """`share`: mean share of the positive evidence that lies inside the lungs; without a value for maps without
    any."""

    name: str
    title: str
    kind: Kind
    share: Figure


class Lungs(Part):
    """`area`: mean share of the image that the lungs fill; `overlap`: intersection over union of the lung field
    with the true lungs, on phantoms that its network had not seen."""

    images: int
    area: Figure
    overlap: Figure
    rows: list[LungRow]


REGIONS = ("right lung", "left lung", "between the lungs", "elsewhere")
"""Of a chest, by the patient's own sides: the right lung lies on the left of the picture."""


class FilterRegions(Part):
    """Where the strongest units of `filter` lie, by the names of REGIONS: the `share` of its images, and `by_chance`:
    the share of all positions of the layer's maps on the same images."""

    filter: int
    share: dict[str, Figure]
    by_chance: dict[str, float]


class Maximal(Part):
    """The filters of `layer` that maximal.npz shows, read at `read_at`, behind normalisation and activation.

    `of`: filters of the layer; `dead`: those that answer every image alike; `images`: how many were read;
    `maps`: rows and columns; `padded` of `shown` strongest units see padding;
    `regions`: of each filter; None where the images can no longer be read.
    """

    layer: str
    read_at: str
    filters: list[int]
    of: int
    dead: list[int]
    images: int
    maps: tuple[int, int]
    padded: int
    shown: int
    regions: list[FilterRegions] | None = None


class FilterCost(Part):
    """What setting one filter to its mean changes: the loss, nats per image, and by class the probability of
    the true class on images of that class."""

    filter: int
    loss: Figure
    classes: dict[str, Figure]


class LayerCost(Part):
    """The same for the whole layer."""

    loss: Figure
    classes: dict[str, Figure]


class Ablation(Part):
    """Filters of `layer`, the costliest first, ranked on the same images. `of`: filters tried; `loss`: with nothing
    set; `helpful`: filters without which the loss rises."""

    layer: str
    images: int
    of: int
    loss: Figure
    whole: LayerCost
    helpful: int
    rows: list[FilterCost]


class ProbeRow(Part):
    """Accuracy of a linear probe on `width` numbers per image of one layer."""

    layer: str
    width: int
    accuracy: Figure


class Probes(Part):
    """Linear probes in the order of the layers. `head`: accuracy of the network itself on the same images;
    `fitted`, `measured`: images of either kind."""

    rows: list[ProbeRow]
    head: Figure
    fitted: int
    measured: int


class ConceptScore(Figure):
    """A mean over the draws of directions: the share of a class's images whose evidence rises towards the concept,
    with its interval over the patients of these images. `p`: of the concept being no more to the class than shuffled
    labels; `matters`: see hilum.explain.filters.concepts."""

    p: float
    matters: bool


class ConceptRow(Part):
    """`accuracy`: balanced accuracy of the concept's classifier on held-out patients, a mean over draws of patients,
    `chance` that of shuffled labels; `images`: with and without the concept."""

    title: str
    accuracy: Figure
    chance: float
    images: tuple[int, int]
    classes: dict[str, ConceptScore]


class Concepts(Part):
    """Concepts of phantom images in `layer`."""

    layer: str
    images: int
    rows: list[ConceptRow]


class Synthesis(Part):
    """The inputs in synthesis.npz. `start`: case_id of the image that the plain ascent starts from; `of`:
    filters of the layer; `clean_steps`: of the careful ascent, 0 where it was left out."""

    layer: str
    start: str
    filters: list[int]
    of: int
    steps: int
    lr: float
    clean_steps: int


class Failure(Part):
    """What could not be done, and why."""

    what: str
    why: str


class Explanations(Artifact):
    """Explanations of one task's model. A part that is switched off, or failed, is None or empty.

    `occlusion`: by case_id; `maps`: by method; `seconds`: by part.
    """

    SCHEMA: ClassVar[int] = 3
    STAGE: ClassVar[str] = "explain"

    weights_digest: str
    task: str
    classes: list[str]
    images: list[ExplainedImage]
    occlusion: dict[str, OcclusionMap] = Field(default_factory=dict)
    maps: dict[str, MethodMaps] = Field(default_factory=dict)
    faithfulness: Faithfulness | None = None
    truth: Truth | None = None
    lungs: Lungs | None = None
    maximal: Maximal | None = None
    ablation: Ablation | None = None
    probes: Probes | None = None
    concepts: Concepts | None = None
    synthesis: Synthesis | None = None
    failures: list[Failure] = Field(default_factory=list)
    seconds: dict[str, float] = Field(default_factory=dict)

    @property
    def examples(self) -> list[ExplainedImage]:
        """The images that are explained in full.

        >>> images = [ExplainedImage.model_construct(case_id=case, role=role)
        ...     for case, role in (("a", "example"), ("b", "mistake"))]
        >>> [image.case_id for image in Explanations.model_construct(images=images).examples]
        ['a']
        """
        return [image for image in self.images if image.role == "example"]

    @property
    def mistakes(self) -> list[ExplainedImage]:
        """Wrong predictions, shown with one map.

        >>> images = [ExplainedImage.model_construct(case_id=case, role=role)
        ...     for case, role in (("a", "example"), ("b", "mistake"))]
        >>> [image.case_id for image in Explanations.model_construct(images=images).mistakes]
        ['b']
        """
        return [image for image in self.images if image.role == "mistake"]
