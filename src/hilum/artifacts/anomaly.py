"""What the anomaly stage writes: anomaly/figures.json, and detector.json beside each fitted detector."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from hilum.artifacts.audit import JointShortcut, Shortcut
from hilum.artifacts.base import Artifact, Figure, Part
from hilum.artifacts.card import Architecture, Attribution, PixelContract

# -- one detector on one set of images -----------------------------------------------------------------------


class Cause(Part):
    """One abnormal label against the healthy images: ranking, and the share flagged."""

    auroc: Figure
    average_precision: Figure
    sensitivity: Figure


class BestF1(Part):
    """The largest F1 that any threshold gives, with its precision and recall; `reason`: why it has no interval."""

    value: float
    precision: float
    recall: float
    reason: str | None = None


class Oracle(Part):
    """The best of all thresholds on the images that are measured: comparable with published figures of that kind
    and with nothing else, because it reads their labels."""

    best_f1: BestF1
    best_accuracy: Figure


class Matched(Figure):
    """AUROC among `pairs` of a healthy and an abnormal image that the shortcuts can't tell apart."""

    pairs: int


class Measured(Part):
    """Figures of one detector on one set of images, at the threshold that other healthy images fixed."""

    auroc: Figure
    average_precision: Figure
    false_alarms: Figure
    sensitivity: Figure
    causes: dict[str, Cause]
    oracle: Oracle
    matched: Matched | None = None
    n_healthy: int
    n_abnormal: int
    n_patients: int


class Threshold(Part):
    """Above `value` an image is flagged; `n` healthy images fixed it for this false-alarm rate. `chosen_on`: as they
    are (val), or each by the higher of its scores as it is and in the look of the abnormal images' devices
    (counterfactual)."""

    value: float
    false_alarm_rate: float
    n: int
    chosen_on: Literal["val", "counterfactual"] = "val"


class OodShare(Figure):
    """The share of OOD images of one kind that is flagged."""

    kind: str
    title: str


class SuspectImage(Part):
    """A healthy training image, scored by a detector that was fitted on other patients: its score in robust
    standard deviations from the median, and its conformal p-value."""

    case_id: str
    deviations: float
    p_value: float


class TrainingImages(Part):
    """The training images with the highest cross-fitted scores, highest first, and how many lie above the
    threshold."""

    images: list[SuspectImage]
    flagged: Figure


class Pointing(Figure):
    """Share of abnormal images whose highest map pixel lies in a lesion; `chance`: that of a random pixel."""

    chance: float | None


class Localization(Part):
    """How well the maps point at lesions that are known to the pixel."""

    pixel_auroc: Figure
    aupro: Figure
    pointing: Pointing
    n_images: int
    n_abnormal: int
    n_regions: int


class Seconds(Part):
    """How long fitting and each kind of scoring took."""

    fit: float
    score: float
    ood: float
    other_look: float = 0.0
    own_ranking: float


class DetectorFigures(Part):
    """One row of the leaderboard. `members`: the rows that an ensemble joins; `parts`: "measure" (held-out
    validation patients) and "test", as far as they hold healthy and abnormal images; `other_look`: held-out images of
    both kinds in the look of the other label's devices, `same_images`: the same as they are."""

    detector: str
    options: dict[str, Any] = Field(default_factory=dict)
    members: list[str] = Field(default_factory=list)
    description: str
    pretrained: bool = False
    parameters: int | None = None
    weights_digest: str | None = None
    threshold: Threshold
    parts: dict[str, Measured]
    other_look: Measured | None = None
    same_images: Measured | None = None
    ood: list[OodShare]
    training_images: TrainingImages | None = None
    localization: Localization | None = None
    seconds: Seconds | None = None

    def on(self, part: str) -> Measured | None:
        """The figures on one set of images; None where it does not hold both kinds."""
        return self.parts.get(part)


# -- the images ----------------------------------------------------------------------------------------------


class Counts(Part):
    """How many images, of how many patients."""

    images: int
    patients: int


class Shortcuts(Part):
    """What the shortcuts reach on a set of images, best first; `joint`: a sentence where there is none."""

    single: list[Shortcut] = Field(default_factory=list)
    joint: JointShortcut | str | None = None


class Matching(Part):
    """How the images of a part were paired. `features`: the numbers that were matched on; `caliper`, `distance`:
    the largest and the mean difference of the logits of a pair; `propensity_auroc`: 0.5 where the matching is
    perfect; `residual`: the shortcuts among the pairs; `reason`: why there are no pairs."""

    pairs: int
    n_healthy: int = 0
    features: list[str] = Field(default_factory=list)
    caliper: float | None = None
    distance: float | None = None
    propensity_auroc: Figure | None = None
    residual: Shortcuts = Field(default_factory=Shortcuts)
    reason: str | None = None


class AnomalyFigures(Artifact):
    """anomaly/figures.json. `roles`: role -> label -> how many; `detectors`: row of the leaderboard -> figures;
    `best`: the row with the highest AUROC on held-out images in the other look, without these on matched ones;
    `shortcuts`, `matching`: per part; `own_ranking`: in how many parts the training images were divided to rank
    them, 0 if they were not."""

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "anomaly"

    labels: list[str]
    split_note: str
    leaky: bool
    roles: dict[str, dict[str, Counts]]
    false_alarm_rate: float
    own_ranking: int
    replicates: int
    detectors: dict[str, DetectorFigures]
    best: str
    shortcuts: dict[str, Shortcuts]
    matching: dict[str, Matching]

    @property
    def basis(self) -> str:
        """What the best row was chosen by: "other_look", "matched" or "plain".

        >>> row = DetectorFigures.model_construct(parts={"measure": Measured.model_construct(matched=None)})
        >>> AnomalyFigures.model_construct(detectors={"patch_memory": row}, best="patch_memory").basis
        'plain'
        """
        best = self.detectors[self.best]
        measured = best.on("measure")
        if best.other_look is not None:
            return "other_look"
        return "matched" if measured is not None and measured.matched is not None else "plain"

    def role(self, name: str) -> dict[str, Counts]:
        """The images of one role by label; empty where it has none."""
        return self.roles.get(name, {})


# -- a detector on disk --------------------------------------------------------------------------------------


class FittedOn(Counts):
    """The images that a packaged detector was fitted on."""

    attribution: Attribution


class PackagedThreshold(Part):
    """Above `value` an image is out-of-distribution: so many (`rate`) of `images` held-out ones are."""

    value: float
    rate: float
    images: int


class Flagged(Part):
    """k of n images were flagged."""

    k: int
    n: int


class PackagedFigures(Part):
    """`flagged_ood_images`: per kind; `flagged_held_out_images`: per label; `healthy_vs_abnormal`: the row of the
    leaderboard on held-out images."""

    flagged_ood_images: dict[str, Flagged]
    flagged_held_out_images: dict[str, Flagged]
    healthy_vs_abnormal: Measured


class DetectorCard(Artifact):
    """detector.json. The stage knows `fitted_from`, a digest of everything that the fit depends on; the second
    half is known of a packaged detector alone."""

    STAGE: ClassVar[str] = "anomaly"

    detector: Architecture
    pixels: PixelContract
    pretrained: bool
    description: str
    weights_digest: str
    fitted_from: str | None = None
    fit_seconds: float | None = None
    seed: int | None = None
    images: int | None = None
    patients: int | None = None

    data: FittedOn | None = None
    recipe_in_full: dict[str, Any] | None = None
    command: str | None = None
    threshold: PackagedThreshold | None = None
    figures: PackagedFigures | None = None
    known_failures: list[str] = Field(default_factory=list)
    intended_use: str | None = None
