"""audit.json: what is unusual about a set of images, before anything is trained on it.

Made by `hilum.data.audit.audit`. Figures are AUROCs with 95 % intervals over patients
(`hilum.data.shortcuts`); the criterion for duplicates is in `hilum.data.duplicates`; what each number
measures is in `hilum.data.facts`.
"""

from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part


class Count(Part):
    """Images, and the patients that they show."""

    images: int
    patients: int


Counts = dict[str, dict[str, Count]]
"""split -> label -> images and patients; the split '' holds the images without one."""


class UnreadableFile(Part):
    """A file that can't be decoded."""

    case_id: str
    path: str
    reason: str


class Across(Part):
    """Whether images that show the same picture differ in split (in any of the splits), label or patient."""

    across_splits: bool
    across_labels: bool
    across_patients: bool


class DuplicateGroup(Across):
    """Images with identical pixels."""

    case_ids: list[str]


class DuplicatePair(Across):
    """Two images that are nearly the same; `correlation` of their local contrast, 0.9 to 1."""

    case_ids: list[str]
    correlation: float


class AcrossCounts(Part):
    """How many groups, or pairs, differ in split, label or patient."""

    n_across_splits: int
    n_across_labels: int
    n_across_patients: int


class ExactDuplicates(AcrossCounts):
    """`groups`: the first 500, those across splits first; the numbers count all."""

    n_groups: int
    n_images: int
    groups: list[DuplicateGroup]


class NearDuplicates(AcrossCounts):
    """`candidates`, `checked`: pairs that the hash named, and those that were registered. One image stands for
    each exact group. `pairs`: the first 500."""

    criterion: str
    candidates: int
    checked: int
    n_pairs: int
    pairs: list[DuplicatePair]


class PatientAcross(Part):
    """A patient with images in more than one split; `images`: split -> images."""

    patient: str
    images: dict[str, int]


class PatientsAcross(Part):
    """Patients in more than one split; `examples`: the first 500."""

    n_patients: int
    n_images: int
    examples: list[PatientAcross]


class Quantiles(Part):
    """Minimum, 5th percentile, median, 95th percentile, maximum."""

    min: float
    p5: float
    median: float
    p95: float
    max: float


class SizeCount(Part):
    """How many images have this size in pixels."""

    width: int
    height: int
    images: int


class Sizes(Part):
    """Width and height in pixels, file size in bytes; None without readable images."""

    width: Quantiles | None
    height: Quantiles | None
    bytes: Quantiles | None
    n_sizes: int
    commonest: list[SizeCount]


class ShortcutImages(Part):
    """The images that shortcuts are measured on: never those of a test split."""

    splits: list[str]
    n_images: int
    n_patients: int


class Shortcut(Part):
    """One number about file or picture that separates two groups without the lungs; `auroc` is at least 0.5
    and `higher_in` the group with the higher numbers."""

    name: str
    label: str
    unit: str
    task: str
    auroc: Figure
    higher_in: str

    @property
    def short_label(self) -> str:
        """Without the explanation in brackets.

        >>> Shortcut(name="contrast", label="contrast (standard deviation)", unit="grey levels", task="binary",
        ...          auroc=Figure(value=0.6), higher_in="normal").short_label
        'contrast'
        """
        return self.label.split(" (")[0]


class JointShortcut(Part):
    """A classifier on all numbers that vary (`features`), each patient predicted by a model that was not
    fitted on it (`folds`)."""

    auroc: Figure
    positive: str
    negative: str
    features: list[str]
    n: int
    n_patients: int
    folds: int


class Audit(Artifact):
    """The whole audit.

    `counts`: as the source declares; `counts_used`: task -> as the study splits; `patients_across_splits`:
    "declared", or a task; `modes`: for example "rgb, 8 bit" -> images; `aspect_by_label`: width / height;
    `shortcuts`: best first within each task; `joint`: per task; `not_computed`: what the data did not allow;
    `findings`: sentences, worst first; `cases_digest`: of the cases that were audited.
    """

    STAGE: ClassVar[str] = "prepare"
    REMEDY: ClassVar[str] = "delete it and go on with: hilum study DATA --out RUN --resume"

    cases_digest: str
    n_cases: int
    n_patients: int
    labels: list[str]
    counts: Counts
    counts_used: dict[str, Counts]
    unreadable: list[UnreadableFile]
    exact_duplicates: ExactDuplicates
    near_duplicates: NearDuplicates
    patients_across_splits: dict[str, PatientsAcross]
    sizes: Sizes
    modes: dict[str, int]
    aspect_by_label: dict[str, Quantiles | None]
    shortcuts_on: ShortcutImages
    shortcuts: list[Shortcut]
    joint: dict[str, JointShortcut]
    not_computed: list[str]
    findings: list[str]

    @property
    def patients_across_declared(self) -> PatientsAcross | None:
        """Patients in more than one of the parts that the source declares."""
        return self.patients_across_splits.get("declared")

    def shortcuts_of(self, task: str) -> list[Shortcut]:
        """The shortcuts of one task, best first.

        >>> shortcut = Shortcut(name="contrast", label="contrast", unit="grey levels", task="binary",
        ...     auroc=Figure(value=0.6), higher_in="normal")
        >>> audit = Audit.model_construct(shortcuts=[shortcut])
        >>> len(audit.shortcuts_of("binary")), audit.shortcuts_of("multiclass")
        (1, [])
        """
        return [shortcut for shortcut in self.shortcuts if shortcut.task == task]
