"""What the robustness stage and its three further measurements leave behind, in RUN/<task>/."""

from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part


class HeldOut(Artifact):
    """Measured on `images` held-out images of `patients` patients in `split`; intervals from `replicates`
    bootstrap samples of the patients."""

    STAGE: ClassVar[str] = "robustness"

    split: str
    images: int
    patients: int
    replicates: int


# -- robustness.json -----------------------------------------------------------------------------------------


class Point(Part):
    """`ece`: expected calibration error of the most probable class, 0 (best) to 1."""

    accuracy: Figure
    auroc: Figure
    ece: Figure


class CorruptedPoint(Point):
    """`change`: accuracy minus that of the same images without corruption, paired; `p`: of the exact permutation
    test by patient, not corrected for the number of corruptions."""

    change: Figure
    p: float


class Robustness(HeldOut):
    """robustness.json: held-out images corrupted in one way at a time.

    `made_from` names weights, threshold and images; `of_images`: how many the split has; `clean`: the images
    as they are; `corruptions`: name -> severity (1 to 5) -> point.
    """

    SCHEMA: ClassVar[int] = 2

    made_from: str
    weights_digest: str
    of_images: int
    classes: list[str]
    seed: int
    clean: Point
    corruptions: dict[str, dict[int, CorruptedPoint]]

    def has(self, name: str, severity: int) -> bool:
        """Whether this point was measured.

        >>> robustness = Robustness.model_construct(corruptions={"noise": {5: None}})
        >>> robustness.has("noise", 5), robustness.has("noise", 1), robustness.has("blur", 5)
        (True, False, False)
        """
        return severity in self.corruptions.get(name, {})


# -- label_efficiency.json -----------------------------------------------------------------------------------


class LabelledPoint(Part):
    """One training: how many images and patients had a label, and the probabilities "images classes" of the
    held-out images."""

    images: int
    patients: int
    probabilities: list[list[float]]


class CurvePoint(Part):
    """One fraction of the labels. `accuracy`: mean over the `seeds`; `auroc`: mean over seeds and classes;
    `gain`: accuracy minus that of training from scratch, paired, None for training from scratch itself."""

    fraction: float
    patients: int
    images: int
    accuracy: Figure
    seeds: list[float]
    auroc: Figure
    gain: Figure | None = None


class Pretraining(Part):
    """`loss` of SimSiam at the end, -1 (best) to 1; `spread` of its vectors: near 0 when they are all the same."""

    loss: float
    spread: float


class LabelEfficiency(HeldOut):
    """label_efficiency.json: accuracy by number of labelled patients.

    `made_from` names data and settings; `size`: of the images, rows and columns; `majority`: the share of the
    most frequent class; `points`: the finished trainings; `curve`: way -> a point per fraction, empty while
    trainings are left to do.
    """

    SCHEMA: ClassVar[int] = 2
    STAGE: ClassVar[str] = "robustness --labels"

    made_from: str
    train_images: int
    train_patients: int
    classes: list[str]
    size: tuple[int, int]
    n_seeds: int
    majority: float
    pretraining: Pretraining | None = None
    points: dict[str, LabelledPoint]
    curve: dict[str, list[CurvePoint]]


# -- unseen_class.json ---------------------------------------------------------------------------------------


class UnseenAnomaly(Part):
    """AUROC of the unseen class on `images` that no detector was fitted on, `unseen` of them of that class.

    `by_score`: by the anomaly score of `detector`; `by_confidence`: by low confidence of the network;
    `against_normal`, `against_abnormal`: by the score, among the unseen class and only these others.
    """

    detector: str
    images: int
    unseen: int
    by_score: Figure
    by_confidence: Figure
    against_normal: Figure
    against_abnormal: Figure


class UnseenClass(HeldOut):
    """unseen_class.json: what a network predicts for a class that it was never trained on.

    `unseen`: that class; `classes`: those it knows; `accuracy_known`: on images of known classes;
    `predicted`: class -> share of the unseen images classified as it; `confidence`: class -> the sorted
    maximum probabilities of its images; `auroc_by_confidence`: unseen against known by low confidence.
    """

    STAGE: ClassVar[str] = "robustness --classes"

    unseen: str
    classes: list[str]
    train_images: int
    accuracy_known: Figure
    predicted: dict[str, Figure]
    confidence: dict[str, list[float]]
    auroc_by_confidence: Figure
    anomaly: UnseenAnomaly | None = None


# -- corruption_training.json --------------------------------------------------------------------------------


class TrainedPoint(Part):
    """`accuracy`: mean over the `seeds`; `ece`: mean over them."""

    accuracy: Figure
    seeds: list[float]
    ece: Figure


class PairedPoint(Part):
    """The same held-out images by networks trained on clean images and on partly corrupted ones; `gain`: the
    accuracy of the second minus that of the first, paired; `p`: of the exact permutation test by patient, not
    corrected for the number of corruptions."""

    clean: TrainedPoint
    corrupted: TrainedPoint
    gain: Figure
    p: float


class CorruptionTraining(HeldOut):
    """corruption_training.json: what training on corrupted images changes.

    `share`: of the training images that were corrupted; `clean`: the held-out images as they are;
    `corruptions`: name -> severity -> point.
    """

    SCHEMA: ClassVar[int] = 3
    STAGE: ClassVar[str] = "robustness --training"

    train_images: int
    size: tuple[int, int]
    share: float
    steps: int
    n_seeds: int
    majority: float
    clean: PairedPoint
    corruptions: dict[str, dict[int, PairedPoint]]
