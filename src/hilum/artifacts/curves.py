"""curves.json of a task: what the report draws of the split that it reports first."""

from typing import ClassVar

from hilum.artifacts.base import Artifact, Figure, Part


class Bin(Part):
    """Images with similar stated probabilities, `lowest` to `highest`: their mean, the share k/n that has the
    class, and Wilson's 95 % interval of that share. `by_chance`: between which shares all bins of a calibrated
    model lie in 99 % of cases, the images of a patient being alike."""

    lowest: float
    highest: float
    probability: float
    observed: float
    low: float
    high: float
    k: int
    n: int
    by_chance: tuple[float, float] | None = None


class Curve(Part):
    """`y` over `x` at every threshold, and the band from `low` to `high` at the points `grid`."""

    x: list[float]
    y: list[float]
    grid: list[float]
    low: list[float]
    high: list[float]


class ClassCurves(Part):
    """One class against the rest. `share`: how many of the images have it. `sensitivity`,
    `false_positive_rate` and `precision` are those of the predictions as they stand; `precision` has no value where
    no image was classified as the class."""

    name: str
    share: float
    roc: Curve
    precision_recall: Curve
    bins: list[Bin]
    sensitivity: Figure
    false_positive_rate: Figure
    precision: Figure


class Curves(Artifact):
    """`split`: whose images these are; `classes`: those with images on both sides, of two classes the second
    alone."""

    SCHEMA: ClassVar[int] = 3
    STAGE: ClassVar[str] = "evaluate"

    weights_digest: str
    split: str
    n_cases: int
    classes: list[ClassCurves]
