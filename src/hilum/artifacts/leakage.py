"""What the leakage stage leaves behind: leakage/figures.json."""

from typing import Any, ClassVar

from hilum.artifacts.base import Artifact, Figure, Part
from hilum.artifacts.comparison import PairedDifference


class Way(Part):
    """One way to split. `trained_on`: images per training, mean over the folds."""

    accuracy: Figure
    auroc: Figure
    n_cases: int
    n_patients: int
    trained_on: int


class Official(Part):
    """The declared test part, scored by the networks with patients apart. `difference`: accuracy with patients
    apart minus this one; other images, so no pairs."""

    accuracy: Figure
    difference: Figure
    n_cases: int
    n_patients: int


class Shared(Part):
    """Of `n_held` images held out by image, `n_images` had an image of their patient in training; accuracy of
    the two ways on exactly these."""

    n_images: int
    n_held: int
    by_image: Figure
    by_patient: Figure


class Leakage(Artifact):
    """One recipe with folds by patient and with folds by image. `difference`: image minus patient, paired;
    `model`, `size` (rows, columns), `epochs`: of the trainings, whose whole `recipe` stands beside them."""

    SCHEMA: ClassVar[int] = 3
    STAGE: ClassVar[str] = "leakage"

    task: str
    classes: list[str]
    patient: Way
    image: Way
    difference: PairedDifference
    official: Official | None = None
    shared: Shared
    folds: int
    seeds: list[int]
    replicates: int
    model: str
    size: tuple[int, int]
    epochs: int
    recipe: dict[str, Any]
