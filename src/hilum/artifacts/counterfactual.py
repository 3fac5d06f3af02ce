"""What the stage `counterfactual` leaves behind: counterfactual.json of a task."""

from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part


class CounterfactualPoint(Part):
    """Figures of one set of images, each with its 95 % interval over patients.

    `accuracy`: at the operating point. Normal against abnormal: `auroc`; `sensitivity` and `specificity` at the
    operating point; `specificity_at_half`: at probability 0.5; `sensitivity_at_fixed`: at the threshold that leaves
    the fixed specificity on these very images, `specificity_at_fixed` the other way round. `flipped`: the share of
    images with another prediction than on the plain image; `auroc_change`: paired difference from the plain images;
    both None for the plain images.
    """

    accuracy: Figure
    auroc: Figure
    sensitivity: Figure
    specificity: Figure
    specificity_at_half: Figure
    sensitivity_at_fixed: Figure
    specificity_at_fixed: Figure
    flipped: Figure | None = None
    auroc_change: Figure | None = None


class CounterfactualCase(Part):
    """One image of the contact sheet: `donor`: case_id of the image whose look it takes; predictions and probability
    of abnormal on the plain and on the counterfactual image."""

    case_id: str
    donor: str
    label: str
    donor_label: str
    plain: str
    counterfactual: str
    abnormal_plain: float
    abnormal_counterfactual: float


class Counterfactual(Artifact):
    """counterfactual.json: held-out images in the look of another label's devices.

    Measured on `images` of `of_images` images of `patients` patients in `split`; donors are images of the training
    part. `fixed`: the share at which sensitivity and specificity are held; `threshold`: of the operating point, None
    for the most probable class; `squeezed`: whether the aspect had to be estimated (see docs/shift.md); `plain`: the
    images as they are; `all_parts`: everything from the donor; `parts`: one part alone from the donor; `cases`: those
    of the contact sheet.
    """

    STAGE: ClassVar[str] = "counterfactual"

    split: str
    images: int
    of_images: int
    patients: int
    classes: list[str]
    replicates: int
    seed: int
    fixed: float
    threshold: float | None
    squeezed: bool
    weights_digest: str
    plain: CounterfactualPoint
    all_parts: CounterfactualPoint
    parts: dict[str, CounterfactualPoint]
    cases: list[CounterfactualCase]
